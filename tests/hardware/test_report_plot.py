"""Pictures: what is drawn is what the report says."""

from __future__ import annotations

import pytest

from snnplug.errors import MeasurementError
from snnplug.hardware.comparison import compare
from snnplug.hardware.exploration import explore
from snnplug.hardware.report_plot import plot_epochs
from snnplug.hardware.target import load_target
from tests.hardware.test_sparse_digital import network

pytest.importorskip("matplotlib")
ACTIVITY = network(31, 7, 3)


def test_stacked_bars_reach_the_energy_of_each_layer() -> None:
    report = load_target("yin2017-28nm").price(ACTIVITY)
    ax = report.plot()
    ends = [0.0] * len(report.layers)
    for bars in ax.containers:
        for place, bar in enumerate(bars):
            assert bar.get_x() == pytest.approx(ends[place])
            ends[place] += bar.get_width()
    assert ends == pytest.approx([layer.energy_nj for layer in report.layers])


def test_rivals_are_sparse_dense_and_the_conventional_network() -> None:
    report = load_target("yin2017-28nm").price(ACTIVITY)
    assert report.baseline is not None
    widths = [bar.get_width() for bar in report.plot_rivals().containers[0]]
    b = report.baseline
    assert widths == [report.energy_nj, report.dense_nj, b.ann_nj, b.matched_nj]
    assert len(load_target("odin-2019").price(ACTIVITY).plot_rivals().containers[0]) == 2


def test_what_has_no_energy_is_not_drawn() -> None:
    report = load_target("xylo-a2").price(ACTIVITY)
    for draw in (report.plot, report.plot_rivals):
        with pytest.raises(MeasurementError, match="no figure for energy"):
            draw()
    with pytest.raises(MeasurementError, match="no epoch"):
        plot_epochs([])


def test_comparison_epochs_and_front_are_drawn() -> None:
    ax = compare(ACTIVITY, ["yin2017-28nm", "xylo-a2", "odin-2019"]).plot()
    assert [t.get_text() for t in ax.get_yticklabels()] == ["yin2017-28nm", "odin-2019"]
    epochs = [{"epoch": e, "energy_nj": 50.0 - e, "acc": 0.5 + e / 10} for e in range(3)]
    assert plot_epochs(epochs).collections[0].get_offsets().tolist() == [
        [50.0, 0.5],
        [49.0, 0.6],
        [48.0, 0.7],
    ]
    found = explore(ACTIVITY, "yin2017-28nm", {"datapath.lanes": [1, 8, 64]})
    assert len(found.plot().lines[0].get_xdata()) == 3
