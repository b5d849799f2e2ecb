"""The figures of three networks that an independent program computed from the memory table."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from snnplug.hardware.activity import Activity, SynapticLayer
from snnplug.hardware.operand import BINARY
from snnplug.hardware.sparse_digital import SparseDigital
from snnplug.hardware.target import load_target
from tests.hardware.test_sparse_digital import MLP256, MLP1024, cnn, mlp, with_kappa

NETWORKS = {
    "mlp256": mlp(*MLP256),
    "mlp256_reg": mlp(MLP256[0], [103.898275, 41.476925, 49.076775]),
    "mlp1024": mlp(*MLP1024),
    "mlp1024_reg": mlp(MLP1024[0], [103.895725, 117.249425, 123.915575]),
    "cnn": cnn(),
}
STEPS = (1, 2, 4, 8, 16)
#: nJ for one step without overhead: 8-bit and 4-bit weights; then with overhead the energy, the
#: dense machine, the conventional network, the break-even number of steps, and the steps at which
#: the published 773 nJ are reached.
GOLDEN = {
    "mlp256": (24.8, 15.8, 51.4, 316.1, 403.6, 7.85, 15.04),
    "mlp256_reg": (21.7, 14.3, 45.0, 316.1, 403.6, 8.96, 17.16),
    "mlp1024": (177.5, 127.2, 361.5, 2529.3, 3097.1, 8.57, 2.14),
    "mlp1024_reg": (153.4, 109.6, 312.0, 2529.3, 3097.1, 9.93, 2.48),
    "cnn": (198.0, 126.0, 401.9, 1793.5, 1949.1, 4.85, 1.92),
}
KAPPA = 2.105


def over_time(activity: Activity, steps: int) -> Activity:
    """Return the activity of ``steps`` time steps that are all like the one measured."""
    layers = tuple(
        replace(
            layer,
            **{
                f.name: getattr(layer, f.name) * steps
                for f in fields(layer)
                if f.metadata.get("counter")
            },
        )
        for layer in activity.layers
    )
    return Activity(activity.samples, layers)


def bits(target: SparseDigital, weight_bits: int) -> SparseDigital:
    return replace(target, datapath=replace(target.datapath, weight_bits=weight_bits))


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", NETWORKS)
def test_bottom_up_at_every_number_of_steps(name: str, steps: int) -> None:
    activity = over_time(NETWORKS[name], steps)
    for weight_bits, golden in zip((8, 4), GOLDEN[name], strict=False):
        report = bits(with_kappa(1.0), weight_bits).price(activity)
        assert report.energy_nj == pytest.approx(golden * steps, rel=0.01)
        assert report.baseline is not None
        assert report.baseline.num_steps == steps


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", NETWORKS)
def test_calibrated_dense_and_conventional(name: str, steps: int) -> None:
    _, _, energy, dense, ann, break_even, published = GOLDEN[name]
    report = with_kappa(KAPPA).price(over_time(NETWORKS[name], steps))
    assert report.energy_nj == pytest.approx(energy * steps, rel=0.002)
    assert report.dense_nj == pytest.approx(dense * steps, rel=0.002)
    assert report.baseline is not None
    assert report.baseline.ann_nj == pytest.approx(ann, rel=0.002)
    assert report.baseline.break_even_num_steps == pytest.approx(break_even, rel=0.002)
    assert 773 / (report.energy_nj / steps) == pytest.approx(published, rel=0.003)


@pytest.mark.parametrize(
    ("weight_bits", "kappa", "inside"), [(8, 1, 14), (4, 1, 15), (8, KAPPA, 13)]
)
def test_how_many_configurations_lie_in_the_published_range(
    weight_bits: int, kappa: float, inside: int
) -> None:
    target = bits(with_kappa(kappa), weight_bits)
    prices = [
        target.price(over_time(activity, steps)).energy_nj
        for activity in NETWORKS.values()
        for steps in STEPS
    ]
    assert sum(51.4 <= round(price, 1) <= 773 for price in prices) == inside


def test_kappa_and_its_band() -> None:
    nominal = load_target("yin2017-28nm")
    assert isinstance(nominal, SparseDigital)
    o = nominal.overhead
    assert (o.kappa_low, o.kappa, o.kappa_high) == (1.2, 2.1, 3.4)
    report = nominal.price(NETWORKS["mlp256"])
    leakage = report.parts_nj["leakage"]
    dynamic = (report.energy_nj - leakage) / o.kappa
    assert (51.4 - leakage) / dynamic == pytest.approx(KAPPA, rel=0.001)
    assert report.energy_nj_low == pytest.approx(1.2 * dynamic + leakage, rel=1e-12)
    assert report.energy_nj_high == pytest.approx(3.4 * dynamic + leakage, rel=1e-12)


def test_how_far_ratios_depend_on_what_is_assumed() -> None:
    """The ranges that the page about the energy model gives for other choices of the datapath."""
    nominal = with_kappa(2.1)
    choices = [
        *(bits(nominal, b) for b in (4, 6, 8)),
        *(replace(nominal, datapath=replace(nominal.datapath, lanes=p)) for p in (32, 128)),
        *(replace(nominal, sram=replace(nominal.sram, bank_kb=kb)) for kb in (16.0, 256.0)),
    ]
    seen: dict[str, list[float]] = {"mlp256_reg": [], "mlp1024": [], "cnn": []}
    for target in choices:
        report = target.price(NETWORKS["mlp256"])
        leakage = report.parts_nj["leakage"]
        kappa = (51.4 - leakage) / ((report.energy_nj - leakage) / 2.1)
        overhead = replace(target.overhead, kappa=kappa, kappa_low=kappa, kappa_high=kappa)
        anchored = replace(target, overhead=overhead)
        assert anchored.price(NETWORKS["mlp256"]).energy_nj == pytest.approx(51.4)
        for name, ratios in seen.items():
            ratios.append(anchored.price(NETWORKS[name]).energy_nj / 51.4)
    ranges = {name: (min(ratios), max(ratios)) for name, ratios in seen.items()}
    assert ranges["mlp256_reg"] == pytest.approx((0.876, 0.928), abs=0.001)
    assert ranges["mlp1024"] == pytest.approx((6.336, 8.674), abs=0.01)
    assert ranges["cnn"] == pytest.approx((6.594, 10.131), abs=0.01)
    for kappa, ratio in ((1.2, 7.94), (3.4, 7.756)):
        prices = [with_kappa(kappa).price(NETWORKS[name]).energy_nj for name in ("cnn", "mlp256")]
        assert prices[0] / prices[1] == pytest.approx(ratio, abs=0.001)


def test_the_target_of_the_conventional_network_agrees_with_the_baseline() -> None:
    ann, spiking = load_target("ann-int8-28nm"), load_target("yin2017-28nm")
    for activity in NETWORKS.values():
        report, beside = ann.price(activity), spiking.price(over_time(activity, 8)).baseline
        assert beside is not None
        assert report.energy_nj == pytest.approx(beside.ann_nj, rel=1e-12)
        assert sum(report.parts_nj.values()) == pytest.approx(report.energy_nj, rel=1e-12)
        assert ann.price(over_time(activity, 8)).energy_nj == report.energy_nj


def test_as_many_bits_as_the_steps_can_count() -> None:
    spiking = load_target("yin2017-28nm")
    beside = [spiking.price(over_time(NETWORKS["cnn"], t)).baseline for t in (1, 3, 8, 255)]
    assert [b.matched_bits for b in beside if b] == [1, 2, 4, 8]
    assert [b.matched_nj for b in beside if b] == sorted(b.matched_nj for b in beside if b)
    assert beside[-1] is not None
    assert beside[-1].matched_nj == beside[-1].ann_nj  # 255 spikes are 8 bits


def test_conventional_layer_by_hand() -> None:
    """64 x 64 synapses of 8 x 8 bits: one group of outputs, 64 rows of weights."""
    layer = SynapticLayer("fc", "Linear", 64, 64, 4096, 4096, 1, 0, 0, BINARY)
    report = with_kappa(1.0).price(Activity(1, (layer,)))
    add, mul, reg = 0.001584375, 0.00153486328125, 0.0053
    multiply = 4096 * (64 * mul + 24 * (add + reg))
    weights = 64 * 12.910664  # 4 kB, 512 bit
    activations = (64 * 2.50113 + 64 * 2.013754) / 4  # 8 kB, 32 bit, read and written
    assert report.baseline is not None
    golden = 1e-3 * (multiply + weights + activations)
    assert report.baseline.ann_nj == pytest.approx(golden, rel=1e-3)


def test_pipelined_latency_by_hand() -> None:
    """Two stages of 7 and 3 cycles a step, four steps: the slower sets the pace."""
    target = with_kappa(1.0)
    stage = SynapticLayer("a", "Linear", 32, 64, 2048, 2048, 4, 4 * 6, 4 * 6 * 64, BINARY)
    layers = (stage, replace(stage, name="b", events=4 * 2, synops=4 * 2 * 64))
    report = target.price(Activity(1, layers))
    assert report.latency_us == pytest.approx(4 * (7 + 3) / 100)
    assert report.latency_pipelined_us == pytest.approx((4 * 7 + 3) / 100)
    pipelined = replace(target, datapath=replace(target.datapath, schedule="pipelined"))
    quick = pipelined.price(Activity(1, layers))
    assert quick.latency_us == report.latency_pipelined_us
    assert quick.energy_nj < report.energy_nj  # it leaks for a shorter time
    assert sum(quick.parts_nj.values()) == pytest.approx(quick.energy_nj, rel=1e-12)
    once = replace(target, datapath=replace(target.datapath, schedule="pipelined"))
    step = Activity(1, tuple(replace(x, presentations=1, events=6, synops=384) for x in layers))
    assert once.price(step).latency_us == pytest.approx(target.price(step).latency_us)


@pytest.mark.parametrize(
    ("volts", "factor"), [(0.9, 0.507), (0.8, 0.421), (0.7, 0.354), (0.6, 0.305)]
)
def test_supply_voltage_scales_switching_energy(volts: float, factor: float) -> None:
    """Published polynomials, interpolated to 28 nm, relative to 45 nm at 0.9 V."""
    target, activity = with_kappa(1.0), NETWORKS["mlp256"]
    low, nominal = replace(target, supply_v=volts).price(activity), target.price(activity)
    for part in ("scan", "weight_read", "accumulate", "neuron", "output"):
        ratio = low.parts_nj[part] / nominal.parts_nj[part]
        assert ratio == pytest.approx(factor / 0.507, rel=0.002)
    assert low.parts_nj["leakage"] == pytest.approx(nominal.parts_nj["leakage"] * volts / 0.9)


@pytest.mark.parametrize("name", ["yin2017-28nm", "lemaire2022-45nm", "loihi-2018", "xylo-a2"])
def test_more_spikes_cost_more_and_dense_is_an_upper_bound(name: str) -> None:
    target, base = load_target(name), NETWORKS["mlp256"]
    quiet = replace(base.synaptic[0], events=0, synops=0)
    less = target.price(replace(base, layers=(quiet, *base.layers[1:])))
    more = target.price(base)
    if more.energy_nj is None:
        assert more.latency_us > less.latency_us
    else:
        assert more.dense_nj >= more.energy_nj > less.energy_nj
