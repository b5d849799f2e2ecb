"""Watching a network run and counting what its layers do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log2, prod
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from snnplug.errors import ArgumentError, MeasurementError
from snnplug.hardware.activity import Activity, Layer, Leak, NeuronLayer, PoolLayer, SynapticLayer
from snnplug.hardware.fan_out import axis_fan_out
from snnplug.hardware.tally import Tally, is_binary, tally

#: Modules whose work is nothing at inference: they move or pass on values.
_FREE = (
    nn.Flatten,
    nn.Unflatten,
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
)


def measure(network: nn.Module, batch_dim: int = 1) -> Meter:
    """Watch ``network``: what runs inside the ``with`` block is counted.

    The counts are exact integers, independent of the batch size. Nothing of the network changes:
    not its mode, its state, its parameters or the random numbers it draws, and the hooks are gone
    after the block, also when it raises.

    Args:
        network: Any module whose ``forward`` takes the input as its first argument: snnTorch's
            usual time loop or a :class:`~snnplug.layers.sequential.SpikingSequential`.
        batch_dim: The axis of that input which holds the samples; 1 for ``(T, B, *)``.

    Returns:
        A context manager, :class:`Meter`; its :meth:`Meter.activity` gives the counts.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from snnplug import ContinuousIF, SpikingSequential
        >>> net = SpikingSequential(nn.Linear(4, 3), ContinuousIF())
        >>> with measure(net) as meter, torch.no_grad():
        ...     _ = net(torch.ones(5, 2, 4))
        >>> activity = meter.activity()
        >>> activity.samples, activity.layers[0].synops   # 2 samples, 5 steps, 4 x 3 synapses
        (2, 120)
    """
    return Meter(network, batch_dim)


@dataclass
class _Counter:
    """Running counts of one module; tensors stay on its device until they are asked for."""

    name: str
    module: nn.Module
    shape: tuple[int, ...]
    outputs: int
    presentations: int = 0
    binary_presentations: Tensor | int = 0
    counts: Tensor | int = 0

    def add(self, seen: Tally, presentations: int) -> None:
        """Add what one call saw, without waiting for its device."""
        self.presentations += presentations
        self.binary_presentations = self.binary_presentations + seen.is_binary * presentations
        self.counts = self.counts + seen.counts


class Meter:
    """Forward hooks on a network, and the counts that they keep; made by :func:`measure`."""

    def __init__(self, network: nn.Module, batch_dim: int = 1) -> None:
        self.network = network
        self.batch_dim = batch_dim
        self.samples = 0
        self._counters: dict[str, _Counter] = {}
        self._unpriced: dict[str, None] = {}
        self._handles: list[Any] = []
        self._pending: tuple[_Counter, Tensor, int] | None = None

    def __enter__(self) -> Meter:
        """Put the hooks on."""
        if self._handles:
            raise MeasurementError("this meter is watching already; leave its block first")
        self._handles.append(self.network.register_forward_pre_hook(self._count_samples))
        covered: set[nn.Module] = set()
        for name, module in self.network.named_modules():
            watch = self._watcher(name or type(module).__name__, module)
            if watch is not None and module not in covered:
                self._handles.append(module.register_forward_hook(watch, with_kwargs=True))
                covered.update(module.modules())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._flush()

    def activity(self) -> Activity:
        """Return what has been counted so far.

        Raises:
            MeasurementError: The network was not run, or holds nothing that can be counted.
        """
        self._flush()
        if self.samples == 0 or not self._counters:
            raise MeasurementError(
                f"{type(self.network).__name__} ran on {self.samples} samples and "
                f"{len(self._counters)} of its modules can be counted; run it inside the block, "
                "and build it of Linear, Conv2d and spiking neurons as modules"
            )
        layers = tuple(_settle(counter) for counter in self._counters.values())
        return Activity(self.samples, layers, tuple(self._unpriced))

    def _count_samples(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if not args or not isinstance(args[0], Tensor) or args[0].dim() <= self.batch_dim:
            raise ArgumentError(
                f"the network's first argument has no axis {self.batch_dim} to count samples on; "
                "give measure() the batch_dim of your input"
            )
        self.samples += args[0].shape[self.batch_dim]

    def _watcher(self, name: str, module: nn.Module) -> Callable[..., None] | None:
        """Return the hook for one module, or None if its children do the work."""
        if isinstance(module, nn.Linear | nn.Conv2d):
            return lambda mod, args, kwargs, out: self._synaptic(name, mod, args[0], out)
        if is_spiking(module):
            if not _has_known_dynamics(module):
                return lambda mod, args, kwargs, out: self._unknown(name, mod)
            return lambda mod, args, kwargs, out: self._neuron(
                name, mod, out, 2 if kwargs.get("sequence") else 1
            )
        if isinstance(module, nn.MaxPool2d):
            return lambda mod, args, kwargs, out: self._pool(name, mod, args[0])
        if next(module.children(), None) is None and not isinstance(module, _FREE):
            return lambda mod, args, kwargs, out: self._unknown(name, mod)
        return None

    def _unknown(self, name: str, module: nn.Module) -> None:
        self._unpriced[f"{name} ({type(module).__name__})"] = None

    def _counter(
        self, name: str, module: nn.Module, shape: tuple[int, ...], outputs: int
    ) -> _Counter:
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = _Counter(name, module, shape, outputs)
        if counter.shape != shape:
            raise MeasurementError(
                f"layer {name} saw inputs of shape {counter.shape} and {shape}; a layer is priced "
                "for one shape, so measure each in a block of its own"
            )
        return counter

    def _synaptic(self, name: str, module: nn.Module, x: Tensor, out: Tensor) -> None:
        # Only the place of an event in its feature map matters to a convolution's fan-out.
        features, keep = (1, 0) if isinstance(module, nn.Linear) else (3, 2)
        shape = tuple(x.shape[-features:])
        counter = self._counter(name, module, shape, prod(out.shape[-features:]))
        seen = tally(x, keep)
        counter.add(seen, prod(x.shape[:-features]))
        self._flush(x, seen)

    def _neuron(self, name: str, module: nn.Module, out: Any, leading: int) -> None:
        self._flush()
        spk = out[0] if isinstance(out, tuple) else out
        shape = tuple(spk.shape[leading:])
        self._pending = (self._counter(name, module, shape, prod(shape)), spk.detach(), leading)

    def _flush(self, x: Tensor | None = None, seen: Tally | None = None) -> None:
        """Count the spikes of the neurons that ran last.

        Their output is usually the next layer's input: then ``x`` is the same memory, and what was
        ``seen`` there serves both.
        """
        if self._pending is None:
            return
        counter, spk, leading = self._pending
        self._pending = None
        same_memory = (
            x is not None
            and x.data_ptr() == spk.data_ptr()
            and x.numel() == spk.numel()
            and x.is_contiguous()
            and spk.is_contiguous()
        )
        if seen is None or not same_memory:
            seen = tally(spk)
        counter.add(Tally(seen.counts.sum(), seen.is_binary), prod(spk.shape[:leading]))

    def _pool(self, name: str, module: nn.Module, x: Tensor) -> None:
        self._flush()
        batched = x if x.dim() == 4 else x.unsqueeze(0)
        shape = tuple(batched.shape[1:])
        counter = self._counter(name, module, shape, prod(shape))
        counter.add(Tally(torch.tensor(0), is_binary(x)), batched.shape[0])


def is_spiking(module: nn.Module) -> bool:
    """Whether ``module`` is one of snnTorch's neurons or of ours."""
    return any(cls.__name__ == "SpikingNeuron" for cls in type(module).__mro__)


