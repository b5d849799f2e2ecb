"""One layer on a sparse digital accelerator: its energy by part, its cycles, its memories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from snnplug.hardware.activity import (
    Activity,
    ElementwiseLayer,
    Layer,
    Leak,
    NeuronLayer,
    PoolLayer,
    SynapticLayer,
)
from snnplug.hardware.dense_twin import banks
from snnplug.hardware.elementwise import Number, add_up, ceil, divide, larger, smaller, where
from snnplug.hardware.machine import Datapath, Memory, Operations
from snnplug.hardware.sram import Column, sram


@dataclass(frozen=True)
class LayerDemand:
    """What one layer takes per inference.

    Attributes:
        parts_pj: Dynamic energy by part, in pJ, without overhead.
        cycles: Clock cycles.
    """

    parts_pj: Mapping[str, Number]
    cycles: Number

    @property
    def total_pj(self) -> Number:
        """All parts together."""
        return add_up(self.parts_pj.values())


@dataclass(frozen=True)
class SparseMachine:
    r"""What scans spikes, reads a row of weights for each, and accumulates.

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

    Args:
        technology_nm: Node of the memories.
        datapath: Widths and counts.
        memories: Sizes of the memories.
        ops: Energy of the arithmetic.
    """

    technology_nm: int
    datapath: Datapath
    memories: Memory
    ops: Operations

    def cost(self, layer: Layer, samples: int, dense: bool) -> LayerDemand:
        """Return what one layer takes per inference.

        Args:
            layer: Its counts.
            samples: Inferences that were counted.
            dense: Whether every input is taken as active, in every step.
        """
        if isinstance(layer, SynapticLayer):
            return self._synaptic(layer, samples, dense)
        if isinstance(layer, NeuronLayer):
            return self._neurons(layer, samples)
        if isinstance(layer, PoolLayer):
            return self._pool(layer, samples)
        return self._elementwise(layer, samples)

    def _synaptic(self, layer: SynapticLayer, samples: int, dense: bool) -> LayerDemand:
        d = self.datapath
        steps = layer.presentations / samples
        events = layer.inputs * steps if dense else layer.events / samples
        synops = layer.fan_out * steps if dense else layer.synops / samples
        tiles = ceil(layer.outputs / d.lanes)
        words = ceil(layer.inputs / d.spike_word_bits) * tiles * steps
        rows = self._rows(layer, events, synops, tiles)
        lane_use = smaller(1.0, divide(synops, rows) / d.lanes)
        floor = self.memories.partial_row_floor
        row_width = d.lanes * d.weight_bits
        scan = words * self._buffer("read_pj") + events * tiles * self._add(self.ops.address_bits)
        _, bank_kb = banks(layer.weights, d.weight_bits, self.memories.bank_kb)
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
        return LayerDemand(parts, cycles=rows + words)

    def _rows(self, layer: SynapticLayer, events: float, synops: float, tiles: Number) -> Number:
        """Rows of weights read per inference."""
        if layer.kind == "OneToOne":
            return events
        if layer.kind == "Linear":
            return events * tiles
        lanes = self.datapath.lanes
        whole = events * ceil(divide(synops, events) / lanes)
        return where(lanes <= layer.outputs, synops / lanes, whole)

    def _neurons(self, layer: NeuronLayer, samples: int) -> LayerDemand:
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
        return LayerDemand(parts, cycles=d.neuron_cycles * ceil(layer.neurons / d.lanes) * steps)

    def _pool(self, layer: PoolLayer, samples: int) -> LayerDemand:
        # Done on the way from the accumulators to the neurons: no cycle of its own.
        adds = layer.adds * self._add(self.datapath.membrane_bits)
        return LayerDemand(
            {"neuron": (layer.compares * self._compare() + adds) / samples}, cycles=0.0
        )

    def _elementwise(self, layer: ElementwiseLayer, samples: int) -> LayerDemand:
        adds = layer.adds * self._add(self.datapath.membrane_bits)
        multiplies = layer.multiplies * self._multiply(self.datapath.weight_bits)
        return LayerDemand({"neuron": (adds + multiplies) / samples}, cycles=0.0)

    def _leak(self, leak: Leak) -> Number:
        return {
            "none": 0.0,
            "shift": self._add(self.datapath.membrane_bits),
            "multiply": self._multiply(8),
        }[leak]

    def on_chip(self, activity: Activity, column: Column) -> Number:
        """Sum a column over the banks of weights and membranes of the whole network."""
        d = self.datapath
        total: Number = 0.0
        for layer in activity.synaptic:
            if layer.shares_weights:
                continue
            count, each_kb = banks(layer.weights, d.weight_bits, self.memories.bank_kb)
            total = total + count * self._sram(each_kb, d.lanes * d.weight_bits, column)
        for neurons in activity.neuronal:
            if neurons.stateful:
                total = total + self._sram(self._membrane_kb(neurons), 32, column)
        return total

    def _membrane_kb(self, layer: NeuronLayer) -> Number:
        return larger(1.0, layer.neurons * layer.states * self.datapath.membrane_bits / 8 / 1024)

    def _buffer(self, column: Column) -> Number:
        return self._sram(self.memories.spike_buffer_kb, self.datapath.spike_word_bits, column)

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
