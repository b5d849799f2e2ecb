"""The report: what it prints, and that its JSON is the same report."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from snnplug.errors import MeasurementError, MissingExtraError
from snnplug.hardware.report import EnergyReport
from snnplug.hardware.target import load_target, packaged_targets
from tests.hardware.test_sparse_digital import network

ACTIVITY = replace(network(31, 7, 3), unpriced=("bn [x] (BatchNorm2d)",))


@pytest.mark.parametrize("name", packaged_targets())
def test_json_and_back_is_exact(name: str) -> None:
    report = load_target(name).price(ACTIVITY)
    assert EnergyReport.from_json(report.to_json()) == report
    assert EnergyReport.from_dict(report.to_dict()) == report
    json.loads(report.to_json(), parse_constant=pytest.fail)  # no NaN and no infinity


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"layers": 3}', '{"layers": [{"x": 1}]}'])
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(MeasurementError, match="energy report"):
        EnergyReport.from_json(text)


@pytest.mark.parametrize("name", ["yin2017-28nm", "xylo-a2"])
def test_text_in_the_place_of_a_figure_is_refused(name: str) -> None:
    whole = load_target(name).price(ACTIVITY).to_dict()
    places = [whole, whole["layers"][0], whole["layers"][0]["parts_nj"], whole["baseline"] or {}]
    refused = 0
    for place in places:
        for key, value in list(place.items()):
            if isinstance(value, float) and key not in ("sparsity_gain", "pj_per_synop"):
                place[key] = "much"
                with pytest.raises(MeasurementError, match=f"{key} is 'much', not a number"):
                    EnergyReport.from_dict(whole)
                place[key] = value
                refused += 1
    assert EnergyReport.from_dict(whole) == load_target(name).price(ACTIVITY)
    assert refused > 4


@pytest.mark.parametrize("name", packaged_targets())
def test_prints_with_rich_and_without(name: str) -> None:
    report = load_target(name).price(ACTIVITY)
    console = Console(width=100, record=True, file=StringIO())
    console.print(report)
    shown = console.export_text()
    for text in (shown, str(report)):
        assert name in text
        assert "bn [x] (BatchNorm2d)" in text  # no markup in a user's names
        assert all(layer.name in text for layer in report.layers)
    assert report.statement in str(report)


def test_baseline_is_in_the_table() -> None:
    report = load_target("yin2017-28nm").price(ACTIVITY)
    assert report.baseline is not None
    assert f"break-even at {report.baseline.break_even_num_steps:.1f} time steps" in str(report)
    assert report.scalars()["ann_nj"] == report.baseline.ann_nj


def test_dataframe_needs_pandas_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    report = load_target("yin2017-28nm").price(ACTIVITY)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="pip install pandas"):
        report.to_dataframe()
    fake = SimpleNamespace(DataFrame=lambda rows, columns: (rows, columns))
    monkeypatch.setitem(sys.modules, "pandas", fake)
    rows, columns = report.to_dataframe()
    assert (columns, rows) == report.rows()
