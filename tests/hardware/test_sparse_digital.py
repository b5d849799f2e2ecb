"""Pricing: golden figures computed by an independent program, and the laws of a bill."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnplug.errors import MeasurementError, TargetError
from snnplug.hardware.activity import Activity, NeuronLayer, PoolLayer, SynapticLayer
from snnplug.hardware.operand import ANALOG, BINARY
from snnplug.hardware.sparse_digital import SparseDigital
from snnplug.hardware.target import load_target

TARGET = load_target("yin2017-28nm")
assert isinstance(TARGET, SparseDigital)
# Spikes per step that enter each layer, measured on MNIST; scaled to integers.
N = 1_000_000
MLP256 = ([784, 256, 256, 10], [103.879325, 59.001575, 66.66215])
MLP1024 = ([784, 1024, 1024, 10], [103.9269, 151.87645, 150.0153])
CNN_CONV = [
    (784, 6912, 300, 172_800, 103.893625, 30889.3671),
    (1728, 4096, 19_200, 1_228_800, 284.21615, 301058.5376),
]
CNN_FC = ([1024, 512, 10], [192.9099, 104.48545])


def dense_layers(sizes: list[int], events: list[float]) -> list[SynapticLayer | NeuronLayer]:
    layers: list[SynapticLayer | NeuronLayer] = []
    for (a, b), n in zip(pairwise(sizes), events, strict=True):
        e = round(n * N)
        layers.append(SynapticLayer("fc", "Linear", a, b, a * b, a * b, N, e, e * b, BINARY))
        layers.append(NeuronLayer("n", "DiscontinuousIF", b, N, 0, False, "none", False))
    return layers


def mlp(sizes: list[int], events: list[float]) -> Activity:
    return Activity(N, tuple(dense_layers(sizes, events)))


def cnn() -> Activity:
    layers: list[SynapticLayer | NeuronLayer] = []
    for a, b, weights, fan_out, n, s in CNN_CONV:
        layers.append(
            SynapticLayer(
                "c", "Conv2d", a, b, weights, fan_out, N, round(n * N), round(s * N), BINARY
            )
        )
        layers.append(NeuronLayer("n", "DiscontinuousIF", b, N, 0, False, "none", False))
    return Activity(N, tuple(layers + dense_layers(*CNN_FC)))


def with_kappa(kappa: float) -> SparseDigital:
    overhead = replace(TARGET.overhead, kappa=kappa, kappa_low=min(kappa, 1.0))
    return replace(TARGET, overhead=overhead)


@pytest.mark.parametrize(
    ("activity", "energy_nj", "step_us", "area_mm2"),
    [
        (mlp(*MLP256), 24.8, 8.9, 0.48),
        (mlp(*MLP1024), 177.5, 53.2, 2.63),
        (cnn(), 198.0, 139.9, 0.87),
    ],
)
def test_golden_figures_without_overhead(
    activity: Activity, energy_nj: float, step_us: float, area_mm2: float
) -> None:
    report = with_kappa(1.0).price(activity)
    assert report.energy_nj == pytest.approx(energy_nj, rel=0.005)
    assert report.latency_us == pytest.approx(step_us, rel=0.006)
    assert report.area_mm2 == pytest.approx(area_mm2, rel=0.01)


@pytest.mark.parametrize(
    ("activity", "energy_nj", "dense_nj"),
    [
        (mlp(*MLP256), 51.4, 316.1),
        (mlp(*MLP1024), 361.5, 2529.3),
        (cnn(), 401.9, 1793.5),
    ],
)
def test_golden_figures_calibrated(activity: Activity, energy_nj: float, dense_nj: float) -> None:
    report = with_kappa(2.105).price(activity)
    assert report.energy_nj == pytest.approx(energy_nj, rel=0.002)
    assert report.dense_nj == pytest.approx(dense_nj, rel=0.002)


def test_golden_parts() -> None:
    parts = with_kappa(1.0).price(mlp(*MLP256)).parts_nj
    golden = {
        "scan": 0.095,
        "weight_read": 19.313,
        "accumulate": 4.666,
        "membrane": 0.0,
        "neuron": 0.018,
        "output": 0.014,
        "control": 0.0,
        "leakage": 0.658,
    }
    assert parts == pytest.approx(golden, abs=5e-4)


@pytest.mark.parametrize(
    ("change", "kappa"),
    [
        ({"datapath": {"weight_bits": 4}}, 3.34),
        ({"datapath": {"weight_bits": 6}}, 2.60),
        ({"datapath": {"lanes": 32}}, 1.62),
        ({"datapath": {"lanes": 128}}, 3.12),
        ({"sram": {"bank_kb": 16.0}}, 3.43),
        ({"sram": {"bank_kb": 256.0}}, 1.22),
    ],
)
def test_band_of_kappa_under_other_choices(
    change: dict[str, dict[str, float]], kappa: float
) -> None:
    target = with_kappa(1.0)
    for table, values in change.items():
        target = replace(target, **{table: replace(getattr(target, table), **values)})
    report = target.price(mlp(*MLP256))
    leakage = report.parts_nj["leakage"]
    assert (51.4 - leakage) / (report.energy_nj - leakage) == pytest.approx(kappa, rel=0.01)


def test_first_layer_by_hand() -> None:
    """Ten spikes into 128 outputs: two rows of 64 weights each, read whole."""
    layer = SynapticLayer("fc", "Linear", 64, 128, 8192, 8192, 1, 10, 1280, BINARY)
    (cost,) = with_kappa(1.0).price(Activity(1, (layer,))).layers
    assert cost.parts_nj["weight_read"] == pytest.approx(20 * 13.597160e-3)  # 8 kB, 512 bit
    assert cost.parts_nj["accumulate"] == pytest.approx(1280 * 16 * (0.001584375 + 0.0053) * 1e-3)
    scan = 2 * 2 * 0.5482846 + 10 * 2 * 16 * 0.001584375
    assert cost.parts_nj["scan"] == pytest.approx(scan * 1e-3)
    assert cost.latency_us == pytest.approx((20 + 4) / 100)


def test_membrane_leak_and_reset_by_hand() -> None:
    layer = NeuronLayer("n", "ContinuousIF", 64, 3, 5, True, "shift", True)
    (cost,) = with_kappa(1.0).price(Activity(1, (layer,))).layers
    add, cmp = 16 * 0.001584375, 16 * 0.00055
    assert cost.parts_nj["membrane"] == pytest.approx(3 * 64 * (0.5482846 + 0.84511840) * 0.5e-3)
    assert cost.parts_nj["neuron"] == pytest.approx((3 * 64 * (2 * add + cmp) + 5 * add) * 1e-3)
    assert cost.parts_nj["output"] == pytest.approx(3 * 2 * 0.84511840e-3)


def test_analog_inputs_multiply() -> None:
    layer = SynapticLayer("fc", "Linear", 64, 64, 4096, 4096, 1, 10, 640, BINARY)
    binary = with_kappa(1.0).price(Activity(1, (layer,)))
    analog = with_kappa(1.0).price(Activity(1, (replace(layer, operand=ANALOG),)))
    extra = analog.energy_nj - binary.energy_nj
    assert extra == pytest.approx(640 * 64 * 0.00153486328125e-3)


def network(events: int, samples: int, steps: int) -> Activity:
    p = samples * steps
    return Activity(
        samples,
        (
            SynapticLayer("c", "Conv2d", 72, 192, 54, 1536, p, events, 20 * events, BINARY),
            PoolLayer("p", "MaxPool2d", 192, p, ANALOG),
            NeuronLayer("n", "ContinuousIF", 48, p, events, True, "multiply", True),
            SynapticLayer("f", "Linear", 48, 10, 480, 480, p, events, 10 * events, BINARY),
            NeuronLayer("o", "ContinuousIF", 10, p, 0, True, "none", True),
        ),
    )


@given(st.integers(0, 10_000), st.integers(1, 50), st.integers(1, 20))
def test_parts_and_layers_add_up_and_lie_in_the_band(events: int, samples: int, steps: int) -> None:
    report = TARGET.price(network(events, samples, steps))
    assert sum(report.parts_nj.values()) == pytest.approx(report.energy_nj, rel=1e-12)
    assert sum(layer.energy_nj for layer in report.layers) == pytest.approx(
        report.energy_nj, rel=1e-12
    )
    assert sum(layer.latency_us for layer in report.layers) == pytest.approx(report.latency_us)
    assert 0 < report.energy_nj_low <= report.energy_nj <= report.energy_nj_high


@given(st.integers(0, 500), st.integers(1, 9), st.integers(1, 20))
def test_bill_grows_with_spikes_and_is_linear_in_samples(
    events: int, factor: int, steps: int
) -> None:
    less = TARGET.price(network(events, 10, steps))
    more = TARGET.price(network(events + 1, 10, steps))
    assert more.energy_nj > less.energy_nj
    assert more.latency_us > less.latency_us
    same = TARGET.price(network(events * factor, 10 * factor, steps))
    assert same.energy_nj == pytest.approx(less.energy_nj, rel=1e-12)
    assert same.area_mm2 == less.area_mm2


def test_energy_is_linear_in_time() -> None:
    once, thrice = TARGET.price(network(30, 10, 2)), TARGET.price(network(90, 10, 6))
    assert thrice.energy_nj == pytest.approx(3 * once.energy_nj, rel=1e-12)


def test_silent_network_still_scans_updates_and_leaks() -> None:
    parts = TARGET.price(network(0, 10, 5)).parts_nj
    assert parts["weight_read"] == parts["accumulate"] == 0
    assert min(parts[p] for p in ("scan", "membrane", "neuron", "output", "leakage")) > 0


def test_dense_machine_is_what_full_activity_costs() -> None:
    full = SynapticLayer("f", "Linear", 48, 100, 4800, 4800, 10, 480, 48_000, BINARY)
    assert TARGET.price(Activity(5, (full,))).sparsity_gain == pytest.approx(1.0)
    half = replace(full, events=240, synops=24_000)
    assert TARGET.price(Activity(5, (half,))).dense_nj == pytest.approx(
        TARGET.price(Activity(5, (full,))).energy_nj
    )


def test_no_sample_is_no_bill() -> None:
    with pytest.raises(MeasurementError, match="0 samples"):
        TARGET.price(Activity(0, ()))


def test_report_prints_and_converts() -> None:
    report = TARGET.price(replace(network(30, 10, 2), unpriced=("bn (BatchNorm2d)",)))
    text = str(report)
    assert "yin2017-28nm" in text
    assert "not priced: bn (BatchNorm2d)" in text
    assert "absolute figures are good to about a factor of 2" in text
    columns, rows = report.rows()
    assert all(len(row) == len(columns) for row in rows)
    assert sum(row[columns.index("energy_nj")] for row in rows) == pytest.approx(report.energy_nj)
    assert report.to_dict()["parts_nj"] == report.parts_nj
    assert set(report.scalars()) >= {"energy_nj", "energy_nj_low", "area_mm2", "parts/scan_nj"}


@pytest.mark.parametrize(
    "change",
    [
        {"overhead": {"kappa": 4.0}},
        {"overhead": {"kappa_low": 0.0}},
        {"datapath": {"clock_mhz": 0.0}},
        {"sram": {"partial_row_floor": 1.5}},
    ],
)
def test_impossible_descriptions_are_refused(change: dict[str, dict[str, float]]) -> None:
    ((table, values),) = change.items()
    with pytest.raises(TargetError):
        replace(TARGET, **{table: replace(getattr(TARGET, table), **values)})


def test_a_machine_that_waits_leaks_until_its_next_inference(tmp_path: Path) -> None:
    def target(per_s: float, gated: str = "false") -> SparseDigital:
        path = tmp_path / "waits.toml"
        path.write_text(
            'schema = 1\nextends = "yin2017-28nm"\nname = "waits"\nsummary = "s"\n'
            f"[duty]\ninferences_per_s = {per_s}\npower_gated = {gated}\n"
            '[provenance]\n"duty.inferences_per_s" = { source = "s", evidence = "assumed" }\n'
        )
        found = load_target(path)
        assert isinstance(found, SparseDigital)
        return found

    activity = mlp(*MLP256)
    always = load_target("yin2017-28nm").price(activity)
    assert always.latency_us is not None
    power_uw = 1e3 * always.parts_nj["leakage"] / always.latency_us
    waits = target(100.0).price(activity)
    assert waits.parts_nj["leakage"] == pytest.approx(1e-3 * power_uw * 1e4, rel=1e-12)  # 10 ms
    assert waits.energy_nj == pytest.approx(sum(waits.parts_nj.values()), rel=1e-12)
    assert waits.latency_us == always.latency_us
    for other in (target(100.0, "true"), target(1e9)):  # cut off; never waits
        assert other.price(activity).parts_nj == pytest.approx(always.parts_nj, rel=1e-12)
    with pytest.raises(TargetError, match=r"duty\.inferences_per_s is 0"):
        target(0.0)
