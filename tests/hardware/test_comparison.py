"""Several targets side by side, and an activity that was stored in between."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from snnplug.errors import ArgumentError, MeasurementError
from snnplug.hardware.activity_file import load_activity, save_activity
from snnplug.hardware.comparison import Comparison, compare
from snnplug.hardware.records import ElementwiseLayer
from snnplug.hardware.target import load_target, packaged_targets
from tests.hardware.test_sparse_digital import network

ACTIVITY = network(31, 7, 3)


def test_each_report_is_that_of_its_target() -> None:
    names = list(packaged_targets())
    comparison = compare(ACTIVITY, names)
    assert comparison.reports == tuple(load_target(name).price(ACTIVITY) for name in names)
    columns, rows = comparison.rows()
    assert [row[columns.index("target")] for row in rows] == names
    assert list(comparison.to_dict()) == names
    text = str(comparison)
    assert all(name in text and load_target(name).statement in text for name in names)
    with pytest.raises(ArgumentError, match="no target"):
        compare(ACTIVITY, [])


def test_a_stored_activity_is_the_same(tmp_path: Path) -> None:
    more = replace(ACTIVITY, layers=(*ACTIVITY.layers, ElementwiseLayer("add", "add", 0, 5)))
    path = save_activity(more, tmp_path / "below" / "activity.json")
    assert load_activity(path) == more
    assert [p.name for p in path.parent.iterdir()] == ["activity.json"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"samples": 7', '"samples": -7'),
        ('"samples": 7', '"samples": 7.5'),
        ('"samples": 7', '"sample": 7'),
        ('"events": 31', '"events": -31'),
        ('"events": 31', '"events": "31"'),
        ('"events": 31', '"events": NaN'),
        ('"type": "PoolLayer"', '"type": "PoolLayr"'),
        ('"leak": "multiply"', '"leak": 3'),
        ('"levels": [0, 1]', '"levels": 4'),
        ('{"samples"', '["samples"'),
    ],
)
def test_what_is_no_activity_is_refused(tmp_path: Path, old: str, new: str) -> None:
    text = ACTIVITY.to_json()
    assert old in text
    path = tmp_path / "activity.json"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(MeasurementError, match="holds no activity"):
        load_activity(path)
    with pytest.raises(MeasurementError, match="cannot read the activity"):
        load_activity(tmp_path / "none.json")


def test_every_integer_of_a_record_is_checked() -> None:
    """The check goes by the annotations of the records, which are text."""
    for layer in ACTIVITY.layers:
        assert {f.type for f in fields(layer)} <= {
            "str",
            "int",
            "bool",
            "Leak",
            "Operand",
            "tuple[Leak, ...]",
            "Window | None",
        }


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e4])
def test_targets_stand_side_by_side_in_eighty_columns(factor: float) -> None:
    names = ("energy_nj", "energy_nj_low", "energy_nj_high", "dense_nj", "latency_us")
    priced = compare(ACTIVITY, ["yin2017-28nm", "odin-2019", "xylo-a2"]).reports
    scaled = [
        replace(r, **{n: factor * v for n in names if (v := getattr(r, n)) is not None})
        for r in priced
    ]
    console = Console(width=80, record=True, file=StringIO())
    console.print(Comparison(tuple(scaled)))
    head, *lines = console.export_text().splitlines()
    assert head.split() == ["target", "nJ", "band", "dense", "nJ", "saves", "µs", "mm²"]
    for r, line in zip(scaled, lines, strict=False):
        band = re.fullmatch(rf"{r.target} +([\d.,]+) +([\d.,]+) … ([\d.,]+) .*", line.rstrip())
        if r.energy_nj is None:
            assert band is None
            continue
        assert band is not None, line
        figures = [float(text.replace(",", "")) for text in band.groups()]
        expected = [r.energy_nj, r.energy_nj_low, r.energy_nj_high]
        assert figures == pytest.approx(expected, rel=1e-3, abs=5e-3)
