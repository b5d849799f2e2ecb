"""Pricing the conventional network of the same shape: one pass, every synapse a multiplication."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from snnplug.hardware.activity import Activity, Layer, SynapticLayer
from snnplug.hardware.costs import LayerCost, Totals
from snnplug.hardware.dense_twin import DenseMachine
from snnplug.hardware.elementwise import Number, add_up, ceil
from snnplug.hardware.machine import DenseTwin, Operations, Overhead, require_positive
from snnplug.hardware.report import EnergyReport, bill
from snnplug.hardware.sram import sram
from snnplug.hardware.target import Target


@dataclass(frozen=True)
class Multipliers:
    """Widths and counts of the datapath."""

    lanes: int
    weight_bits: int
    clock_mhz: float


@dataclass(frozen=True)
class Banks:
    """Size of the memories of weights."""

    bank_kb: float


@dataclass(frozen=True)
class DenseDigital(Target):
    r"""A conventional accelerator, on which the network of the same shape runs once.

    The energy is that of :class:`~snnplug.hardware.dense_twin.DenseMachine` times :math:`\kappa`,
    without leakage. It depends on the shapes of the layers alone, not on spikes and not on the
    number of time steps. A layer takes :math:`\lceil M / P \rceil` cycles for :math:`M` synapses
    and :math:`P` lanes. Neurons and pooling are taken to cost nothing.
    """

    family: ClassVar[str] = "dense_digital"
    vectorised: ClassVar[bool] = True

    name: str
    technology_nm: int
    scope: str
    summary: str
    statement: str
    datapath: Multipliers
    sram: Banks
    twin: DenseTwin
    ops: Operations
    overhead: Overhead
    provenance: Mapping[str, Mapping[str, str]]

    def __post_init__(self) -> None:
        """Check what one number alone does not show."""
        require_positive(
            self.name,
            datapath__clock_mhz=self.datapath.clock_mhz,
            sram__bank_kb=self.sram.bank_kb,
            twin__buffer_kb=self.twin.buffer_kb,
        )
        sram(self.technology_nm, 1, 32, "read_pj")  # is there a table for this node?

    @property
    def _machine(self) -> DenseMachine:
        d = self.datapath
        return DenseMachine(
            self.twin, self.ops, d.lanes, d.weight_bits, self.sram.bank_kb, self.technology_nm
        )

    def price(self, activity: Activity) -> EnergyReport:
        """Return what one pass of the conventional network costs.

        Args:
            activity: Counts from :func:`snnplug.measure`; only its shapes matter.

        Raises:
            MeasurementError: The activity holds no sample.
        """
        layers = [self._layer_cost(layer) for layer in activity.layers]
        return bill(self, activity, self.totals(activity), layers)

    def totals(self, activity: Activity) -> Totals:
        """Return the totals of :meth:`price` alone."""
        activity.per_sample(())  # refuses an activity without samples
        pj = self._machine.energy_pj(activity)
        energy_nj = 1e-3 * self.overhead.kappa * pj
        latency_us = add_up(self._latency_us(layer) for layer in activity.synaptic)
        return Totals(
            energy_nj=energy_nj,
            energy_nj_low=1e-3 * self.overhead.kappa_low * pj,
            energy_nj_high=1e-3 * self.overhead.kappa_high * pj,
            dense_nj=energy_nj,
            latency_us=latency_us,
            area_mm2=self.overhead.logic_area_mm2 + self._machine.area_mm2(activity),
        )

    def _latency_us(self, layer: SynapticLayer) -> Number:
        return ceil(layer.fan_out / self.datapath.lanes) / self.datapath.clock_mhz

    def _layer_cost(self, layer: Layer) -> LayerCost:
        if not isinstance(layer, SynapticLayer):
            return LayerCost(layer.name, layer.kind, {"control": 0.0}, 0.0, 0.0)
        pj = self._machine.parts_pj(layer)
        parts = {part: 1e-3 * value for part, value in pj.items()}
        parts["control"] = 1e-3 * (self.overhead.kappa - 1) * add_up(pj.values())
        return LayerCost(
            layer.name, layer.kind, parts, self._latency_us(layer), float(layer.fan_out)
        )
