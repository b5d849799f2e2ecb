"""Pricing on a sparse digital accelerator: one row of weights per spike, SRAM and adders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from snnplug.errors import TargetError
from snnplug.hardware.activity import (
    Activity,
    ElementwiseLayer,
    Layer,
    Leak,
    NeuronLayer,
    PoolLayer,
    SynapticLayer,
)
from snnplug.hardware.dense_twin import DenseMachine, banks, num_steps
from snnplug.hardware.elementwise import Number, add_up, ceil, divide, holds, larger, smaller, where
from snnplug.hardware.machine import (
    SCHEDULES,
    Calibration,
    Datapath,
    DenseTwin,
    Memory,
    Operations,
    Overhead,
    require_positive,
)
from snnplug.hardware.report import Baseline, EnergyReport, LayerCost, Totals, bill
from snnplug.hardware.sram import Column, sram
from snnplug.hardware.target import Target
from snnplug.hardware.technology import HIGHEST_V, LOWEST_V, relative_energy

_PARTS = ("scan", "weight_read", "accumulate", "membrane", "neuron", "output")


@dataclass(frozen=True)
class _Cost:
    """Dynamic energy in pJ by part, and cycles, of one layer and inference."""

    parts_pj: Mapping[str, Number]
    cycles: Number

    @property
    def total_pj(self) -> Number:
        return add_up(self.parts_pj.values())


@dataclass(frozen=True)
class SparseDigital(Target):
    r"""Accelerator that scans spikes, reads a row of weights for each, and accumulates.

    With :math:`P` lanes, :math:`n` events and :math:`S` synaptic operations per time step, and
    :math:`b_w, b_v` bits of weight and membrane, a layer of weights takes per step

    .. math::
        E_\text{scan} &= \lceil N_\text{in} / W \rceil \lceil N_\text{out} / P \rceil
            E_\text{buffer} + n \lceil N_\text{out} / P \rceil E_\text{add}(b_\text{adr}) \\
        E_\text{weight} &= r\, E_\text{row} (f + (1 - f)\, S / (r P)) \\
        E_\text{acc} &= S\, (E_\text{add}(b_v) + E_\text{reg}(b_v)
            \;[+\, E_\text{mul}(b_a, b_w)\text{ for inputs that are not spikes}])

    with :math:`f` the share of a row access that does not shrink with the columns used, and
    :math:`r = n \lceil N_\text{out} / P \rceil` rows read for a fully connected layer. The outputs
    that an input of a convolution reaches are taken to fill the lanes: :math:`r = S / P`, or with
    fewer outputs than lanes :math:`r = n \lceil S / (n P) \rceil`. A layer of :math:`N` neurons
    takes

    .. math::
        E_\text{membrane} &= N (E_\text{read} + E_\text{write})\, b_v / 32
            \quad\text{if it keeps one} \\
        E_\text{neuron} &= N (E_\text{leak} + E_\text{cmp}(b_v) + E_\text{add}(b_v))
            + \text{spikes} \cdot E_\text{add}(b_v) \\
        E_\text{output} &= \lceil N / W \rceil E_\text{buffer write}

    All of it is multiplied by :math:`\kappa` (clock tree, control, wires); leakage is the leakage
    power times the latency. Layers run one after the other, or pipelined; see
    :meth:`latencies_us`.

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

    def __post_init__(self) -> None:
        """Check what one number alone does not show."""
        require_positive(
            self.name,
            datapath__clock_mhz=self.datapath.clock_mhz,
            sram__bank_kb=self.sram.bank_kb,
            sram__spike_buffer_kb=self.sram.spike_buffer_kb,
        )
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
        leakage_pj = leak_uw * totals.latency_us
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

    def _costs(self, activity: Activity, dense: bool) -> list[_Cost]:
        volts = self._volts
        costs = [self._layer(layer, activity.samples, dense) for layer in activity.layers]
        return [
            replace(cost, parts_pj={part: pj * volts for part, pj in cost.parts_pj.items()})
            for cost in costs
        ]

    def _totals(self, activity: Activity, costs: list[_Cost]) -> Totals:
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

    def _latencies_us(self, activity: Activity, costs: list[_Cost]) -> tuple[Number, Number]:
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
        self, activity: Activity, costs: list[_Cost], leak_uw: Number, kappa: Number
    ) -> Number:
        # µW x µs = pJ
        dynamic = add_up(cost.total_pj for cost in costs)
        latency_us = self._latencies_us(activity, costs)[self._is_pipelined]
        return 1e-3 * (kappa * dynamic + leak_uw * latency_us)

    def _layer_cost(
        self, layer: Layer, cost: _Cost, samples: int, leakage_pj: float, cycles: float
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

    def _layer(self, layer: Layer, samples: int, dense: bool) -> _Cost:
        if isinstance(layer, SynapticLayer):
            return self._synaptic(layer, samples, dense)
        if isinstance(layer, NeuronLayer):
            return self._neurons(layer, samples)
        if isinstance(layer, PoolLayer):
            return self._pool(layer, samples)
        return self._elementwise(layer, samples)

    def _synaptic(self, layer: SynapticLayer, samples: int, dense: bool) -> _Cost:
        d = self.datapath
        steps = layer.presentations / samples
        events = layer.inputs * steps if dense else layer.events / samples
        synops = layer.fan_out * steps if dense else layer.synops / samples
        tiles = ceil(layer.outputs / d.lanes)
        words = ceil(layer.inputs / d.spike_word_bits) * tiles * steps
        rows = self._rows(layer, events, synops, tiles)
        lane_use = smaller(1.0, divide(synops, rows) / d.lanes)
        floor = self.sram.partial_row_floor
        row_width = d.lanes * d.weight_bits
        scan = words * self._buffer("read_pj") + events * tiles * self._add(self.ops.address_bits)
        _, bank_kb = banks(layer.weights, d.weight_bits, self.sram.bank_kb)
        row_pj = self._sram(bank_kb, row_width, "read_pj")
        accumulate = self._add(d.membrane_bits) + self.ops.register_pj_per_bit * d.membrane_bits
        if not layer.operand.adds:
            bits = layer.operand.bits or d.activation_bits
            accumulate = accumulate + self.ops.mul_pj_per_bit2 * bits * d.weight_bits
        parts = {
            "scan": scan,
            "weight_read": rows * row_pj * (floor + (1 - floor) * lane_use),
            "accumulate": synops * accumulate,
        }
        return _Cost(parts, cycles=rows + words)

    def _rows(self, layer: SynapticLayer, events: float, synops: float, tiles: Number) -> Number:
        """Rows of weights read per inference."""
        if layer.kind == "OneToOne":
            return events
        if layer.kind == "Linear":
            return events * tiles
        lanes = self.datapath.lanes
        whole = events * ceil(divide(synops, events) / lanes)
        return where(lanes <= layer.outputs, synops / lanes, whole)

    def _neurons(self, layer: NeuronLayer, samples: int) -> _Cost:
        d = self.datapath
        steps = layer.presentations / samples
        updates = layer.neurons * steps
        membrane = 0.0
        if layer.stateful:
            kb = self._membrane_kb(layer)
            access = self._sram(kb, 32, "read_pj") + self._sram(kb, 32, "write_pj")
            membrane = updates * layer.states * access * d.membrane_bits / 32
        leaks = add_up(map(self._leak, (layer.leak, *layer.other_leaks)))
        compares = layer.compares * self._compare()
        adds = (1 + layer.adds) * self._add(d.membrane_bits)
        multiplies = layer.multiplies * self._multiply(d.activation_bits)
        neuron = updates * (leaks + compares + adds + multiplies)
        if layer.stateful and layer.resets:
            neuron = neuron + layer.spikes / samples * self._add(d.membrane_bits)
        words = ceil(layer.neurons / d.spike_word_bits) * steps
        parts = {
            "membrane": membrane,
            "neuron": neuron,
            "output": words * self._buffer("write_pj"),
        }
        return _Cost(parts, cycles=d.neuron_cycles * ceil(layer.neurons / d.lanes) * steps)

    def _pool(self, layer: PoolLayer, samples: int) -> _Cost:
        # Done on the way from the accumulators to the neurons: no cycle of its own.
        adds = layer.adds * self._add(self.datapath.membrane_bits)
        return _Cost({"neuron": (layer.compares * self._compare() + adds) / samples}, cycles=0.0)

    def _elementwise(self, layer: ElementwiseLayer, samples: int) -> _Cost:
        adds = layer.adds * self._add(self.datapath.membrane_bits)
        multiplies = layer.multiplies * self._multiply(self.datapath.weight_bits)
        return _Cost({"neuron": (adds + multiplies) / samples}, cycles=0.0)

    def _leak(self, leak: Leak) -> Number:
        return {
            "none": 0.0,
            "shift": self._add(self.datapath.membrane_bits),
            "multiply": self._multiply(8),
        }[leak]

    def _leak_uw(self, activity: Activity) -> Number:
        nominal = self.overhead.logic_leak_uw + self._memories(activity, "leak_uw")
        return nominal * (self.supply_v / self.nominal_v)

    def _area_mm2(self, activity: Activity) -> Number:
        return self.overhead.logic_area_mm2 + self._memories(activity, "area_mm2")

    def _memories(self, activity: Activity, column: Column) -> Number:
        """Sum a column over the banks of weights and membranes of the whole network."""
        d = self.datapath
        total: Number = 0.0
        for layer in activity.synaptic:
            if layer.shares_weights:
                continue
            count, each_kb = banks(layer.weights, d.weight_bits, self.sram.bank_kb)
            total = total + count * self._sram(each_kb, d.lanes * d.weight_bits, column)
        for neurons in activity.neuronal:
            if neurons.stateful:
                total = total + self._sram(self._membrane_kb(neurons), 32, column)
        return total

    def _membrane_kb(self, layer: NeuronLayer) -> Number:
        return larger(1.0, layer.neurons * layer.states * self.datapath.membrane_bits / 8 / 1024)

    def _buffer(self, column: Column) -> Number:
        return self._sram(self.sram.spike_buffer_kb, self.datapath.spike_word_bits, column)

    def _sram(self, kb: Number, width_bits: Number, column: Column) -> Number:
        return sram(self.technology_nm, kb, width_bits, column)

    def _add(self, bits: Number) -> Number:
        return self.ops.add_pj_per_bit * bits

    def _compare(self) -> Number:
        """Energy of comparing two membranes."""
        return self.ops.compare_pj_per_bit * self.datapath.membrane_bits

    def _multiply(self, bits: Number) -> Number:
        """Energy of multiplying a membrane by a number of so many bits."""
        return self.ops.mul_pj_per_bit2 * self.datapath.membrane_bits * bits


def _without_figure(activity: Activity) -> tuple[str, ...]:
    return tuple(
        f"{layer.name} ({layer.kind}: sigmoid, tanh)"
        for layer in activity.neuronal
        if layer.lookups
    )
