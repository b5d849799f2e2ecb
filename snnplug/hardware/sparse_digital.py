"""Pricing on a sparse digital accelerator: one row of weights per spike, SRAM and adders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

from snnplug.errors import TargetError
from snnplug.hardware.activity import Activity, Layer, SynapticLayer
from snnplug.hardware.costs import Baseline, LayerCost, Totals
from snnplug.hardware.dense_twin import DenseMachine, num_steps
from snnplug.hardware.elementwise import Number, add_up, divide, holds, larger
from snnplug.hardware.machine import (
    SCHEDULES,
    Calibration,
    Datapath,
    DenseTwin,
    Duty,
    Memory,
    Operations,
    Overhead,
    require_positive,
)
from snnplug.hardware.report import EnergyReport, bill
from snnplug.hardware.sparse_machine import LayerDemand, SparseMachine
from snnplug.hardware.sram import sram
from snnplug.hardware.target import Target
from snnplug.hardware.technology import HIGHEST_V, LOWEST_V, relative_energy

_PARTS = ("scan", "weight_read", "accumulate", "membrane", "neuron", "output")


@dataclass(frozen=True)
class SparseDigital(Target):
    r"""Accelerator that scans spikes, reads a row of weights for each, and accumulates.

    A layer takes what :class:`~snnplug.hardware.sparse_machine.SparseMachine` says. All of it is
    multiplied by :math:`\kappa` (clock tree, control, wires); leakage is the leakage power times
    the latency. Layers run one after the other, or pipelined; see :meth:`latencies_us`.

    With a table ``duty`` the machine leaks until the next inference begins, unless it is
    power-gated in between; an inference that takes longer leaks as long as it takes.

    The figures of energy hold at ``nominal_v``. At another ``supply_v`` switching energy follows
    :func:`~snnplug.hardware.technology.relative_energy` and leakage power the voltage; the clock
    stays what it is, so give one that the voltage allows.
    """

    family: ClassVar[str] = "sparse_digital"
    vectorised: ClassVar[bool] = True

    name: str
    technology_nm: int
    supply_v: float
    nominal_v: float
    scope: str
    summary: str
    statement: str
    datapath: Datapath
    sram: Memory
    ops: Operations
    overhead: Overhead
    calibration: Calibration
    provenance: Mapping[str, Mapping[str, str]]
    twin: DenseTwin | None = None
    duty: Duty | None = None

    def __post_init__(self) -> None:
        """Check what one number alone does not show."""
        require_positive(
            self.name,
            datapath__clock_mhz=self.datapath.clock_mhz,
            sram__bank_kb=self.sram.bank_kb,
            sram__spike_buffer_kb=self.sram.spike_buffer_kb,
        )
        if self.duty is not None:
            require_positive(self.name, duty__inferences_per_s=self.duty.inferences_per_s)
        if not holds(self.sram.partial_row_floor <= 1):
            raise TargetError(
                f"{self.name}: sram.partial_row_floor is {self.sram.partial_row_floor}; it is a "
                "share, 0 … 1"
            )
        for key, volts in (("supply_v", self.supply_v), ("nominal_v", self.nominal_v)):
            if not holds((volts >= LOWEST_V) & (volts <= HIGHEST_V)):
                raise TargetError(
                    f"{self.name}: {key} is {volts}; energies are known between {LOWEST_V} and "
                    f"{HIGHEST_V} V"
                )
        if self.datapath.schedule not in SCHEDULES:
            raise TargetError(
                f"{self.name}: datapath.schedule is {self.datapath.schedule!r}; it is one of "
                f"{', '.join(SCHEDULES)}"
            )
        sram(self.technology_nm, 1, 32, "read_pj")  # is there a table for this node?

    @cached_property
    def _machine(self) -> SparseMachine:
        return SparseMachine(self.technology_nm, self.datapath, self.sram, self.ops)

    @property
    def published_nj(self) -> tuple[float, float]:
        """Lowest and highest energy per inference that the source published."""
        return self.calibration.published_nj_low, self.calibration.published_nj_high

    def price(self, activity: Activity) -> EnergyReport:
        """Return what the activity costs per inference.

        Args:
            activity: Counts from :func:`snnplug.measure`.

        Raises:
            MeasurementError: The activity holds no sample.
        """
        activity.per_sample(())  # refuses an activity without samples
        costs = self._costs(activity, dense=False)
        totals = self._totals(activity, costs)
        leak_uw, cycles = self._leak_uw(activity), add_up(cost.cycles for cost in costs)
        leakage_pj = leak_uw * self._leaking_us(totals.latency_us)
        layers = [
            self._layer_cost(layer, cost, activity.samples, leakage_pj, cycles)
            for layer, cost in zip(activity.layers, costs, strict=True)
        ]
        baseline = self._baseline(activity, totals)
        return bill(self, activity, totals, layers, _without_figure(activity), baseline)

    def totals(self, activity: Activity) -> Totals:
        """Return the totals of :meth:`price` alone."""
        activity.per_sample(())  # refuses an activity without samples
        return self._totals(activity, self._costs(activity, dense=False))

    def latencies_us(self, activity: Activity) -> tuple[Number, Number]:
        r"""Return the latency with layers one after the other, and pipelined, in µs.

        With :math:`c_\ell` cycles of layer :math:`\ell` and the neurons behind it over all
        :math:`T` steps, that is :math:`\sum_\ell c_\ell / f`, and

        .. math::
            \Bigl(\max_\ell c_\ell + \tfrac1T \bigl(\textstyle\sum_\ell c_\ell
            - \max_\ell c_\ell\bigr)\Bigr) / f

        where every layer has hardware of its own and a step ends for all of them at once: the
        slowest sets the pace, the others fill the pipeline. Counts are means over the steps, so
        steps that differ make the pipeline slower than this.
        """
        return self._latencies_us(activity, self._costs(activity, dense=False))

    def _costs(self, activity: Activity, dense: bool) -> list[LayerDemand]:
        volts = self._volts
        costs = [self._machine.cost(layer, activity.samples, dense) for layer in activity.layers]
        return [
            replace(cost, parts_pj={part: pj * volts for part, pj in cost.parts_pj.items()})
            for cost in costs
        ]

    def _totals(self, activity: Activity, costs: list[LayerDemand]) -> Totals:
        o, leak_uw = self.overhead, self._leak_uw(activity)
        dense = self._costs(activity, dense=True)
        sequential_us, pipelined_us = self._latencies_us(activity, costs)
        return Totals(
            energy_nj=self._total_nj(activity, costs, leak_uw, o.kappa),
            energy_nj_low=self._total_nj(activity, costs, leak_uw, o.kappa_low),
            energy_nj_high=self._total_nj(activity, costs, leak_uw, o.kappa_high),
            dense_nj=self._total_nj(activity, dense, leak_uw, o.kappa),
            latency_us=pipelined_us if self._is_pipelined else sequential_us,
            latency_pipelined_us=pipelined_us,
            area_mm2=self._area_mm2(activity),
        )

    @property
    def _volts(self) -> Number:
        """Switching energy at this supply, relative to the nominal one."""
        at = relative_energy(self.technology_nm, self.supply_v)
        return at / relative_energy(self.technology_nm, self.nominal_v)

    @property
    def _is_pipelined(self) -> bool:
        return self.datapath.schedule == "pipelined"

    def _latencies_us(self, activity: Activity, costs: list[LayerDemand]) -> tuple[Number, Number]:
        stages: list[Number] = [0.0]
        for layer, cost in zip(activity.layers, costs, strict=True):
            if isinstance(layer, SynapticLayer):
                stages.append(0.0)
            stages[-1] = stages[-1] + cost.cycles
        slowest: Number = 0.0
        for stage in stages:
            slowest = larger(slowest, stage)
        total = add_up(cost.cycles for cost in costs)
        steps = num_steps(activity) or 1.0
        pipelined = slowest + (total - slowest) / steps
        return total / self.datapath.clock_mhz, pipelined / self.datapath.clock_mhz

    def _total_nj(
        self, activity: Activity, costs: list[LayerDemand], leak_uw: Number, kappa: Number
    ) -> Number:
        # µW x µs = pJ
        dynamic = add_up(cost.total_pj for cost in costs)
        latency_us = self._latencies_us(activity, costs)[self._is_pipelined]
        return 1e-3 * (kappa * dynamic + leak_uw * self._leaking_us(latency_us))

    def _leaking_us(self, latency_us: Number) -> Number:
        """Time that leaks per inference: the latency, or until the next inference begins."""
        if self.duty is None or self.duty.power_gated:
            return latency_us
        return larger(latency_us, 1e6 / self.duty.inferences_per_s)

    def _layer_cost(
        self, layer: Layer, cost: LayerDemand, samples: int, leakage_pj: float, cycles: float
    ) -> LayerCost:
        parts = {part: 1e-3 * cost.parts_pj.get(part, 0.0) for part in _PARTS}
        parts["control"] = 1e-3 * (self.overhead.kappa - 1) * cost.total_pj
        parts["leakage"] = 1e-3 * leakage_pj * divide(cost.cycles, cycles)
        synops = layer.synops / samples if isinstance(layer, SynapticLayer) else 0.0
        latency_us = cost.cycles / self.datapath.clock_mhz
        return LayerCost(layer.name, layer.kind, parts, latency_us, synops)

    def _baseline(self, activity: Activity, totals: Totals) -> Baseline | None:
        """Return the conventional network of the same shape, on these memories."""
        if self.twin is None or totals.energy_nj is None or not activity.synaptic:
            return None
        d = self.datapath
        machine = DenseMachine(
            self.twin, self.ops, d.lanes, d.weight_bits, self.sram.bank_kb, self.technology_nm
        )
        kappa = self.overhead.kappa * self._volts
        return machine.baseline(activity, kappa, totals.energy_nj)

    def _leak_uw(self, activity: Activity) -> Number:
        nominal = self.overhead.logic_leak_uw + self._machine.on_chip(activity, "leak_uw")
        return nominal * (self.supply_v / self.nominal_v)

    def _area_mm2(self, activity: Activity) -> Number:
        return self.overhead.logic_area_mm2 + self._machine.on_chip(activity, "area_mm2")


def _without_figure(activity: Activity) -> tuple[str, ...]:
    return tuple(
        f"{layer.name} ({layer.kind}: sigmoid, tanh)"
        for layer in activity.neuronal
        if layer.lookups
    )
