"""Running counts of one layer each; tensors stay on their device until they are asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from operator import mul

import numpy as np
import torch
from torch import Tensor

from snnplug.hardware.dynamics import Dynamics
from snnplug.hardware.fan_out import Counts
from snnplug.hardware.operand import SILENT, Operand, operand_of_spikes
from snnplug.hardware.records import ElementwiseLayer, NeuronLayer, PoolLayer, SynapticLayer
from snnplug.hardware.repeats import Repeats
from snnplug.hardware.tally import Tally, tally
from snnplug.hardware.value_range import operand_of
from snnplug.hardware.window import Window


@dataclass
class SynapticCounter:
    """Counts of a layer of weights."""

    name: str
    kind: str
    shape: tuple[int, ...]
    outputs: int
    weights: int
    fan_out: Counts
    zero_fan_out: Counts | None = None
    biases: int = 0
    shares_weights: bool = False
    window: Window | None = None
    presentations: int = 0
    operand: Operand = SILENT
    counts: Tensor | int = 0
    repeated_counts: Tensor | int = 0
    repeats: Repeats = field(default_factory=Repeats)
    #: Normalisations that took this layer's output.
    norms: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Note what every call asks for."""
        #: Trailing axes of an input that need counts of their own.
        self.keep = (self.fan_out if self.zero_fan_out is None else self.zero_fan_out).ndim

    def add(
        self, x: Tensor, seen: Tally, rows: int, batch: int | None, time_first: bool = True
    ) -> None:
        """Add what one call saw.

        Args:
            x: The input, with any leading axes.
            seen: Its events, by :attr:`keep`.
            rows: Samples x time steps in it.
            batch: Samples in a time step; 0 if that is not known, None to look for no repeats.
            time_first: Whether rows of several steps lie one step after the other.
        """
        self.presentations += rows
        self.counts = self.counts + seen.counts
        self.operand = extended(self.operand, x, seen)
        if seen.spike == 1 or batch is None:
            self.repeats.forget()
            return
        steps = _steps(x.shape[: x.dim() - len(self.shape)], batch, time_first)
        again = self.repeats.find(x.detach().reshape(rows, *self.shape), steps)
        if again is not None:
            self.repeated_counts = self.repeated_counts + tally(again, self.keep).counts

    def settle(self) -> SynapticLayer:
        """Return the finished record."""
        total = int(np.broadcast_to(self.fan_out, self.shape).sum())
        zero = self.zero_fan_out
        return SynapticLayer(
            name=self.name,
            kind=self.kind,
            inputs=prod(self.shape),
            outputs=self.outputs,
            weights=self.weights,
            fan_out=total,
            presentations=self.presentations,
            events=exact_sum(self.counts),
            synops=exact_sum(self.counts, self.fan_out),
            operand=self.operand,
            biases=self.biases,
            zero_weight_synops=0 if zero is None else exact_sum(self.counts, zero),
            repeated_events=exact_sum(self.repeated_counts),
            repeated_synops=exact_sum(self.repeated_counts, self.fan_out),
            repeated_zero_weight_synops=(
                0 if zero is None else exact_sum(self.repeated_counts, zero)
            ),
            shares_weights=self.shares_weights,
            window=self.window,
        )


@dataclass
class NeuronCounter:
    """Counts of a layer of neurons."""

    name: str
    kind: str
    shape: tuple[int, ...]
    neurons: int
    dynamics: Dynamics
    presentations: int = 0
    spikes: int = 0

    def settle(self) -> NeuronLayer:
        """Return the finished record."""
        d = self.dynamics
        return NeuronLayer(
            name=self.name,
            kind=self.kind,
            neurons=self.neurons,
            presentations=self.presentations,
            spikes=self.spikes,
            stateful=d.states > 0,
            leak=d.leaks[0],
            resets=d.resets,
            states=max(1, d.states),
            other_leaks=d.leaks[1:],
            multiplies=d.multiplies,
            adds=d.adds,
            lookups=d.lookups,
            compares=d.compares,
        )


@dataclass
class PoolCounter:
    """Counts of a pooling layer; one that averages has a fan-out."""

    name: str
    kind: str
    shape: tuple[int, ...]
    fan_out: Counts | None
    presentations: int = 0
    operand: Operand = SILENT
    counts: Tensor | int = 0

    def settle(self) -> PoolLayer:
        """Return the finished record."""
        return PoolLayer(
            name=self.name,
            kind=self.kind,
            inputs=prod(self.shape),
            presentations=self.presentations,
            operand=self.operand,
            adds=0 if self.fan_out is None else exact_sum(self.counts, self.fan_out),
            takes_largest=self.fan_out is None,
        )


@dataclass
class ElementwiseCounter:
    """Counts of work on single values."""

    name: str
    kind: str
    multiplies: int = 0
    adds: int = 0
    parameters: int = 0
    #: The layers of weights whose output this normalises; None among them for any other input.
    sources: dict[int, SynapticCounter | None] = field(default_factory=dict)

    @property
    def is_folded(self) -> bool:
        """Whether the weights of the one layer before can do the work.

        They take one normalisation: not one per time step, as with ``BatchNormTT``.
        """
        layer = next(iter(self.sources.values()), None)
        return layer is not None and len(self.sources) == 1 and layer.norms == {self.name}

    def settle(self) -> ElementwiseLayer:
        """Return the finished record."""
        if self.is_folded:
            return ElementwiseLayer(self.name, f"{self.kind} (folded)", 0, 0)
        return ElementwiseLayer(self.name, self.kind, self.multiplies, self.adds, self.parameters)


Counter = SynapticCounter | NeuronCounter | PoolCounter | ElementwiseCounter


def extended(operand: Operand, x: Tensor, seen: Tally) -> Operand:
    """Return the operand with the values of ``x``, of which ``seen`` is the tally."""
    if seen.spike is None:
        return operand_of(x, operand)
    if not seen.events or (operand.levels == (0, 1) and operand.step == seen.spike):
        return operand
    return operand.join(operand_of_spikes(seen.events, seen.spike))


def _steps(leading: tuple[int, ...], batch: int, time_first: bool) -> int:
    """Return how many time steps the leading axes of an input hold; 0 if that is not known."""
    rows = prod(leading)
    if batch == 0 or rows % batch:
        return 0
    if leading == (rows,):
        return rows // batch if time_first or rows == batch else 0
    # Several values of a sample in a step: words, patches, or the steps of a sample in a row.
    if not (time_first and leading[1] == batch):
        return int(leading[0] == batch)
    return leading[0]


def exact_sum(counts: Tensor | int, weight: Counts | None = None) -> int:
    """Return the sum of ``counts``, each times its ``weight``, in integers of any size.

    Args:
        counts: Counts of trailing axes; 0 where nothing was counted.
        weight: Of as many axes, or of the last ones of them; one number stands for all.
    """
    if isinstance(counts, int):
        return counts * int(weight) if weight is not None and weight.ndim == 0 else counts
    values = counts.cpu()
    if weight is None or weight.ndim == 0:
        total: int = sum(values.flatten().tolist())
        return total if weight is None else total * int(weight)
    # Counts may be kept for more axes than the weight tells apart.
    spread = torch.from_numpy(np.broadcast_to(weight, tuple(values.shape)).copy())
    return sum(map(mul, values.flatten().tolist(), spread.flatten().tolist()))
