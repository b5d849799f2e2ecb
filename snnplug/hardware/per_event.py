"""Pricing with published figures per event: so much per synaptic operation, so much per neuron."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from snnplug.errors import TargetError
from snnplug.hardware.activity import Activity, Layer, NeuronLayer, PoolLayer, SynapticLayer
from snnplug.hardware.report import EnergyReport, LayerCost
from snnplug.hardware.target import Target


@dataclass(frozen=True)
class Events:
    """Energy per event, and how far off it may be; a figure that nobody published is left out.

    Attributes:
        synop_pj: One synaptic operation of a binary spike.
        low_factor: Lower end of the band, as a share of the energy.
        high_factor: Upper end of the band, as a multiple of the energy.
        analog_synop_pj: One synaptic operation of an input that is no binary spike.
        neuron_update_pj: One neuron in one time step.
    """

    synop_pj: float
    low_factor: float
    high_factor: float
    analog_synop_pj: float | None = None
    neuron_update_pj: float | None = None


@dataclass(frozen=True)
class PerEvent(Target):
    r"""Energy as counts times published figures; no latency and no area.

    With :math:`S` synaptic operations of binary and :math:`S_a` of other inputs, and :math:`U`
    neuron updates per inference,

    .. math::
        E = S\, e_\text{synop} + S_a\, e_\text{analog} + U\, e_\text{neuron}

    With the scope ``all_in`` the figure per synaptic operation holds neurons, leakage and control
    already, and neurons add nothing. With ``per_term`` it holds the operation alone. Work without
    a figure is listed in the report's ``unpriced``.
    """

    family: ClassVar[str] = "per_event"

    name: str
    technology_nm: int
    scope: str
    summary: str
    statement: str
    events: Events
    provenance: Mapping[str, Mapping[str, str]]

    def __post_init__(self) -> None:
        """Check what one number alone does not show."""
        e = self.events
        if not e.low_factor <= 1 <= e.high_factor:
            raise TargetError(
                f"{self.name}: the band is {e.low_factor} … {e.high_factor} times the energy; "
                "events.low_factor has to be at most 1 and events.high_factor at least 1"
            )
        if self.scope == "all_in" and e.neuron_update_pj is not None:
            raise TargetError(
                f"{self.name}: scope is all_in, so events.synop_pj holds the neurons already; "
                "leave events.neuron_update_pj out, or set scope = 'per_term'"
            )

    def price(self, activity: Activity) -> EnergyReport:
        """Return what the activity costs per inference.

        Args:
            activity: Counts from :func:`snnplug.measure`.

        Raises:
            MeasurementError: The activity holds no sample.
        """
        activity.per_sample(())  # refuses an activity without samples
        samples = activity.samples
        layers = tuple(self._layer_cost(layer, samples) for layer in activity.layers)
        energy_nj = sum(layer.energy_nj for layer in layers)
        skipped = sum(
            (layer.dense_synops - layer.synops) / samples * (self._synop_pj(layer) or 0.0)
            for layer in activity.synaptic
        )
        missing = tuple(
            f"{layer.name} ({layer.kind})" for layer in activity.layers if self._lacks(layer)
        )
        return EnergyReport(
            target=self.name,
            fingerprint=self.fingerprint,
            samples=samples,
            energy_nj=energy_nj,
            energy_nj_low=energy_nj * self.events.low_factor,
            energy_nj_high=energy_nj * self.events.high_factor,
            latency_us=None,
            area_mm2=None,
            dense_nj=energy_nj + 1e-3 * skipped,
            synops=activity.synops,
            spikes_per_synapse=activity.spikes_per_synapse,
            layers=layers,
            unpriced=activity.unpriced + missing,
            statement=self.statement,
        )

    def _synop_pj(self, layer: SynapticLayer) -> float | None:
        return self.events.synop_pj if layer.operand.adds else self.events.analog_synop_pj

    def _lacks(self, layer: Layer) -> bool:
        """Whether the layer worked and there is no figure for its work."""
        if isinstance(layer, SynapticLayer):
            return layer.synops > 0 and self._synop_pj(layer) is None
        if self.scope == "all_in":
            return False
        if isinstance(layer, NeuronLayer):
            # What was published is the update of a leaky neuron, not of an LSTM cell.
            return self.events.neuron_update_pj is None or layer.lookups > 0
        if isinstance(layer, PoolLayer):
            return layer.compares + layer.adds > 0
        return layer.multiplies + layer.adds > 0

    def _layer_cost(self, layer: Layer, samples: int) -> LayerCost:
        parts, synops = {"synapse": 0.0, "neuron": 0.0}, 0.0
        if isinstance(layer, SynapticLayer):
            synops = layer.synops / samples
            parts["synapse"] = 1e-3 * synops * (self._synop_pj(layer) or 0.0)
        elif isinstance(layer, NeuronLayer):
            updates = layer.neurons * layer.presentations / samples
            parts["neuron"] = 1e-3 * updates * (self.events.neuron_update_pj or 0.0)
        return LayerCost(layer.name, layer.kind, parts, None, synops)
