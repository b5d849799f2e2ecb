"""Pricing after Lemaire et al.: every synaptic operation reads a weight and updates a potential."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from snnplug.errors import TargetError
from snnplug.hardware.activity import Activity, Layer, NeuronLayer, SynapticLayer
from snnplug.hardware.costs import LayerCost, Totals
from snnplug.hardware.elementwise import Number, add_up, holds, larger, smaller
from snnplug.hardware.machine import require_positive
from snnplug.hardware.report import EnergyReport, bill
from snnplug.hardware.target import Target

_PARTS = ("weight_read", "potential", "spikes", "accumulate", "address", "neuron")


@dataclass(frozen=True)
class Word:
    """Width of all numbers, and the energy of their arithmetic."""

    bits: int
    add_pj: float
    mul_pj: float


@dataclass(frozen=True)
class Accesses:
    """Energy of an access to a memory of three sizes; in between it is interpolated linearly.

    Attributes:
        small_kb: Smallest memory; smaller ones cost as much.
        small_pj: One access to it.
        middle_kb: A larger memory.
        middle_pj: One access to it.
        large_kb: Largest memory; larger ones cost as much.
        large_pj: One access to it.
        queue_entries: Spikes that the queue between two layers holds.
    """

    small_kb: float
    small_pj: float
    middle_kb: float
    middle_pj: float
    large_kb: float
    large_pj: float
    queue_entries: int

    def __post_init__(self) -> None:
        """Check that the sizes rise."""
        if not holds((self.small_kb < self.middle_kb) & (self.middle_kb < self.large_kb)):
            raise TargetError(
                f"memory sizes are {self.small_kb}, {self.middle_kb} and {self.large_kb} kB; they "
                "have to rise"
            )

    def access_pj(self, kb: Number) -> Number:
        """Return the energy of one access to a memory of ``kb``.

        Example:
            >>> Accesses(8, 10, 32, 20, 1024, 100, 1000).access_pj(20)
            15.0
        """
        low = larger(0.0, smaller(1.0, (kb - self.small_kb) / (self.middle_kb - self.small_kb)))
        high = larger(0.0, smaller(1.0, (kb - self.middle_kb) / (self.large_kb - self.middle_kb)))
        first = low * (self.middle_pj - self.small_pj)
        return self.small_pj + first + high * (self.large_pj - self.middle_pj)


@dataclass(frozen=True)
class EventMemory(Target):
    r"""Event by event: no lanes, no row of weights; each synop is an access of its own.

    With :math:`S` synops, :math:`n` events, :math:`U` neuron updates and :math:`Z` spikes per
    inference, and :math:`E(m)` an access to a memory of :math:`m`, a layer of weights and its
    neurons take

    .. math::
        E_\text{weight} &= S\, E(\text{weights}) \\
        E_\text{potential} &= (2 S + U)\, E(\text{potentials}) \\
        E_\text{spikes} &= n\, E(\text{queue}) + Z\, E(\text{queue}) \\
        E_\text{acc} &= S\, E_\text{add}
            \;[+\, S\, E_\text{mul}\text{ for inputs that are not spikes}] \\
        E_\text{address} &= S\, E_\text{add}
            \;[+\, 2 n\, (E_\text{mul} + E_\text{add})\text{ for convolutions}] \\
        E_\text{neuron} &= (U + Z)\, E_\text{add} \;[+\, U\, (E_\text{mul} + E_\text{add})
            \text{ with a leak}]

    Reference:
        Lemaire et al., "An analytical estimation of spiking neural networks energy efficiency",
        ICONIP 2022, arXiv:2210.13107. Deviates: synops are the exact counts, not mean rate times
        kernel, so the border of a convolution is not overcounted and a fully connected layer is
        not multiplied by its inputs twice; the potential of a neuron is accessed once more in each
        time step, not once per inference; biases are not read.
    """

    family: ClassVar[str] = "event_memory"
    vectorised: ClassVar[bool] = True

    name: str
    technology_nm: int
    scope: str
    summary: str
    statement: str
    word: Word
    memory: Accesses
    low_factor: float
    high_factor: float
    provenance: Mapping[str, Mapping[str, str]]

    def __post_init__(self) -> None:
        """Check what one number alone does not show."""
        require_positive(self.name, memory__small_kb=self.memory.small_kb)
        if not holds((self.low_factor <= 1) & (self.high_factor >= 1)):
            raise TargetError(
                f"{self.name}: the band is {self.low_factor} … {self.high_factor} times the "
                "energy; low_factor has to be at most 1 and high_factor at least 1"
            )

    def price(self, activity: Activity) -> EnergyReport:
        """Return what the activity costs per inference.

        Args:
            activity: Counts from :func:`snnplug.measure`.

        Raises:
            MeasurementError: The activity holds no sample.
        """
        totals, samples = self.totals(activity), activity.samples
        layers = [
            LayerCost(
                layer.name,
                layer.kind,
                dict.fromkeys(_PARTS, 0.0) | self._parts_nj(layer, samples, dense=False),
                None,
                layer.synops / samples if isinstance(layer, SynapticLayer) else 0.0,
            )
            for layer in activity.layers
        ]
        missing = [
            f"{layer.name} ({layer.kind})"
            for layer in activity.layers
            if not isinstance(layer, SynapticLayer | NeuronLayer)
            or (isinstance(layer, NeuronLayer) and layer.lookups)
        ]
        return bill(self, activity, totals, layers, missing)

    def totals(self, activity: Activity) -> Totals:
        """Return the totals of :meth:`price` alone."""
        activity.per_sample(())  # refuses an activity without samples
        energy_nj, dense_nj = (
            add_up(
                add_up(self._parts_nj(layer, activity.samples, dense).values())
                for layer in activity.layers
            )
            for dense in (False, True)
        )
        return Totals(
            energy_nj=energy_nj,
            energy_nj_low=energy_nj * self.low_factor,
            energy_nj_high=energy_nj * self.high_factor,
            dense_nj=dense_nj,
        )

    def _parts_nj(self, layer: Layer, samples: int, dense: bool) -> dict[str, Number]:
        if isinstance(layer, SynapticLayer):
            parts = self._synaptic_pj(layer, samples, dense)
        elif isinstance(layer, NeuronLayer):
            parts = self._neuron_pj(layer, samples)
        else:
            parts = {}
        return {part: 1e-3 * pj for part, pj in parts.items()}

    def _synaptic_pj(self, layer: SynapticLayer, samples: int, dense: bool) -> dict[str, Number]:
        w, steps = self.word, layer.presentations / samples
        events = layer.inputs * steps if dense else layer.events / samples
        synops = layer.fan_out * steps if dense else layer.synops / samples
        address = synops * w.add_pj
        if "Conv" in layer.kind:
            address = address + 2 * events * (w.mul_pj + w.add_pj)
        multiply = 0.0 if layer.operand.adds else w.mul_pj
        return {
            "weight_read": synops * self._access_pj(layer.weights),
            "potential": 2 * synops * self._access_pj(layer.outputs),
            "spikes": events * self._access_pj(self.memory.queue_entries),
            "accumulate": synops * (w.add_pj + multiply),
            "address": address,
        }

    def _neuron_pj(self, layer: NeuronLayer, samples: int) -> dict[str, Number]:
        w = self.word
        updates = layer.neurons * layer.presentations / samples
        spikes = layer.spikes / samples
        leaks = sum(leak != "none" for leak in (layer.leak, *layer.other_leaks))
        multiplies = (leaks + layer.multiplies) * w.mul_pj
        adds = (leaks + layer.adds) * w.add_pj
        return {
            "potential": updates * layer.states * self._access_pj(layer.neurons * layer.states),
            "spikes": spikes * self._access_pj(self.memory.queue_entries),
            "neuron": (updates + spikes) * w.add_pj + updates * (multiplies + adds),
        }

    def _access_pj(self, entries: Number) -> Number:
        return self.memory.access_pj(entries * self.word.bits / 8 / 1024)
