"""Pricing on a sparse digital accelerator: one row of weights per spike, SRAM and adders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
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
from snnplug.hardware.report import EnergyReport, LayerCost
from snnplug.hardware.sram import Column, sram
from snnplug.hardware.target import Target

_PARTS = ("scan", "weight_read", "accumulate", "membrane", "neuron", "output")


@dataclass(frozen=True)
class Datapath:
    """Widths and counts of the datapath."""

    lanes: int
    weight_bits: int
    membrane_bits: int
    activation_bits: int
    spike_word_bits: int
    clock_mhz: float
    neuron_cycles: int


@dataclass(frozen=True)
class Memory:
    """Sizes of the memories."""

    bank_kb: float
    spike_buffer_kb: float
    partial_row_floor: float


@dataclass(frozen=True)
class Operations:
    """Energy of the arithmetic."""

    add_pj_per_bit: float
    mul_pj_per_bit2: float
    register_pj_per_bit: float
    compare_pj_per_bit: float
    address_bits: int


@dataclass(frozen=True)
class Overhead:
    """What the bottom-up sum leaves out."""

    kappa: float
    kappa_low: float
    kappa_high: float
    logic_leak_uw: float
    logic_area_mm2: float


@dataclass(frozen=True)
class Calibration:
    """The published figures that ``kappa`` was set by, and the network assumed for them."""

    anchor_nj: float
    network: str
    num_steps: int
    published_nj_low: float
    published_nj_high: float


@dataclass(frozen=True)
class _Cost:
    """Dynamic energy in pJ by part, and cycles, of one layer and inference."""

    parts_pj: Mapping[str, float]
    cycles: float

    @property
    def total_pj(self) -> float:
        return sum(self.parts_pj.values())


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
    power times the latency of layers that run one after the other.
    """

    family: ClassVar[str] = "sparse_digital"

    name: str
    technology_nm: int
    supply_v: float
    scope: str
    summary: str
    statement: str
    datapath: Datapath
    sram: Memory
    ops: Operations
    overhead: Overhead
    calibration: Calibration
    provenance: Mapping[str, Mapping[str, str]]

    def __post_init__(self) -> None:
        """Check what one number alone does not show."""
        o = self.overhead
        if not 0 < o.kappa_low <= o.kappa <= o.kappa_high:
            raise TargetError(
                f"{self.name}: kappa is {o.kappa} with band {o.kappa_low} … {o.kappa_high}; it has "
                "to be positive and inside its band"
            )
        for key, value in (
            ("datapath.clock_mhz", self.datapath.clock_mhz),
            ("sram.bank_kb", self.sram.bank_kb),
            ("sram.spike_buffer_kb", self.sram.spike_buffer_kb),
        ):
            if value <= 0:
                raise TargetError(f"{self.name}: {key} is {value}; it has to be positive")
        if not 0 <= self.sram.partial_row_floor <= 1:
            raise TargetError(
                f"{self.name}: sram.partial_row_floor is {self.sram.partial_row_floor}; it is a "
                "share, 0 … 1"
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
        leak_uw = self._leak_uw(activity)
        costs = [self._layer(layer, activity.samples, dense=False) for layer in activity.layers]
        dense = [self._layer(layer, activity.samples, dense=True) for layer in activity.layers]
        layers = tuple(
            self._layer_cost(layer, cost, activity.samples, leak_uw)
            for layer, cost in zip(activity.layers, costs, strict=True)
        )
        return EnergyReport(
            target=self.name,
            fingerprint=self.fingerprint,
            samples=activity.samples,
            energy_nj=self._total_nj(costs, leak_uw, self.overhead.kappa),
            energy_nj_low=self._total_nj(costs, leak_uw, self.overhead.kappa_low),
            energy_nj_high=self._total_nj(costs, leak_uw, self.overhead.kappa_high),
            latency_us=self._latency_us(costs),
            area_mm2=self._area_mm2(activity),
            dense_nj=self._total_nj(dense, leak_uw, self.overhead.kappa),
            synops=activity.synops,
            spikes_per_synapse=activity.spikes_per_synapse,
            layers=layers,
            unpriced=activity.unpriced + _without_figure(activity),
            statement=self.statement,
        )

    def _latency_us(self, costs: list[_Cost]) -> float:
        return sum(cost.cycles for cost in costs) / self.datapath.clock_mhz

    def _total_nj(self, costs: list[_Cost], leak_uw: float, kappa: float) -> float:
        # µW x µs = pJ
        dynamic = sum(cost.total_pj for cost in costs)
        return 1e-3 * (kappa * dynamic + leak_uw * self._latency_us(costs))

    def _layer_cost(self, layer: Layer, cost: _Cost, samples: int, leak_uw: float) -> LayerCost:
        latency_us = cost.cycles / self.datapath.clock_mhz
        parts = {part: 1e-3 * cost.parts_pj.get(part, 0.0) for part in _PARTS}
        parts["control"] = 1e-3 * (self.overhead.kappa - 1) * cost.total_pj
        parts["leakage"] = 1e-3 * leak_uw * latency_us
        synops = layer.synops / samples if isinstance(layer, SynapticLayer) else 0.0
        return LayerCost(layer.name, layer.kind, parts, latency_us, synops)

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
        lane_use = min(1.0, synops / rows / d.lanes) if rows else 0.0
        floor = self.sram.partial_row_floor
        row_width = d.lanes * d.weight_bits
        scan = words * self._buffer("read_pj") + events * tiles * self._add(self.ops.address_bits)
        _, bank_kb = self._banks(layer)
        row_pj = self._sram(bank_kb, row_width, "read_pj")
        accumulate = self._add(d.membrane_bits) + self.ops.register_pj_per_bit * d.membrane_bits
        if not layer.operand.adds:
            bits = layer.operand.bits or d.activation_bits
            accumulate += self.ops.mul_pj_per_bit2 * bits * d.weight_bits
        parts = {
            "scan": scan,
            "weight_read": rows * row_pj * (floor + (1 - floor) * lane_use),
            "accumulate": synops * accumulate,
        }
        return _Cost(parts, cycles=rows + words)

    def _rows(self, layer: SynapticLayer, events: float, synops: float, tiles: int) -> float:
        """Rows of weights read per inference."""
        if layer.kind == "OneToOne":
            return events
        if layer.kind == "Linear":
            return events * tiles
        if layer.outputs >= self.datapath.lanes or not events:
            return synops / self.datapath.lanes
        return events * ceil(synops / events / self.datapath.lanes)

    def _neurons(self, layer: NeuronLayer, samples: int) -> _Cost:
        d = self.datapath
        steps = layer.presentations / samples
        updates = layer.neurons * steps
        membrane = 0.0
        if layer.stateful:
            kb = self._membrane_kb(layer)
            access = self._sram(kb, 32, "read_pj") + self._sram(kb, 32, "write_pj")
            membrane = updates * layer.states * access * d.membrane_bits / 32
        leaks = sum(map(self._leak, (layer.leak, *layer.other_leaks)))
        compares = layer.compares * self._compare()
        adds = (1 + layer.adds) * self._add(d.membrane_bits)
        multiplies = layer.multiplies * self._multiply(d.activation_bits)
        neuron = updates * (leaks + compares + adds + multiplies)
        if layer.stateful and layer.resets:
            neuron += layer.spikes / samples * self._add(d.membrane_bits)
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

    def _leak(self, leak: Leak) -> float:
        return {
            "none": 0.0,
            "shift": self._add(self.datapath.membrane_bits),
            "multiply": self._multiply(8),
        }[leak]

    def _leak_uw(self, activity: Activity) -> float:
        return self.overhead.logic_leak_uw + self._memories(activity, "leak_uw")

    def _area_mm2(self, activity: Activity) -> float:
        return self.overhead.logic_area_mm2 + self._memories(activity, "area_mm2")

    def _memories(self, activity: Activity, column: Column) -> float:
        """Sum a column over the banks of weights and membranes of the whole network."""
        row_width = self.datapath.lanes * self.datapath.weight_bits
        total = 0.0
        for layer in activity.synaptic:
            if layer.shares_weights:
                continue
            banks, each_kb = self._banks(layer)
            total += banks * self._sram(each_kb, row_width, column)
        for neurons in activity.neuronal:
            if neurons.stateful:
                total += self._sram(self._membrane_kb(neurons), 32, column)
        return total

    def _banks(self, layer: SynapticLayer) -> tuple[int, float]:
        """Return the number of weight banks of a layer, and the kB of each."""
        kb = layer.weights * self.datapath.weight_bits / 8 / 1024
        banks = max(1, ceil(kb / self.sram.bank_kb))
        return banks, max(1.0, kb / banks)

    def _membrane_kb(self, layer: NeuronLayer) -> float:
        return max(1.0, layer.neurons * layer.states * self.datapath.membrane_bits / 8 / 1024)

    def _buffer(self, column: Column) -> float:
        return self._sram(self.sram.spike_buffer_kb, self.datapath.spike_word_bits, column)

    def _sram(self, kb: float, width_bits: float, column: Column) -> float:
        return sram(self.technology_nm, kb, width_bits, column)

    def _add(self, bits: int) -> float:
        return self.ops.add_pj_per_bit * bits

    def _compare(self) -> float:
        """Energy of comparing two membranes."""
        return self.ops.compare_pj_per_bit * self.datapath.membrane_bits

    def _multiply(self, bits: int) -> float:
        """Energy of multiplying a membrane by a number of so many bits."""
        return self.ops.mul_pj_per_bit2 * self.datapath.membrane_bits * bits


def _without_figure(activity: Activity) -> tuple[str, ...]:
    return tuple(
        f"{layer.name} ({layer.kind}: sigmoid, tanh)"
        for layer in activity.neuronal
        if layer.lookups
    )
