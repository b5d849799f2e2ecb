"""Which counts the call of a module gives: one reading per kind of module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from snnplug.hardware.counter_table import WEIGHTS
from snnplug.hardware.dynamics import Dynamics, dynamics_of, is_snntorchs, is_spiking
from snnplug.hardware.ledger import Ledger
from snnplug.hardware.pooling import pool_axes, pool_module
from snnplug.hardware.spike_trains import spike_train_layer

_CELLS = (nn.LSTMCell, nn.GRUCell, nn.RNNCell)
_PADDINGS = ("Circular", "Constant", "Reflection", "Replication", "Zero")
#: Modules of torch whose work is nothing at inference, or that of their children.
_FREE = frozenset(
    (
        *("Identity", "Flatten", "Unflatten", "Sequential", "ModuleList", "ModuleDict"),
        *("ParameterList", "ParameterDict", "AlphaDropout", "FeatureAlphaDropout", "Dropout"),
        *(f"Dropout{n}d" for n in (1, 2, 3)),
        *("DataParallel", "DistributedDataParallel"),
        *(f"{how}Pad{n}d" for how in _PADDINGS for n in (1, 2, 3)),
    )
)

# Each takes the module, its arguments and its result.
After = Callable[[Any, tuple[Any, ...], dict[str, Any], Any], None]


Before = Callable[[Any, tuple[Any, ...], dict[str, Any]], None]


@dataclass(frozen=True)
class Reading:
    """What to do around the call of a module that is counted as a whole.

    Attributes:
        after: Enters its counts; takes the module, its arguments and its result.
        before: What to note ahead of the call, if anything; takes the module and its arguments.
        covers: Whether what its children do is in these counts.
    """

    after: After
    before: Before | None = None
    covers: bool = True


class Readings:
    """Finds the reading of each module of one network, for one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._names: dict[nn.Module, str] = {}
        self._owners: dict[nn.Module, nn.Module] = {}
        self._done: dict[nn.Module, set[nn.Module]] = {}

    def of(self, name: str, module: nn.Module) -> Reading | None:
        """Return the reading of a module, or None if its ``forward`` itself is to be watched.

        Args:
            name: Its name in the network.
            module: The module; a neuron before its children.
        """
        self._names[module] = name
        ledger, owner = self._ledger, self._owners.get(module)
        kind = type(module).__name__
        counts_as = getattr(module, "counts_as", None)
        if counts_as in ("Linear", "Conv2d"):
            return Reading(
                lambda m, a, k, out: spike_train_layer(ledger, name, m, _first(a, k), out)
            )
        if isinstance(module, WEIGHTS):
            if owner is not None and is_snntorchs(owner, "SConv2dLSTM"):
                first = int(owner.in_channels)  # type: ignore[arg-type]
                return self._once(
                    module, lambda m, a, k, out: ledger.halves(name, m, _first(a, k), out, first)
                )
            return self._once(module, partial(self._synaptic, name))
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
        from_torch = type(module).__module__ == "torch.nn.modules.pooling"
        if pool_axes(counts_as or "") or (pool_axes(kind) and from_torch):
            return Reading(partial(pool_module, ledger, name))
        if is_torchs(module) and kind not in _FREE:
            return Reading(lambda m, a, k, out: ledger.list_unpriced(name, kind))
        return None

    def _synaptic(
        self, name: str, m: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> None:
        # Our convolution may do the max pool behind it in one pass.
        pool = self._names.get(kwargs["pool"], "pool") if kwargs.get("pool") is not None else None
        x = _first(args, kwargs)
        dense = x if x.layout == torch.strided else x.to_dense()
        self._ledger.synaptic(name, m, dense, out, pool)

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
        # Ours take a recurrent sequence in one call if no hook watches the weights inside.
        recurs = hasattr(module, "all_to_all") and hasattr(module, "one_membrane")

        def start(m: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
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
                self._recur(name, m, spk, before["spk"], sequence)
            self._ledger.neuron(name, m, dynamics, spk, leading=2 if sequence else 1)

        holds_weights = next(module.children(), None) is not None
        return Reading(after, start if recurs or holds_weights else None, covers=recurs)

    def _recur(
        self, name: str, module: Any, spk: Tensor, before: Tensor | None, sequence: bool
    ) -> None:
        """Enter what the spikes of each step bring to the next, in one of our neurons."""
        now = spk[0] if sequence else spk
        heard = [before if before is not None and before.shape == now.shape else now * 0]
        if sequence and len(spk) > 1:
            heard.append(spk[:-1].flatten(0, 1))
        for x in heard:
            if module.all_to_all:
                self._ledger.synaptic(f"{name}.recurrent", module.recurrent, x, x)
            else:
                self._one_to_one(f"{name}.V", x, module.V)

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


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the input of a module, however it was passed."""
    return args[0] if args else next(iter(kwargs.values()))


def _spikes_before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """Return the spikes of the step before as one of our recurrent neurons gets them."""
    if module.init_hidden and not kwargs.get("sequence"):
        spk: Tensor | None = module.spk
        return spk
    return args[1] if len(args) > 1 else kwargs.get("spk")
