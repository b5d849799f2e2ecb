"""Pricing with published figures per event: so much per synaptic operation, so much per neuron."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from snnplug.errors import TargetError
from snnplug.hardware.activity import Activity, Layer, NeuronLayer, PoolLayer, SynapticLayer
from snnplug.hardware.costs import LayerCost, Totals
from snnplug.hardware.elementwise import Number, add_up, holds
from snnplug.hardware.report import EnergyReport, bill
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
        skips_zeros: Whether inputs that are zero cost nothing; False for machines that compute
            every synapse at every step.
    """

    synop_pj: float
    low_factor: float
    high_factor: float
    analog_synop_pj: float | None = None
    neuron_update_pj: float | None = None
    skips_zeros: bool = True


@dataclass(frozen=True)
class PerEvent(Target):
    r"""Energy as counts times published figures; no latency and no area.

    With :math:`S` synaptic operations of binary and :math:`S_a` of other inputs, and :math:`U`
    neuron updates per inference,

    .. math::
        E = S\, e_\text{synop} + S_a\, e_\text{analog} + U\, e_\text{neuron}

    With the scope ``all_in`` the figure per synaptic operation holds neurons, leakage and control
    already, and neurons add nothing. With ``per_term`` it holds the operation alone. Work without
    a figure is listed in the report's ``unpriced``. Where zeros are not skipped, every synapse
    counts at every step.
    """

    family: ClassVar[str] = "per_event"
    vectorised: ClassVar[bool] = True

    name: str
    scope: str
    summary: str
    statement: str
    events: Events
    provenance: Mapping[str, Mapping[str, str]]
    technology_nm: int | None = None

    def __post_init__(self) -> None:
        """Check what one number alone does not show."""
        e = self.events
        if not holds((e.low_factor <= 1) & (e.high_factor >= 1)):
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
        layers = [self._layer_cost(layer, activity.samples) for layer in activity.layers]
        missing = [
            f"{layer.name} ({layer.kind})" for layer in activity.layers if self._lacks(layer)
        ]
        return bill(self, activity, self.totals(activity), layers, missing)

    def totals(self, activity: Activity) -> Totals:
        """Return the totals of :meth:`price` alone."""
        activity.per_sample(())  # refuses an activity without samples
        samples = activity.samples
        parts = (self._parts_nj(layer, samples) for layer in activity.layers)
        energy_nj = add_up(add_up(each.values()) for each in parts)
        skipped_pj = add_up(
            (layer.dense_synops - self._done(layer)) / samples * _or_zero(self._synop_pj(layer))
            for layer in activity.synaptic
        )
        return Totals(
            energy_nj=energy_nj,
            energy_nj_low=energy_nj * self.events.low_factor,
            energy_nj_high=energy_nj * self.events.high_factor,
            dense_nj=energy_nj + 1e-3 * skipped_pj,
        )

    def _done(self, layer: SynapticLayer) -> int:
        """Synaptic operations that the machine does."""
        return layer.synops if self.events.skips_zeros else layer.dense_synops

    def _synop_pj(self, layer: SynapticLayer) -> float | None:
        return self.events.synop_pj if layer.operand.adds else self.events.analog_synop_pj

    def _lacks(self, layer: Layer) -> bool:
        """Whether the layer worked and there is no figure for its work."""
        if isinstance(layer, SynapticLayer):
            return self._done(layer) > 0 and self._synop_pj(layer) is None
        if self.scope == "all_in":
            return False
        if isinstance(layer, NeuronLayer):
            # What was published is the update of a leaky neuron, not of an LSTM cell.
            return self.events.neuron_update_pj is None or layer.lookups > 0
        if isinstance(layer, PoolLayer):
            return layer.compares + layer.adds > 0
        return layer.multiplies + layer.adds > 0

    def _layer_cost(self, layer: Layer, samples: int) -> LayerCost:
        synops = layer.synops / samples if isinstance(layer, SynapticLayer) else 0.0
        return LayerCost(layer.name, layer.kind, self._parts_nj(layer, samples), None, synops)

    def _parts_nj(self, layer: Layer, samples: int) -> dict[str, Number]:
        parts: dict[str, Number] = {"synapse": 0.0, "neuron": 0.0}
        if isinstance(layer, SynapticLayer):
            synops = self._done(layer) / samples
            parts["synapse"] = 1e-3 * synops * _or_zero(self._synop_pj(layer))
        elif isinstance(layer, NeuronLayer):
            updates = layer.neurons * layer.presentations / samples
            parts["neuron"] = 1e-3 * updates * _or_zero(self.events.neuron_update_pj)
        return parts


def _or_zero(figure: Number | None) -> Number:
    return 0.0 if figure is None else figure
