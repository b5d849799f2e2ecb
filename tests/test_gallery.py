"""What the gallery says of a recipe is what a run has logged."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
from pathlib import Path
from types import ModuleType

import pytest

from snnplug.cli.recipes import packaged_recipes
from snnplug.hardware.target import load_target
from tests.cli.test_report import ACTIVITY, write_run

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(scope="module")
def log_runs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("log_runs", DOCS / "log_runs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_is_entered_as_it_was_logged_and_only_once(
    log_runs: ModuleType, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run")
    bill = load_target("yin2017-28nm").price(ACTIVITY)
    (run / "hardware_test.json").write_text(bill.to_json(), encoding="utf-8")
    (run / "metrics_test.json").write_text(json.dumps({"test/acc": 0.98125}), encoding="utf-8")
    (run / "recipe.yaml").write_text("seed_everything: 7\n", encoding="utf-8")
    os.utime(run / "recipe.yaml", (1000, 1000))
    os.utime(run / "metrics_test.json", (1061, 1061))
    table = tmp_path / "runs.csv"
    before = [log_runs.row_of("other", "", run) | {"seed": seed} for seed in (7, 8)]
    table.write_text(",".join(log_runs.COLUMNS) + "\n", encoding="utf-8")
    log_runs.enter(before, table)
    row = log_runs.row_of("nmnist_snn_ct", "", run)
    log_runs.enter([row], table)
    log_runs.enter([row], table)
    entered, *others = rows(table)
    assert len(others) == 2
    assert entered == {
        "recipe": "nmnist_snn_ct",
        "options": "",
        "seed": "7",
        "test_accuracy": "98.12",
        "energy_nj": f"{bill.energy_nj:.1f}",
        "energy_nj_low": f"{bill.energy_nj_low:.1f}",
        "energy_nj_high": f"{bill.energy_nj_high:.1f}",
        "seconds": "61",
        "clock": "wall",
    }


def test_every_row_is_of_a_recipe_and_can_be() -> None:
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    for row in rows(DOCS / "runs.csv"):
        assert row["recipe"] in packaged_recipes()
        assert re.search(rf"^## {row['recipe']}$", page, re.M)
        assert 0 < float(row["test_accuracy"]) <= 100
        low, energy, high = (
            float(row[column]) for column in ("energy_nj_low", "energy_nj", "energy_nj_high")
        )
        assert 0 < low < energy < high
        assert float(row["seconds"]) > 0
        assert row["clock"] in ("CPU", "wall")
