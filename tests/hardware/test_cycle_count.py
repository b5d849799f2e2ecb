"""Cycles per event and neuron: a latency by hand, and no energy that nobody published."""

from __future__ import annotations

from dataclasses import replace

import pytest

from snnplug.errors import MeasurementError
from snnplug.hardware.activity import Activity
from snnplug.hardware.target import load_target
from tests.hardware.test_per_event import FC, NEURONS

TARGET = load_target("xylo-a2")
# Two samples of three steps: 16 inputs, 100 hidden neurons, a recurrence, 100 outputs.
ACTIVITY = Activity(
    2, (FC, NEURONS, replace(FC, name="r"), NEURONS, replace(FC, name="o"), NEURONS)
)


def test_latency_by_hand() -> None:
    report = TARGET.price(ACTIVITY)
    step = 16 * 1 + 2 * 100 * (19 + 3) + 100 * 12
    cycles = 3 * step + 1000 * (3.5 + 7 + 8) + 10 * 1 + 2 * 15 * 3
    assert report.latency_us == pytest.approx(cycles / 50)
    assert sum(layer.latency_us or 0 for layer in report.layers) == pytest.approx(cycles / 50)


def test_what_is_not_published_is_no_figure() -> None:
    report = TARGET.price(ACTIVITY)
    assert report.energy_nj is report.dense_nj is report.area_mm2 is None
    assert report.layers[0].energy_nj is None
    assert report.unpriced == ("energy", "area")
    assert report.scalars() == {"latency_us": report.latency_us}
    assert "no figure" in str(report)
    with pytest.raises(MeasurementError, match="0 samples"):
        TARGET.price(Activity(0, ()))
