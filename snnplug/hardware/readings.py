"""Which counts the call of a module gives: one reading per kind of module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from snnplug.hardware.dynamics import Dynamics, dynamics_of, is_snntorchs, is_spiking
from snnplug.hardware.fan_out import Counts, adaptive_axis_fan_out, axis_taps, outer
from snnplug.hardware.ledger import Ledger

_WEIGHTS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
_CELLS = (nn.LSTMCell, nn.GRUCell, nn.RNNCell)
_PADDINGS = ("Circular", "Constant", "Reflection", "Replication", "Zero")
#: Modules of torch whose work is nothing at inference, or that of their children.
_FREE = frozenset(
    (
        *("Identity", "Flatten", "Unflatten", "Sequential", "ModuleList", "ModuleDict"),
        *("ParameterList", "ParameterDict", "AlphaDropout", "FeatureAlphaDropout", "Dropout"),
        *(f"Dropout{n}d" for n in (1, 2, 3)),
        *(f"{how}Pad{n}d" for how in _PADDINGS for n in (1, 2, 3)),
    )
)

# Each takes the module, its arguments and its result.
After = Callable[[Any, tuple[Any, ...], dict[str, Any], Any], None]


@dataclass(frozen=True)
class Reading:
    """What to do around the call of a module that is counted as a whole.

    Attributes:
        after: Enters its counts; takes the module, its arguments and its result.
        before: Called ahead of it.
        covers: Whether what its children do is in these counts.
    """

    after: After
    before: Callable[[tuple[Any, ...], dict[str, Any]], None] = lambda args, kwargs: None
    covers: bool = True


class Readings:
    """Finds the reading of each module of one network, for one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._owners: dict[nn.Module, nn.Module] = {}
        self._done: dict[nn.Module, set[nn.Module]] = {}

    def of(self, name: str, module: nn.Module) -> Reading | None:
        """Return the reading of a module, or None if its ``forward`` itself is to be watched.

        Args:
            name: Its name in the network.
            module: The module; a neuron before its children.
        """
        ledger, owner = self._ledger, self._owners.get(module)
        kind = type(module).__name__
        if isinstance(module, _WEIGHTS):
            if owner is not None and is_snntorchs(owner, "SConv2dLSTM"):
                first = int(owner.in_channels)  # type: ignore[arg-type]
                return self._once(
                    module, lambda m, a, k, out: ledger.halves(name, m, _first(a, k), out, first)
                )
            return self._once(
                module, lambda m, a, k, out: ledger.synaptic(name, m, _first(a, k), out)
            )
        if isinstance(module, _CELLS):
            return self._once(module, partial(self._cell, name))
        if is_spiking(module):
            return self._neuron(name, module)
        if is_snntorchs(module, "RecurrentOneToOne"):
            return self._once(
                module, lambda m, a, k, out: self._one_to_one(name, _first(a, k), m.V)
            )
        if owner is not None and isinstance(module, nn.RNN):
            return self._once(module, partial(self._diagonal_rnn, name))
        if isinstance(module, _BatchNorm):
            return Reading(lambda m, a, k, out: ledger.norm(name, m, _first(a, k), out))
        if is_snntorchs(module, "GradedSpikes"):
            return Reading(
                lambda m, a, k, out: ledger.scales(name, kind, out.numel(), m.weights.numel())
            )
        if _pool_axes(kind) and type(module).__module__ == "torch.nn.modules.pooling":
            return Reading(partial(_pool_module, ledger, name))
        if is_torchs(module) and kind not in _FREE:
            return Reading(lambda m, a, k, out: ledger.list_unpriced(name, kind))
        return None

    def _once(self, module: nn.Module, after: After) -> Reading:
        """Read a layer inside one of snnTorch's neurons once per step of it.

        To reset to zero they compute the same state a second time.
        """
        owner = self._owners.get(module)
        if owner is None or not type(owner).__module__.startswith("snntorch."):
            return Reading(after)
        done = self._done[owner]

        def once(m: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
            if m not in done:
                done.add(m)
                after(m, args, kwargs, out)

        return Reading(once)

    def _neuron(self, name: str, module: nn.Module) -> Reading:
        done = self._done.setdefault(module, set())
        self._owners.update((child, module) for child in module.modules() if child is not module)
        before: dict[str, Tensor | None] = {}
        known: dict[str, Dynamics | None] = {}
        recurs = getattr(module, "all_to_all", True) is False and not any(module.children())

        def start(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            done.clear()
            if recurs:
                before["spk"] = _spikes_before(module, args, kwargs)

        def after(m: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
            if not known:
                known["dynamics"] = dynamics_of(m)
            dynamics = known["dynamics"]
            if dynamics is None:
                self._ledger.list_unpriced(name, type(m).__name__)
                return
            spk = out[0] if isinstance(out, tuple) else out
            sequence = bool(kwargs.get("sequence")) or dynamics.sequence
            if recurs:
                self._recur(f"{name}.V", m, spk, before["spk"], sequence)
            self._ledger.neuron(name, m, dynamics, spk, leading=2 if sequence else 1)

        return Reading(after, start, covers=False)

    def _recur(
        self, name: str, module: Any, spk: Tensor, before: Tensor | None, sequence: bool
    ) -> None:
        """Enter what the spikes of each step bring to the next, without a module for it."""
        now = spk[0] if sequence else spk
        first = before if before is not None and before.shape == now.shape else now * 0
        self._one_to_one(name, first, module.V)
        if sequence and len(spk) > 1:
            self._one_to_one(name, spk[:-1].flatten(0, 1), module.V)

    def _one_to_one(self, name: str, spk: Tensor, weight: Any) -> None:
        count = torch.as_tensor(weight).numel()
        self._ledger.weighted(
            name, "OneToOne", spk, prod(spk.shape[1:]), count, np.asarray(1, np.int64)
        )

    def _cell(
        self, name: str, cell: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> None:
        """Enter the products of a recurrent cell, for its input and for its hidden state."""
        x = _first(args, kwargs)
        given = args[1] if len(args) > 1 else kwargs.get("hx")
        hidden = given[0] if isinstance(given, tuple) else given
        new = out[0] if isinstance(out, tuple) else out
        halves = (("input", x, cell.weight_ih), ("hidden", hidden, cell.weight_hh))
        for part, values, weight in halves:
            rows = torch.zeros_like(new) if values is None else values
            rows = rows if rows.dim() == 2 else rows.unsqueeze(0)
            zero = (weight == 0).sum(0).cpu().numpy()
            gates = len(weight)
            self._ledger.weighted(
                f"{name}.{part}",
                "Linear",
                rows,
                outputs=gates,
                weights=weight.numel(),
                fan_out=np.asarray(gates, np.int64),
                zero=zero if zero.any() else None,
                biases=gates if cell.bias and part == "input" else 0,
            )
        if cell not in self._owners:
            self._ledger.list_unpriced(name, f"{type(cell).__name__} gates")

    def _diagonal_rnn(
        self, name: str, rnn: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> None:
        """Enter the input weights of ``LeakyParallel``; its recurrent ones are the leak."""
        x = _first(args, kwargs)
        self._ledger.weighted(
            name,
            "Linear",
            x.reshape(-1, x.shape[-1]),
            outputs=rnn.hidden_size,
            weights=rnn.weight_ih_l0.numel(),
            fan_out=np.asarray(rnn.hidden_size, np.int64),
            biases=rnn.hidden_size if rnn.bias else 0,
        )


def is_torchs(module: nn.Module) -> bool:
    """Whether a class comes with torch, whose ``forward`` need not be watched."""
    return type(module).__module__.startswith("torch.nn.")


def functional_pool(
    ledger: Ledger, within: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> bool:
    """Enter a pooling function; False if ``name`` is none, or is called in an unusual way."""
    kind = name.removesuffix("_with_indices")
    axes = _pool_axes(kind)
    if not axes or not args or not isinstance(args[0], Tensor):
        return False
    after = out[0] if isinstance(out, tuple) else out
    keys = ("kernel_size", "stride", "padding")
    settings = {**dict(zip(keys, args[1:], strict=False)), **kwargs}
    _enter_pool(ledger, f"{within}.{kind}", kind, args[0], after, settings)
    return True


def _pool_module(
    ledger: Ledger, name: str, m: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    after = out[0] if isinstance(out, tuple) else out
    settings = {key: getattr(m, key, None) for key in ("kernel_size", "stride", "padding")}
    _enter_pool(ledger, name, type(m).__name__, _first(args, kwargs), after, settings)


def _enter_pool(
    ledger: Ledger, name: str, kind: str, x: Tensor, out: Tensor, settings: dict[str, Any]
) -> None:
    axes = _pool_axes(kind)
    fan_out = None
    if "avg" in kind.lower():
        sizes, outputs = tuple(x.shape[-axes:]), tuple(out.shape[-axes:])
        if "adaptive" in kind.lower():
            fan_out = outer(
                [adaptive_axis_fan_out(a, b) for a, b in zip(sizes, outputs, strict=True)]
            )
        else:
            kernel = _each(settings["kernel_size"], axes)
            stride = _each(settings.get("stride") or kernel, axes)
            padding = _each(settings.get("padding") or 0, axes)
            fan_out = _windows(sizes, outputs, kernel, stride, padding)
    ledger.pool(name, kind, x, axes + 1, fan_out)


@lru_cache(maxsize=64)
def _windows(
    sizes: tuple[int, ...],
    outputs: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
) -> Counts:
    """Return in how many windows of a pooling each place lies."""
    axes = zip(sizes, outputs, kernel, stride, padding, strict=True)
    return outer([axis_taps(n, k, s, (p, p), 1, outputs=o).sum(1) for n, o, k, s, p in axes])


def _pool_axes(kind: str) -> int:
    """Return over how many axes a pooling class or function goes, 0 if it is none."""
    plain = kind.lower().replace("_", "").removeprefix("adaptive")
    is_pool = plain[:-2] in ("maxpool", "avgpool") and plain[-1] == "d"
    return int(plain[-2]) if is_pool else 0


def _each(value: Any, axes: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, list | tuple) else (value,)
    return values * axes if len(values) == 1 else values


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the input of a module, however it was passed."""
    return args[0] if args else next(iter(kwargs.values()))


def _spikes_before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """Return the spikes of the step before as one of our recurrent neurons gets them."""
    if module.init_hidden and not kwargs.get("sequence"):
        spk: Tensor | None = module.spk
        return spk
    return args[1] if len(args) > 1 else kwargs.get("spk")
