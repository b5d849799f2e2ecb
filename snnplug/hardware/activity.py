"""What a network did: integer counts per layer, without any hardware in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from snnplug.errors import MeasurementError

Operand = Literal["binary", "analog"]
Leak = Literal["none", "shift", "multiply"]


@dataclass(frozen=True)
class SynapticLayer:
    """Counts of one layer of weights, summed over all samples and time steps.

    Attributes:
        name: Its name in the network.
        kind: ``"Linear"`` or ``"Conv2d"``; a subclass counts as what it is a kind of.
        inputs: Input sites per time step.
        outputs: Output sites per time step.
        weights: Stored weights.
        fan_out: Synapses per time step, that is synaptic operations if every input were active.
            Taps that fall on zero padding are no synapses.
        presentations: Samples x time steps seen.
        events: Inputs that were not zero.
        synops: Synaptic operations: each event counted once per output that it reaches.
        operand: ``"binary"`` if every input was 0 or 1, else ``"analog"``.
    """

    name: str
    kind: str
    inputs: int
    outputs: int
    weights: int
    fan_out: int
    presentations: int
    events: int
    synops: int
    operand: Operand

    @property
    def dense_synops(self) -> int:
        """Synaptic operations of a machine that skips no zero."""
        return self.fan_out * self.presentations


@dataclass(frozen=True)
class NeuronLayer:
    """Counts of one layer of neurons, summed over all samples and time steps.

    Attributes:
        name: Its name in the network.
        kind: Class of the module, such as ``"ContinuousIF"``.
        neurons: Neurons.
        presentations: Samples x time steps seen.
        spikes: Spikes emitted.
        stateful: Whether a membrane is kept from one time step to the next.
        leak: What the leak takes per neuron and step: nothing, a shift and an addition, or a
            multiplication.
        resets: Whether a spike changes the membrane.
    """

    name: str
    kind: str
    neurons: int
    presentations: int
    spikes: int
    stateful: bool
    leak: Leak
    resets: bool


@dataclass(frozen=True)
class PoolLayer:
    """Counts of one max-pooling layer, summed over all samples and time steps.

    Attributes:
        name: Its name in the network.
        kind: Class of the module.
        inputs: Input sites per time step.
        presentations: Samples x time steps seen.
        compares: Comparisons of two currents; pooling binary spikes takes none.
    """

    name: str
    kind: str
    inputs: int
    presentations: int
    compares: int


Layer = SynapticLayer | NeuronLayer | PoolLayer
#: Counters that add up over batches; everything else describes the layer and has to agree.
_COUNTERS = ("presentations", "events", "synops", "spikes", "compares")


@dataclass(frozen=True)
class Activity:
    """What a network did on a number of samples; adds over batches and over processes.

    Attributes:
        samples: Inferences measured.
        layers: Counts in the order in which the layers first ran.
        unpriced: Names of modules that ran and whose work is in no count.

    Example:
        >>> one = Activity(1, (NeuronLayer("n", "ContinuousIF", 4, 2, 3, True, "none", True),), ())
        >>> both = one + one
        >>> both.samples, both.layers[0].spikes, both.layers[0].neurons
        (2, 6, 4)
    """

    samples: int
    layers: tuple[Layer, ...]
    unpriced: tuple[str, ...] = ()

    @property
    def synaptic(self) -> tuple[SynapticLayer, ...]:
        """The layers of weights."""
        return tuple(layer for layer in self.layers if isinstance(layer, SynapticLayer))

    @property
    def neuronal(self) -> tuple[NeuronLayer, ...]:
        """The layers of neurons."""
        return tuple(layer for layer in self.layers if isinstance(layer, NeuronLayer))

    @property
    def synops(self) -> float:
        """Synaptic operations per inference."""
        return self.per_sample(layer.synops for layer in self.synaptic)

    @property
    def spikes_per_synapse(self) -> float:
        """Synaptic operations per synapse and inference.

        Dampfhoffer et al. put the limit up to which a spiking network competes with a quantised
        one at 0.15 to 1.38, depending on the baseline.
        """
        synapses = sum(layer.fan_out for layer in self.synaptic)
        return self.synops / synapses if synapses else 0.0

    def per_sample(self, counts: Iterable[int]) -> float:
        """Return the sum of ``counts`` per inference."""
        if self.samples == 0:
            raise MeasurementError(
                "0 samples were measured; run the network on at least one batch inside measure()"
            )
        return sum(counts) / self.samples

    def firing_rates(self) -> dict[str, float]:
        """Return spikes per neuron and time step of each layer of neurons."""
        return {
            layer.name: layer.spikes / (layer.neurons * layer.presentations)
            for layer in self.neuronal
        }

    def __add__(self, other: Activity) -> Activity:
        """Add the counts of two measurements of the same network."""
        if len(self.layers) != len(other.layers):
            raise MeasurementError(
                f"activities of {len(self.layers)} and {len(other.layers)} layers do not add up; "
                "both have to come from the same network"
            )
        layers = tuple(_add(a, b) for a, b in zip(self.layers, other.layers, strict=True))
        unpriced = tuple(dict.fromkeys(self.unpriced + other.unpriced))
        return Activity(self.samples + other.samples, layers, unpriced)

    def reduce(self, total: Callable[[list[int]], list[int]]) -> Activity:
        """Return the activity with every counter replaced by its total over processes.

        Args:
            total: Sums a list of integers elementwise over all processes.
        """
        owners = [
            (index, f.name)
            for index, layer in enumerate(self.layers)
            for f in fields(layer)
            if f.name in _COUNTERS
        ]
        counts = [getattr(self.layers[index], name) for index, name in owners]
        analog = [int(layer.operand == "analog") for layer in self.synaptic]
        totals = total([self.samples, *counts, *analog])
        layers: list[Layer] = list(self.layers)
        for (index, name), value in zip(owners, totals[1:], strict=False):
            changed: dict[str, Any] = {name: value}
            layers[index] = replace(layers[index], **changed)
        seen_analog = iter(totals[1 + len(counts) :])
        for index, layer in enumerate(layers):
            if isinstance(layer, SynapticLayer) and next(seen_analog):
                layers[index] = replace(layer, operand="analog")
        return Activity(totals[0], tuple(layers), self.unpriced)

    def to_json(self) -> str:
        """Return everything as JSON text; :meth:`from_json` reads it back."""
        layers = [{"type": type(layer).__name__, **asdict(layer)} for layer in self.layers]
        return json.dumps({"samples": self.samples, "layers": layers, "unpriced": self.unpriced})

    @classmethod
    def from_json(cls, text: str) -> Activity:
        """Read what :meth:`to_json` wrote."""
        content = json.loads(text)
        layers = tuple(_layer(entry) for entry in content["layers"])
        return cls(content["samples"], layers, tuple(content["unpriced"]))


def _layer(entry: dict[str, Any]) -> Layer:
    kinds = {kind.__name__: kind for kind in (SynapticLayer, NeuronLayer, PoolLayer)}
    values = dict(entry)
    layer: Layer = kinds[values.pop("type")](**values)
    return layer


def _add(a: Layer, b: Layer) -> Layer:
    summed = {
        f.name: getattr(a, f.name) + getattr(b, f.name, 0) for f in fields(a) if f.name in _COUNTERS
    }
    if isinstance(a, SynapticLayer) and isinstance(b, SynapticLayer) and a.operand != b.operand:
        summed["operand"] = "analog"
    merged = replace(a, **summed)
    if replace(b, **summed) != merged:
        raise MeasurementError(f"layers {a} and {b} do not add up; they describe different layers")
    return merged
