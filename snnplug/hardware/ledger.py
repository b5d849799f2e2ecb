"""Entering the calls of a network's modules into running counters."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, TypeVar, cast

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from snnplug.hardware.counters import (
    Counter,
    ElementwiseCounter,
    NeuronCounter,
    PoolCounter,
    SynapticCounter,
    extended,
)
from snnplug.hardware.dynamics import Dynamics
from snnplug.hardware.fan_out import (
    Convolution,
    Counts,
    convolved_shape,
    fan_out_of,
    window_of,
    zero_weight_fan_out,
)
from snnplug.hardware.operand import ANALOG, operand_of_spikes
from snnplug.hardware.relaxation import Relaxation
from snnplug.hardware.tally import Tally, spikes_of, tally
from snnplug.hardware.value_range import operand_of

_C = TypeVar("_C", SynapticCounter, NeuronCounter, PoolCounter)


class Ledger:
    """Running counters by name, and what was seen that has no count.

    Args:
        relaxation: Takes in the gradients of what is counted, for a price alone: what repeats, and
            weights of 0, are then not looked for.
    """

    def __init__(self, relaxation: Relaxation | None = None) -> None:
        self._relaxation = relaxation
        self.counters: dict[str, Counter] = {}
        self.unpriced: dict[str, None] = {}
        #: Samples in a time step; 0 while that is not known.
        self.batch = 0
        self._pending: tuple[NeuronCounter, Tensor] | None = None
        self._currents: tuple[SynapticCounter, Tensor] | None = None
        self._weights: dict[int, str] = {}

    def begin_sequence(self, batch: int) -> None:
        """Take note that new samples start, so many at a time."""
        self.batch = batch
        for counter in self.counters.values():
            if isinstance(counter, SynapticCounter):
                counter.repeats.forget()

    def end_call(self) -> None:
        """Let go of what was kept for the next module."""
        self.flush()
        self._currents = None

    def list_unpriced(self, name: str, kind: str) -> None:
        """Name something whose work is in no count."""
        self.flush()
        self.unpriced[f"{name} ({kind})"] = None
        self._currents = None

    def synaptic(
        self,
        name: str,
        layer: nn.Linear | Convolution,
        x: Tensor,
        out: Tensor,
        pool_name: str | None = None,
    ) -> None:
        """Enter a call of a layer of weights; with a name, also of the max pool that it did."""
        features = 1 if isinstance(layer, nn.Linear) else len(layer.kernel_size) + 1
        shape, to = tuple(x.shape[-features:]), tuple(out.shape[-features:])
        if pool_name is not None and isinstance(layer, nn.Conv2d):
            to = convolved_shape(layer, shape)
        counter = self._at_size(SynapticCounter, name, shape, prod(to))
        if isinstance(counter, str):
            counter = self._new_synaptic(counter, layer, shape, to)
        seen = self._enter(counter, x)
        self.flush(x, seen)
        self._currents = (counter, out) if pool_name is None else None
        if pool_name is not None:
            pool = self._at_size(PoolCounter, pool_name, to, None)
            if isinstance(pool, str):
                pool = PoolCounter(pool, "MaxPool2d", to, None)
                self.counters[pool.name] = pool
            pool.presentations += prod(x.shape[: x.dim() - features])
            if seen.events or layer.bias is not None:
                pool.operand = ANALOG  # currents, which nobody has seen

    def halves(self, name: str, layer: nn.Conv2d, x: Tensor, out: Tensor, first: int) -> None:
        """Enter a convolution over an input and a hidden state of one LSTM cell."""
        self.flush()
        fan_out = fan_out_of(layer, tuple(x.shape[1:]), tuple(out.shape[1:]))
        zero = self._zeros(layer, tuple(x.shape[1:]), tuple(out.shape[1:]))
        for part, lo, hi in (("input", 0, first), ("hidden", first, x.shape[1])):
            self.weighted(
                f"{name}.{part}",
                "Conv2d",
                x[:, lo:hi],
                outputs=prod(out.shape[1:]),
                weights=layer.weight[:, lo:hi].numel(),
                fan_out=fan_out,
                zero=None if zero is None else zero[lo:hi],
                biases=prod(out.shape[1:]) if part == "input" and layer.bias is not None else 0,
            )

    def weighted(
        self,
        name: str,
        kind: str,
        x: Tensor,
        outputs: int,
        weights: int,
        fan_out: Counts,
        zero: Counts | None = None,
        biases: int = 0,
    ) -> None:
        """Enter events that meet weights which are no layer of their own; ``x`` is ``(B, *)``."""
        shape = tuple(x.shape[1:])
        counter = self._at_size(SynapticCounter, name, shape, outputs)
        if isinstance(counter, str):
            counter = SynapticCounter(counter, kind, shape, outputs, weights, fan_out, zero, biases)
            self.counters[counter.name] = counter
        self._enter(counter, x)

    def neuron(
        self, name: str, module: nn.Module, dynamics: Dynamics, spk: Tensor, leading: int
    ) -> None:
        """Enter a call of a layer of neurons."""
        self.flush()
        self._currents = None
        shape = tuple(spk.shape[leading:])
        counter = self._at_size(NeuronCounter, name, shape, None)
        if isinstance(counter, str):
            neurons = prod(shape)
            if getattr(module, "max_pool", 0) or getattr(module, "avg_pool", 0):
                neurons = prod(
                    cast(Tensor, module.mem).shape[1:]
                )  # pooled on the way to its spikes
            kind = type(module).__name__
            counter = NeuronCounter(counter, kind, shape, neurons, dynamics)
            self.counters[counter.name] = counter
        counter.presentations += prod(spk.shape[:leading])
        if dynamics.compares:
            self._pending = counter, spk

    def pool(self, name: str, kind: str, x: Tensor, features: int, fan_out: Counts | None) -> None:
        """Enter a call of a pooling layer; ``fan_out`` is for one that averages."""
        self._currents = None
        shape = tuple(x.shape[-features:])
        counter = self._at_size(PoolCounter, name, shape, None)
        if isinstance(counter, str):
            counter = PoolCounter(counter, kind, shape, fan_out)
            self.counters[counter.name] = counter
        counter.presentations += prod(x.shape[: x.dim() - features])
        if fan_out is not None:
            seen = tally(x, fan_out.ndim)
            counter.counts = counter.counts + seen.counts
            counter.operand = extended(counter.operand, x, seen)
            self._relax(counter, x, seen, fan_out)
            self.flush(x, seen)
            return
        self.flush()
        ones = spikes_of(x)
        counter.operand = (
            operand_of(x, counter.operand)
            if ones is None
            else counter.operand.join(operand_of_spikes(ones))
        )

    def norm(self, name: str, module: _BatchNorm, x: Tensor, out: Tensor) -> None:
        """Enter a call of a batch normalisation."""
        self.flush()
        before = self._currents
        counter = self.elementwise(
            name, type(module).__name__, out.numel(), out.numel(), 2 * module.num_features
        )
        layer = None
        if before is not None and _same_memory(before[1], x) and not _uses_batch(module):
            layer = before[0]
            layer.norms.add(name)
        counter.sources[id(layer)] = layer
        self._currents = None

    def scales(self, name: str, kind: str, count: int, parameters: int) -> None:
        """Enter a multiplication of each value."""
        self.flush()
        self.elementwise(name, kind, count, 0, parameters)

    def elementwise(
        self, name: str, kind: str, multiplies: int, adds: int, parameters: int = 0
    ) -> ElementwiseCounter:
        """Enter work on single values."""
        counter = self.counters.get(name)
        if not isinstance(counter, ElementwiseCounter):
            counter = self.counters[name] = ElementwiseCounter(name, kind, parameters=parameters)
        counter.multiplies += multiplies
        counter.adds += adds
        return counter

    def flush(self, x: Tensor | None = None, seen: Tally | None = None) -> None:
        """Count the spikes of the neurons that ran last.

        Their output is usually the next layer's input: then ``x`` is the same memory, and what was
        ``seen`` there serves both.
        """
        if self._pending is None:
            return
        counter, spk = self._pending
        self._pending = None
        if seen is None or x is None or not _same_memory(spk, x):
            seen = tally(spk)
        counter.spikes += seen.events
        self._relax(counter, spk, seen)

    def _enter(self, counter: SynapticCounter, x: Tensor) -> Tally:
        seen = tally(x, counter.keep)
        counter.add(x, seen, self.batch if self._relaxation is None else None)
        self._relax(counter, x, seen, counter.fan_out)
        return seen

    def _relax(
        self, counter: Counter, x: Tensor, seen: Tally, fan_out: Counts | None = None
    ) -> None:
        if self._relaxation is not None:
            self._relaxation.add(counter.name, x, seen, fan_out)

    def _new_synaptic(
        self, name: str, layer: nn.Linear | Convolution, shape: tuple[int, ...], to: tuple[int, ...]
    ) -> SynapticCounter:
        kind = next(c.__name__ for c in type(layer).__mro__ if c.__module__.startswith("torch.nn."))
        stored = layer._parameters.get("weight")  # None if it is computed
        owner = name if stored is None else self._weights.setdefault(id(stored), name)
        counter = SynapticCounter(
            name,
            kind,
            shape,
            prod(to),
            layer.weight.numel(),
            fan_out_of(layer, shape, to),
            None if self._relaxation else self._zeros(layer, shape, to),
            0 if layer.bias is None else prod(to),
            owner != name,
            window_of(layer, shape, to),
        )
        self.counters[name] = counter
        return counter

    @staticmethod
    def _zeros(
        layer: nn.Linear | Convolution, shape: tuple[int, ...], to: tuple[int, ...]
    ) -> Counts | None:
        """Return the synapses without weight of each input, if there are any."""
        if int(layer.weight.count_nonzero()) == layer.weight.numel():
            return None
        return zero_weight_fan_out(layer, shape, to)

    def _at_size(
        self, kind: type[_C], name: str, shape: tuple[int, ...], outputs: int | None
    ) -> _C | str:
        """Return the counter of a module for an input of this shape, or the name of a new one."""
        for label in _labels(name, shape, outputs):
            counter = self.counters.get(label)
            if counter is None:
                return label
            if (
                isinstance(counter, kind)
                and counter.shape == shape
                and getattr(counter, "outputs", outputs) == outputs
            ):
                return counter
        return label


def _labels(name: str, shape: tuple[int, ...], outputs: int | None) -> Iterator[str]:
    """Yield what a counter may be called: its module, and where that has met others, the sizes."""
    yield name
    size = "x".join(map(str, shape))
    yield f"{name}[{size}]"
    yield f"{name}[{size}->{outputs}]"


def _same_memory(a: Tensor, b: Tensor) -> bool:
    return (
        a.data_ptr() == b.data_ptr()
        and a.numel() == b.numel()
        and a.is_contiguous()
        and b.is_contiguous()
    )


def _uses_batch(module: Any) -> bool:
    """Whether a normalisation uses the statistics of the batch, which cannot be folded."""
    return bool(module.training or module.running_mean is None)
