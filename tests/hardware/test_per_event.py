"""Published figures per event: bills by hand, bands, and what has no figure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from snnplug.errors import MeasurementError, TargetError
from snnplug.hardware.activity import Activity, NeuronLayer, PoolLayer, SynapticLayer
from snnplug.hardware.operand import ANALOG as NO_SPIKES
from snnplug.hardware.operand import BINARY as SPIKES
from snnplug.hardware.target import load_target, packaged_targets, parse_target, tomllib

# Two samples of three steps: per sample 1000 synops of 4800, and 300 neuron updates.
FC = SynapticLayer("fc", "Linear", 16, 100, 1600, 1600, 6, 20, 2000, SPIKES)
NEURONS = NeuronLayer("n", "ContinuousIF", 100, 6, 30, True, "none", True)
BINARY = Activity(2, (FC, NEURONS))
ANALOG = Activity(2, (replace(FC, operand=NO_SPIKES), NEURONS))


@pytest.mark.parametrize(
    ("name", "energy_nj", "dense_nj", "band"),
    [
        ("loihi-2018", 23.6 + 24.3, 4.8 * 23.6 + 24.3, (47.9, 95.8)),
        ("truenorth-2014", 26.0, 4.8 * 26.0, (26 / 3.56, 26 / 0.59)),
        ("odin-2019", 12.7, 4.8 * 12.7, (8.43, 54.0)),
        ("spinnaker2-2019", 450 + 657, 4.8 * 450 + 657, (24.354, 2214)),
        ("generic-45nm", 0.9, 4.8 * 0.9, (0.45, 2.7)),
        # Every synapse at every step, 4800, and 300 neurons.
        ("cpu-degnan2015", 5100 * 8.6, 5100 * 8.6, (5100 * 0.86, 5100 * 86.0)),
        ("gpu-degnan2015", 5100 * 0.3, 5100 * 0.3, (5100 * 0.03, 5100 * 3.0)),
        ("arm-degnan2015", 5100 * 0.9, 5100 * 0.9, (5100 * 0.09, 5100 * 9.0)),
    ],
)
def test_bill_by_hand(
    name: str, energy_nj: float, dense_nj: float, band: tuple[float, float]
) -> None:
    report = load_target(name).price(BINARY)
    assert report.energy_nj == pytest.approx(energy_nj, rel=1e-12)
    assert report.dense_nj == pytest.approx(dense_nj, rel=1e-12)
    assert (report.energy_nj_low, report.energy_nj_high) == pytest.approx(band, rel=2e-3)
    assert sum(report.parts_nj.values()) == pytest.approx(report.energy_nj, rel=1e-12)
    assert report.latency_us is None
    assert report.area_mm2 is None
    assert "latency_us" not in report.scalars()
    assert "0.00 mm" not in str(report)


def test_what_has_no_figure_is_named() -> None:
    assert load_target("loihi-2018").price(ANALOG).unpriced == ("fc (Linear)",)
    shortcut = load_target("generic-45nm").price(ANALOG)
    assert shortcut.energy_nj == pytest.approx(4.6)
    assert shortcut.unpriced == ("n (ContinuousIF)",)
    assert load_target("odin-2019").price(BINARY).unpriced == ()  # all in: neurons are inside
    pool = Activity(1, (PoolLayer("p", "MaxPool2d", 4, 1, NO_SPIKES),), ("bn (BatchNorm2d)",))
    assert load_target("loihi-2018").price(pool).unpriced == ("bn (BatchNorm2d)", "p (MaxPool2d)")


def test_silence_costs_nothing_all_in_and_the_neurons_per_term() -> None:
    silent = Activity(2, (replace(FC, events=0, synops=0), NEURONS))
    nothing = load_target("odin-2019").price(silent)
    assert (nothing.energy_nj, nothing.sparsity_gain) == (0.0, 0.0)
    assert load_target("loihi-2018").price(silent).energy_nj == pytest.approx(24.3)
    with pytest.raises(MeasurementError, match="0 samples"):
        load_target("odin-2019").price(Activity(0, ()))


def test_nothing_is_added_to_an_all_in_figure_and_the_band_holds_the_energy() -> None:
    content = tomllib.loads(packaged_targets()["loihi-2018"].read_text(encoding="utf-8"))
    with pytest.raises(TargetError, match=r"leave events\.neuron_update_pj"):
        parse_target({**content, "scope": "all_in"})
    content["events"]["high_factor"] = 0.5
    with pytest.raises(TargetError, match="high_factor at least 1"):
        parse_target(content)
