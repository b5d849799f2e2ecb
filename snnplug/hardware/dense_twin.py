"""The conventional network of the same shape, on the same memories and arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil as round_up
from math import log2

from snnplug.hardware.activity import Activity, SynapticLayer
from snnplug.hardware.costs import Baseline
from snnplug.hardware.elementwise import Number, add_up, ceil, divide, larger, smaller
from snnplug.hardware.machine import DenseTwin, Operations
from snnplug.hardware.sram import Column, sram


def banks(weights: int, weight_bits: Number, bank_kb: Number) -> tuple[Number, Number]:
    """Return into how many banks a layer's weights are split, and the kB of each.

    Example:
        >>> banks(2**20, 8, 64.0)
        (16.0, 64.0)
    """
    kb = weights * weight_bits / 8 / 1024
    count = larger(1.0, ceil(kb / bank_kb))
    return count, larger(1.0, kb / count)


@dataclass(frozen=True)
class DenseMachine:
    r"""What computes the conventional network: multipliers, weight banks, an activation buffer.

    Every synapse is a multiplication and an accumulation. A weight is read once per inference, a
    row of :math:`P` at a time, and used at every place of a feature map; activations come from a
    small memory, once per group of outputs. One pass of a layer takes

    .. math::
        E &= M \bigl(E_\text{mul}(b_a, b_w) + E_\text{add}(b_s) + E_\text{reg}(b_s)\bigr)
           + \frac{\min(M, w)}{P} E_\text{row} \\
          &+ \frac{b_a}{b_p} \Bigl(N_\text{in} \Bigl\lceil \frac{N_\text{out}}{P} \Bigr\rceil
             E_\text{read} + N_\text{out} E_\text{write}\Bigr)

    with :math:`M` synapses, :math:`w` weights, :math:`b_s` bits of a sum and :math:`b_p` of the
    buffer's port. All of it is multiplied by :math:`\kappa`; there is no leakage in it.

    Args:
        twin: Widths and buffer.
        ops: Energy of the arithmetic.
        lanes: Multipliers that work in parallel.
        weight_bits: Bits of a weight.
        bank_kb: Largest bank of weights, in kB.
        technology_nm: Node of the memories.
    """

    twin: DenseTwin
    ops: Operations
    lanes: Number
    weight_bits: Number
    bank_kb: Number
    technology_nm: int

    def parts_pj(self, layer: SynapticLayer, bits: int | None = None) -> dict[str, Number]:
        """Return what one pass of a layer takes, by part, in pJ without overhead.

        Args:
            layer: The spiking layer; its synapses per time step are those of the one pass.
            bits: Bits of an activation; None takes those of ``twin``.
        """
        t, ops = self.twin, self.ops
        bits = t.activation_bits if bits is None else bits
        macs = float(layer.fan_out)
        sums = (ops.add_pj_per_bit + ops.register_pj_per_bit) * t.accumulator_bits
        rows = smaller(macs, float(layer.weights)) / self.lanes
        _, kb = banks(layer.weights, self.weight_bits, self.bank_kb)
        groups = ceil(layer.outputs / self.lanes)
        read = self._sram(t.buffer_kb, t.buffer_bits, "read_pj")
        write = self._sram(t.buffer_kb, t.buffer_bits, "write_pj")
        words = bits / t.buffer_bits
        return {
            "multiply": macs * (ops.mul_pj_per_bit2 * bits * self.weight_bits + sums),
            "weight_read": rows * self._sram(kb, self.lanes * self.weight_bits, "read_pj"),
            "activation": (layer.inputs * groups * read + layer.outputs * write) * words,
        }

    def energy_pj(self, activity: Activity, bits: int | None = None) -> Number:
        """Return what one pass of the whole network takes, in pJ without overhead."""
        layers = (self.parts_pj(layer, bits) for layer in activity.synaptic)
        return add_up(add_up(parts.values()) for parts in layers)

    def area_mm2(self, activity: Activity) -> Number:
        """Return the area of the weight banks and of the activation buffer, in mm²."""
        area = self._sram(self.twin.buffer_kb, self.twin.buffer_bits, "area_mm2")
        for layer in activity.synaptic:
            if layer.shares_weights:
                continue
            count, kb = banks(layer.weights, self.weight_bits, self.bank_kb)
            area = area + count * self._sram(kb, self.lanes * self.weight_bits, "area_mm2")
        return area

    def baseline(self, activity: Activity, kappa: float, energy_nj: float) -> Baseline:
        """Return the conventional network beside a spiking one of ``energy_nj``."""
        steps = num_steps(activity)
        bits = matched_bits(steps)
        ann_nj = 1e-3 * kappa * self.energy_pj(activity)
        return Baseline(
            num_steps=steps,
            ann_nj=ann_nj,
            ann_bits=self.twin.activation_bits,
            matched_nj=1e-3 * kappa * self.energy_pj(activity, bits),
            matched_bits=bits,
            break_even_num_steps=divide(ann_nj * steps, energy_nj),
        )

    def _sram(self, kb: Number, width_bits: Number, column: Column) -> Number:
        return sram(self.technology_nm, kb, width_bits, column)


def num_steps(activity: Activity) -> float:
    """Return the time steps of an inference: the most that any layer ran."""
    return max((layer.presentations for layer in activity.synaptic), default=0) / activity.samples


def matched_bits(steps: float) -> int:
    r"""Return :math:`\lceil \log_2 (T + 1) \rceil`, the bits that T binary spikes can count.

    Yan et al., arXiv:2409.08290, compare a network of T steps with one whose activations have
    these bits.

    Example:
        >>> [matched_bits(t) for t in (1, 3, 4, 16)]
        [1, 2, 3, 5]
    """
    return max(1, round_up(log2(steps + 1)))
