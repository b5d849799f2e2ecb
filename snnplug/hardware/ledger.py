"""Entering the calls of a network's modules into running counters."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any, NamedTuple
from weakref import ref

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from snnplug.hardware.counter_table import CounterTable
from snnplug.hardware.counters import (
    Counter,
    ElementwiseCounter,
    NeuronCounter,
    PoolCounter,
    SynapticCounter,
    extended,
)
from snnplug.hardware.dynamics import Dynamics
from snnplug.hardware.fan_out import Convolution, Counts, convolved_shape, fan_out_of
from snnplug.hardware.operand import ANALOG, operand_of_spikes
from snnplug.hardware.relaxation import Relaxation
from snnplug.hardware.tally import Tally, spikes_of, tally
from snnplug.hardware.value_range import operand_of


class _Call(NamedTuple):
    """What the last call of a layer of weights was: mostly, the next one is like it."""

    shapes: tuple[torch.Size, torch.Size, str | None]
    counter: SynapticCounter
    rows: int  # samples x time steps
    pool: PoolCounter | None


class Ledger:
    """Running counters by name, and what was seen that has no count.

    Args:
        relaxation: Takes in the gradients of what is counted, for a price alone: what repeats, and
            weights of 0, are then not looked for.
        time_first: Whether rows of several steps lie one step after the other.
    """

    def __init__(self, relaxation: Relaxation | None = None, time_first: bool = True) -> None:
        self._relaxation = relaxation
        self._time_first = time_first
        self._table = CounterTable(seeks_zeros=relaxation is None)
        self.counters: dict[str, Counter] = self._table.by_name
        self.unpriced: dict[str, None] = {}
        #: Samples in a time step; 0 while that is not known.
        self.batch = 0
        self._pending: tuple[NeuronCounter, Tensor] | None = None
        self._currents: tuple[SynapticCounter, Tensor] | None = None
        self._last: dict[str, _Call] = {}
        #: Currents that a normalisation took, and the layer whose weights may do its work.
        self.normalised: list[tuple[ref[Tensor], SynapticCounter]] = []

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
        self.normalised.clear()

    def list_unpriced(self, name: str, kind: str) -> None:
        """Name something whose work is in no count."""
        self.flush()
        self.unpriced[f"{name} ({kind})"] = None
        self._currents = None

    def reads(self, values: Iterable[Any], out: Any = ()) -> None:
        """Take note of what a module or function takes, ahead of entering it.

        Weights can do a normalisation's work only if nothing else needs what they gave without it.

        Args:
            values: Its arguments.
            out: The result of a function. What is no tensor, or a view of an argument, tells of no
                use of it.
        """
        self.normalised = [
            (known, layer) for known, layer in self.normalised if known() is not None
        ]
        results = _tensors(out)
        for x in _tensors(values):
            if (not results and out != ()) or any(_shares_memory(x, result) for result in results):
                continue
            for known, layer in self.normalised:
                if _shares_memory(known(), x):
                    layer.norms.add("")

    def synaptic(
        self,
        name: str,
        layer: nn.Linear | Convolution,
        x: Tensor,
        out: Tensor,
        pool_name: str | None = None,
    ) -> None:
        """Enter a call of a layer of weights; with a name, also of the max pool that it did."""
        last = self._last.get(name)
        if last is None or last.shapes != (x.shape, out.shape, pool_name):
            last = self._last[name] = self._call(name, layer, x, out, pool_name)
        seen = self._enter(last.counter, x, last.rows)
        if self._pending is not None:
            self.flush(x, seen)
        self._currents = (last.counter, out) if last.pool is None else None
        if last.pool is not None:
            last.pool.presentations += last.rows
            if seen.events or layer.bias is not None:
                last.pool.operand = ANALOG  # currents, which nobody has seen

    def _call(
        self,
        name: str,
        layer: nn.Linear | Convolution,
        x: Tensor,
        out: Tensor,
        pool_name: str | None,
    ) -> _Call:
        """Find the counters of a call."""
        features = 1 if isinstance(layer, nn.Linear) else len(layer.kernel_size) + 1
        shape: tuple[int, ...] = x.shape[-features:]
        to: tuple[int, ...] = out.shape[-features:]
        if pool_name is not None and isinstance(layer, nn.Conv2d):
            to = convolved_shape(layer, shape)
        counter = self._table.synaptic(name, layer, shape, to)
        pool = None if pool_name is None else self._table.pool(pool_name, "MaxPool2d", to, None)
        rows = prod(x.shape[: x.dim() - features])
        return _Call((x.shape, out.shape, pool_name), counter, rows, pool)

    def halves(self, name: str, layer: nn.Conv2d, x: Tensor, out: Tensor, first: int) -> None:
        """Enter a convolution over an input and a hidden state of one LSTM cell."""
        self.flush()
        fan_out = fan_out_of(layer, tuple(x.shape[1:]), tuple(out.shape[1:]))
        zero = self._table.zeros(layer, tuple(x.shape[1:]), tuple(out.shape[1:]))
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
        counter = self._table.weighted(
            name, kind, x.shape[1:], outputs, weights, fan_out, zero, biases
        )
        self._enter(counter, x, len(x))

    def neuron(
        self, name: str, module: nn.Module, dynamics: Dynamics, spk: Tensor, leading: int
    ) -> None:
        """Enter a call of a layer of neurons."""
        if self._pending is not None:
            self.flush()
        self._currents = None
        counter = self._table.neurons(name, module, dynamics, spk.shape[leading:])
        counter.presentations += prod(spk.shape[:leading])
        if dynamics.compares:
            self._pending = counter, spk

    def pool(self, name: str, kind: str, x: Tensor, features: int, fan_out: Counts | None) -> None:
        """Enter a call of a pooling layer; ``fan_out`` is for one that averages."""
        self._currents = None
        counter = self._table.pool(name, kind, x.shape[-features:], fan_out)
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
            self.normalised += [(ref(before[1]), layer), (ref(x), layer)]
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
        counter = self._table.elementwise(name, kind, parameters)
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

    def _enter(self, counter: SynapticCounter, x: Tensor, rows: int) -> Tally:
        seen = tally(x, counter.keep)
        if self._relaxation is None:
            counter.add(x, seen, rows, self.batch, self._time_first)
        else:
            counter.add(x, seen, rows, None)
            self._relaxation.add(counter.name, x, seen, counter.fan_out)
        return seen

    def _relax(
        self, counter: Counter, x: Tensor, seen: Tally, fan_out: Counts | None = None
    ) -> None:
        if self._relaxation is not None:
            self._relaxation.add(counter.name, x, seen, fan_out)


def _same_memory(a: Tensor, b: Tensor) -> bool:
    return (
        a.data_ptr() == b.data_ptr()
        and a.numel() == b.numel()
        and a.is_contiguous()
        and b.is_contiguous()
    )


def _shares_memory(a: Tensor | None, b: Tensor) -> bool:
    """Whether two tensors are views of the same memory."""
    if a is None or a.layout != torch.strided or b.layout != torch.strided:
        return False
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _tensors(values: Any) -> list[Tensor]:
    """Return the tensors among values, and in lists and tuples of them."""
    if isinstance(values, Tensor):
        return [values]
    inside = values if isinstance(values, list | tuple) else ()
    return [x for value in inside for x in _tensors(value)]


def _uses_batch(module: Any) -> bool:
    """Whether a normalisation uses the statistics of the batch, which cannot be folded."""
    return bool(module.training or module.running_mean is None)
