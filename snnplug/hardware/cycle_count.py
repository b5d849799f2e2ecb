"""Latency from published cycles per event and neuron, where no energy per event is published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from snnplug.hardware.activity import Activity, Layer, NeuronLayer, SynapticLayer
from snnplug.hardware.costs import LayerCost, Totals
from snnplug.hardware.elementwise import Number, add_up
from snnplug.hardware.machine import require_positive
from snnplug.hardware.report import EnergyReport, bill
from snnplug.hardware.target import Target


@dataclass(frozen=True)
class Cycles:
    """Cycles of the clock.

    Attributes:
        input_synop: One synaptic operation of the first layer of weights.
        input_channel: One input of the network, each time step.
        hidden_synop: One synaptic operation between hidden neurons.
        hidden_scan: One hidden neuron, each time step, to look for its spike.
        output_synop: One synaptic operation of the last layer of weights.
        output_event: One spike that enters the last layer of weights.
        hidden_neuron: Update of one hidden neuron, each time step.
        hidden_spike: One spike of a hidden neuron.
        output_neuron: Update of one output neuron, each time step.
    """

    input_synop: float
    input_channel: float
    hidden_synop: float
    hidden_scan: float
    output_synop: float
    output_event: float
    hidden_neuron: float
    hidden_spike: float
    output_neuron: float


@dataclass(frozen=True)
class CycleCount(Target):
    r"""Latency as counts times published cycles; no energy and no area.

    The first layer of weights is the input's, the last one the output's, those between are among
    hidden neurons; the last layer of neurons is the output. Cycles of all of them add up, one
    processor doing everything, and the latency is their sum over the clock.
    """

    family: ClassVar[str] = "cycle_count"
    vectorised: ClassVar[bool] = True

    name: str
    scope: str
    summary: str
    statement: str
    clock_mhz: float
    cycles: Cycles
    provenance: Mapping[str, Mapping[str, str]]
    technology_nm: int | None = None

    def __post_init__(self) -> None:
        """Check what one number alone does not show."""
        require_positive(self.name, clock_mhz=self.clock_mhz)

    def price(self, activity: Activity) -> EnergyReport:
        """Return how long the activity takes per inference.

        Args:
            activity: Counts from :func:`snnplug.measure`.

        Raises:
            MeasurementError: The activity holds no sample.
        """
        totals = self.totals(activity)
        layers = [
            LayerCost(
                layer.name,
                layer.kind,
                {},
                cycles / self.clock_mhz,
                layer.synops / activity.samples if isinstance(layer, SynapticLayer) else 0.0,
            )
            for layer, cycles in zip(activity.layers, self._cycles(activity), strict=True)
        ]
        missing = [
            f"{layer.name} ({layer.kind})"
            for layer in activity.layers
            if not isinstance(layer, SynapticLayer | NeuronLayer)
        ]
        return bill(self, activity, totals, layers, ["energy", "area", *missing])

    def totals(self, activity: Activity) -> Totals:
        """Return the totals of :meth:`price` alone."""
        activity.per_sample(())  # refuses an activity without samples
        cycles = add_up(self._cycles(activity))
        return Totals(None, None, None, None, latency_us=cycles / self.clock_mhz)

    def _cycles(self, activity: Activity) -> list[Number]:
        """Return the cycles of each layer per inference."""
        kinds = [type(layer) for layer in activity.layers]
        first = kinds.index(SynapticLayer) if SynapticLayer in kinds else -1
        last = {kind: place for place, kind in enumerate(kinds)}
        return [
            self._one(layer, activity.samples, place == first, place == last[type(layer)])
            for place, layer in enumerate(activity.layers)
        ]

    def _one(self, layer: Layer, samples: int, is_input: bool, is_output: bool) -> Number:
        c = self.cycles
        if isinstance(layer, SynapticLayer):
            synops, events = layer.synops / samples, layer.events / samples
            if is_input:
                channels = layer.inputs * layer.presentations / samples
                return c.input_synop * synops + c.input_channel * channels
            if is_output:
                return c.output_synop * synops + c.output_event * events
            return c.hidden_synop * synops
        if isinstance(layer, NeuronLayer):
            updates = layer.neurons * layer.presentations / samples
            if is_output:
                return c.output_neuron * updates
            spikes = layer.spikes / samples
            return (c.hidden_neuron + c.hidden_scan) * updates + c.hidden_spike * spikes
        return 0.0
