"""The sweep: the very figures of pricing one by one, and the front of brute force."""

from __future__ import annotations

import csv
import random
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnplug.errors import ArgumentError, MeasurementError, MissingExtraError, TargetError
from snnplug.hardware.activity import Activity
from snnplug.hardware.exploration import explore, pareto_front, with_values
from snnplug.hardware.per_event import PerEvent
from snnplug.hardware.target import load_target
from tests.hardware.test_golden import NETWORKS
from tests.hardware.test_sparse_digital import network

ACTIVITY = network(31, 7, 3)
GRIDS: dict[str, dict[str, Any]] = {
    "yin2017-28nm": {
        "datapath.lanes": [1, 7, 64, 100, 512],
        "datapath.weight_bits": [1, 4, 8],
        "datapath.spike_word_bits": [8, 32],
        "sram.bank_kb": [0.5, 16, 64.0, 1000],
        "supply_v": [0.6, 0.75, 0.9],
        "overhead.kappa": [1.2, 2.1],
    },
    "ann-int8-28nm": {
        "datapath.lanes": [1, 64, 100],
        "twin.activation_bits": [1, 8],
        "sram.bank_kb": [0.5, 64],
    },
    "loihi-2018": {"events.synop_pj": [1.0, 23.6], "events.neuron_update_pj": [0.0, 81.0]},
    "lemaire2022-45nm": {"word.bits": [8, 32], "memory.small_kb": [0.01, 1.0, 8.0]},
    "rram-crossbar": {"tile.rows": [16, 64], "tile.columns": [32, 128], "low_factor": [0.1, 1.0]},
    "xylo-a2": {"clock_mhz": [10.0, 50.0], "cycles.hidden_neuron": [1.0, 19.0]},
}


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("activity", [ACTIVITY, *NETWORKS.values()])
def test_every_figure_is_that_of_pricing_the_point_alone(name: str, activity: Activity) -> None:
    found, target = explore(activity, name, GRIDS[name]), load_target(name)
    columns, rows = found.rows()
    assert len(rows) == np.prod([len(values) for values in GRIDS[name].values()])
    places = random.Random(0).sample(range(len(rows)), min(40, len(rows)))
    for place in places:
        point = dict(zip(columns, rows[place], strict=True))
        numbers = {
            key: int(point[key])
            if key.endswith(("lanes", "bits", "rows", "columns"))
            else point[key]
            for key in GRIDS[name]
        }
        report = with_values(target, numbers).price(activity)
        for figure in found.figures:
            assert point[figure] == getattr(report, figure), figure  # to the last bit


def test_ten_thousand_points_take_seconds() -> None:
    grid = {
        "datapath.lanes": range(16, 116, 10),
        "datapath.weight_bits": range(1, 11),
        "sram.bank_kb": np.geomspace(8, 512, 10),
        "supply_v": np.linspace(0.6, 0.9, 10),
    }
    start = time.perf_counter()
    found = explore(NETWORKS["cnn"], "yin2017-28nm", grid)
    assert len(found) == 10_000
    assert time.perf_counter() - start < 10


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=40))
def test_front_equals_brute_force(points: list[tuple[int, int, int]]) -> None:
    def beats(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        return all(x <= y for x, y in zip(a, b, strict=True)) and a != b

    expected = [not any(beats(other, point) for other in points) for point in points]
    assert pareto_front(np.array(points, float)).tolist() == expected


def test_front_is_sorted_and_none_on_it_beats_another() -> None:
    found = explore(ACTIVITY, "yin2017-28nm", GRIDS["yin2017-28nm"])
    columns, rows = found.rows(front_only=True)
    costs = [[row[columns.index(name)] for name in found.objectives] for row in rows]
    assert costs == sorted(costs)
    assert all(row[-1] for row in rows)
    assert len(rows) == found.front.sum()
    assert f"{len(rows)} of {len(found)}" in str(found).replace(",", "")


@pytest.mark.parametrize(
    ("grid", "error", "message"),
    [
        ({"datapath.lane": [1]}, TargetError, "Did you mean datapath.lanes"),
        ({"datapath.lanes": [0]}, TargetError, "it has to lie in 1"),
        ({"datapath.lanes": [1.5]}, TargetError, "it has to be of type int"),
        ({"datapath.lanes": [float("nan")]}, TargetError, "it has to be of type int"),
        ({"sram.bank_kb": [16.0, -1]}, TargetError, "finite and not negative"),
        ({"sram.bank_kb": [16.0, 0.0]}, TargetError, "sram.bank_kb is 0.0; it has to be positive"),
        ({"overhead.kappa": [2.0, 5.0]}, TargetError, "kappa is 5.0 with band 1.2 … 3.4"),
        ({"supply_v": [0.9, 3.0]}, TargetError, "supply_v is 3.0"),
        ({"technology_nm": [28, 45]}, TargetError, "extend the target"),
        ({}, ArgumentError, "the grid has 0 points"),
        ({"datapath.lanes": []}, ArgumentError, "the grid has 0 points"),
        (
            {"datapath.lanes": range(1, 5000), "datapath.weight_bits": range(1, 5000)},
            ArgumentError,
            "at most 10,000,000 points",
        ),
    ],
)
def test_grids_that_make_no_sense_say_why(
    grid: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=r".*") as raised:
        explore(ACTIVITY, "yin2017-28nm", grid)
    assert message in str(raised.value)


def test_an_activity_without_samples_is_refused() -> None:
    with pytest.raises(MeasurementError, match="0 samples"):
        explore(Activity(0, ()), "yin2017-28nm", {"datapath.lanes": [1]})


@dataclass(frozen=True)
class Theirs(PerEvent):
    """A target of another package's own class, which knows nothing of arrays."""

    vectorised = False


def test_a_class_that_takes_no_arrays_is_priced_point_by_point() -> None:
    ours = load_target("odin-2019")
    assert isinstance(ours, PerEvent)
    names = [f.name for f in fields(ours)]
    theirs = Theirs(**{name: getattr(ours, name) for name in names})
    grid = {"events.synop_pj": [1.0, 12.7]}
    one, other = explore(ACTIVITY, ours, grid), explore(ACTIVITY, theirs, grid)
    assert one.rows() == other.rows()


def test_csv_holds_every_point_and_plots_need_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = explore(ACTIVITY, "yin2017-28nm", GRIDS["yin2017-28nm"])
    path = found.to_csv(tmp_path / "sub" / "all.csv")
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [float(row["energy_nj"]) for row in rows] == found.figures["energy_nj"].tolist()
    assert sum(int(row["front"]) for row in rows) == found.front.sum()
    with pytest.raises(ArgumentError, match="cannot write"):
        found.to_csv(path / "below_a_file.csv")
    assert {p.name for p in path.parent.iterdir()} == {"all.csv"}
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match="matplotlib"):
        found.plot()