def _has_known_dynamics(module: nn.Module) -> bool:
    """Whether the module keeps at most one membrane, with at most one leak."""
    return bool(getattr(module, "one_membrane", type(module).__name__ == "Leaky"))


def leak_of(module: nn.Module) -> Leak:
    """Return what the leak of a neuron takes in hardware, from its ``beta``."""
    beta = torch.as_tensor(getattr(module, "beta", 1.0)).detach().clamp(0, 1).double().flatten()
    lost = sorted({1.0 - b for b in beta.tolist()})
    if all(x in (0.0, 1.0) for x in lost):
        return "none"
    # beta = 1 - 2**-k is a shift and a subtraction.
    return "shift" if all(x in (0.0, 1.0) or log2(x).is_integer() for x in lost) else "multiply"


def _settle(counter: _Counter) -> Layer:
    """Turn running counts into a finished record."""
    module, kind = counter.module, type(counter.module).__name__
    counts = torch.as_tensor(counter.counts).cpu()
    events = int(counts.sum())
    analog = counter.presentations - int(counter.binary_presentations)
    if isinstance(module, nn.MaxPool2d):
        inputs = prod(counter.shape)
        return PoolLayer(counter.name, kind, inputs, counter.presentations, inputs * analog)
    if not isinstance(module, nn.Linear | nn.Conv2d):
        return NeuronLayer(
            name=counter.name,
            kind=kind,
            neurons=prod(counter.shape),
            presentations=counter.presentations,
            spikes=events,
            stateful=bool(getattr(module, "stateful", True)),
            leak=leak_of(module),
            resets=getattr(module, "reset_mechanism", "subtract") != "none",
        )
    fan_out = _site_fan_out(module, counter.shape)
    return SynapticLayer(
        name=counter.name,
        kind="Linear" if isinstance(module, nn.Linear) else "Conv2d",
        inputs=prod(counter.shape),
        outputs=counter.outputs,
        weights=module.weight.numel(),
        fan_out=int(fan_out.expand(counter.shape).sum()),
        presentations=counter.presentations,
        events=events,
        synops=int((counts * fan_out).sum()),
        operand="analog" if analog else "binary",
    )


def _site_fan_out(module: nn.Linear | nn.Conv2d, shape: tuple[int, ...]) -> Tensor:
    """Return the outputs that an input reaches: one number, or one per place of a feature map."""
    if isinstance(module, nn.Linear):
        return torch.tensor(module.out_features)
    left_right = module._reversed_padding_repeated_twice  # last axis first, as torch pads
    rows, columns = (
        torch.from_numpy(
            axis_fan_out(
                size=shape[1 + axis],
                kernel=module.kernel_size[axis],
                stride=module.stride[axis],
                padding=(left_right[2 * (1 - axis)], left_right[2 * (1 - axis) + 1]),
                dilation=module.dilation[axis],
                padding_mode=module.padding_mode,
            )
        )
        for axis in (0, 1)
    )
    return rows[:, None] * columns[None, :] * (module.out_channels // module.groups)
