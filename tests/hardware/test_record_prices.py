"""Bills by hand of the records beside binary layers: operands, cells, pooling, single values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from snnplug.hardware.activity import (
    Activity,
    ElementwiseLayer,
    Layer,
    NeuronLayer,
    PoolLayer,
    SynapticLayer,
)
from snnplug.hardware.operand import ANALOG, BINARY, SILENT, TERNARY, Operand
from snnplug.hardware.sparse_digital import SparseDigital
from snnplug.hardware.sram import sram
from snnplug.hardware.target import load_target

TARGET = load_target("yin2017-28nm")
assert isinstance(TARGET, SparseDigital)
KAPPA, ADD, CMP = 2.1, 0.001584375 * 16, 0.00055 * 16  # pJ, at 16 bits of membrane
MUL = 0.00153486328125 * 16 * 8  # a membrane times 8 bits
FC = SynapticLayer("fc", "Linear", 16, 100, 1600, 1600, 6, 20, 2000, BINARY)
LIF = NeuronLayer("n", "Leaky", 100, 6, 30, True, "none", True)


def part(layer: Layer, name: str) -> float:
    """Return one part of a layer's bill in pJ per inference, without the overhead."""
    return 1e3 * TARGET.price(Activity(2, (layer,))).parts_nj[name]


@pytest.mark.parametrize(
    ("operand", "bits"),
    [
        (SILENT, 0),
        (BINARY, 0),
        (TERNARY, 0),
        (Operand((0, 1), 0.7), 0),
        (Operand((0, 4), 0.25), 3),
        (Operand((-3, 3)), 3),
        (Operand((0, 255)), 8),
        (ANALOG, 8),
    ],
)
def test_an_operand_multiplies_by_its_bits(operand: Operand, bits: int) -> None:
    multiply = 0.00153486328125 * bits * 8
    synops = 1000  # per sample
    expected = synops * (ADD + 0.0053 * 16 + multiply)
    assert part(replace(FC, operand=operand), "accumulate") == pytest.approx(expected, rel=1e-12)


def test_one_to_one_weights_are_a_row_each() -> None:
    layer = SynapticLayer("v", "OneToOne", 100, 100, 100, 100, 6, 40, 40, BINARY)
    row = sram(28, 1, 512, "read_pj")
    # 20 events per sample, each using one lane of 64.
    expected = 20 * row * (0.3 + 0.7 / 64)
    assert part(layer, "weight_read") == pytest.approx(expected, rel=1e-12)


def test_neurons_pay_for_each_state_leak_and_operation() -> None:
    updates = 300  # per sample
    plain, membrane = part(LIF, "neuron"), part(LIF, "membrane")
    assert plain == pytest.approx(updates * (CMP + ADD) + 15 * ADD, rel=1e-12)
    for change, more in (
        ({"other_leaks": ("shift",)}, ADD),
        ({"other_leaks": ("multiply", "none")}, MUL),
        ({"multiplies": 3}, 3 * MUL),
        ({"adds": 2}, 2 * ADD),
        ({"compares": 2}, CMP),
        ({"compares": 0}, -CMP),
    ):
        changed = replace(LIF, **change)  # type: ignore[arg-type]
        assert part(changed, "neuron") == pytest.approx(plain + updates * more, rel=1e-12)
    assert part(replace(LIF, states=2), "membrane") == pytest.approx(2 * membrane, rel=1e-12)


def test_pooling_and_single_values_cost_their_operations() -> None:
    largest = PoolLayer("p", "MaxPool2d", 64, 6, ANALOG)
    assert part(largest, "neuron") == pytest.approx(3 * 64 * CMP, rel=1e-12)
    assert part(replace(largest, operand=BINARY), "neuron") == 0
    average = PoolLayer("p", "AvgPool2d", 64, 6, BINARY, adds=50, takes_largest=False)
    assert part(average, "neuron") == pytest.approx(25 * ADD, rel=1e-12)
    norm = ElementwiseLayer("bn", "BatchNorm2d", multiplies=40, adds=60, parameters=8)
    assert part(norm, "neuron") == pytest.approx(20 * MUL + 30 * ADD, rel=1e-12)
    folded = ElementwiseLayer("bn", "BatchNorm2d (folded)", 0, 0)
    assert TARGET.price(Activity(2, (FC, folded))).energy_nj == pytest.approx(
        TARGET.price(Activity(2, (FC,))).energy_nj, rel=1e-12
    )


def test_weights_used_at_two_sizes_are_stored_once() -> None:
    again = replace(FC, name="fc[…]", shares_weights=True)
    one, two, shared = (
        TARGET.price(Activity(2, layers)) for layers in ((FC,), (FC, FC), (FC, again))
    )
    assert shared.area_mm2 == one.area_mm2
    assert two.area_mm2 is not None
    assert one.area_mm2 is not None
    assert two.area_mm2 > one.area_mm2


def test_what_a_cell_looks_up_and_what_has_no_figure_is_named() -> None:
    cell = replace(LIF, name="lstm", kind="SLSTM", lookups=5)
    assert TARGET.price(Activity(2, (cell,))).unpriced == ("lstm (SLSTM: sigmoid, tanh)",)
    average = PoolLayer("p", "AvgPool2d", 64, 6, BINARY, adds=50, takes_largest=False)
    added = ElementwiseLayer("net.add", "add", 0, 60)
    loihi = load_target("loihi-2018").price(Activity(2, (FC, cell, average, added)))
    assert loihi.unpriced == ("lstm (SLSTM)", "p (AvgPool2d)", "net.add (add)")
    ternary = load_target("loihi-2018").price(Activity(2, (replace(FC, operand=TERNARY),)))
    assert ternary.unpriced == ()


def test_static_input_is_priced_once_if_the_machine_keeps_its_currents() -> None:
    still = replace(FC, operand=ANALOG, repeated_events=10, repeated_synops=1000)
    once = replace(FC, operand=ANALOG, events=10, synops=1000)
    reusing = TARGET.price(Activity(2, (still,)).reusing_static_input())
    assert reusing == TARGET.price(Activity(2, (once,)))
    assert reusing.energy_nj < TARGET.price(Activity(2, (still,))).energy_nj  # type: ignore[operator]
