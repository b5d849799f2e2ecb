"""Enters what runs have measured into ``runs.csv``, from which the gallery is made.

``python docs/log_runs.py RECIPE RUN [RUN ...]`` reads the folders of finished runs of a recipe. The
seconds are those from the start of the training to the end of the test, or what ``--cpu`` gives.
The spikes that a test sample of the first run caused become the recipe's picture. A figure that is
in no run cannot be entered.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

DOCS = Path(__file__).resolve().parent
COLUMNS = ("recipe", "options", "seed", "test_accuracy", "energy_nj", "energy_nj_low")
COLUMNS += ("energy_nj_high", "seconds", "clock")


def row_of(
    recipe: str, options: str, run: Path, cpu_seconds: float | None = None
) -> dict[str, Any]:
    """Return the line of a finished run; its time is the clock's where no CPU time is given."""
    bill = json.loads((run / "hardware_test.json").read_text(encoding="utf-8"))
    tested = run / "metrics_test.json"
    accuracy = json.loads(tested.read_text(encoding="utf-8"))["test/acc"]
    launched = run / "recipe.yaml"
    return {
        "recipe": recipe,
        "options": options,
        "seed": yaml.safe_load(launched.read_text(encoding="utf-8"))["seed_everything"],
        "test_accuracy": f"{100 * accuracy:.2f}",
        "energy_nj": f"{bill['energy_nj']:.1f}",
        "energy_nj_low": f"{bill['energy_nj_low']:.1f}",
        "energy_nj_high": f"{bill['energy_nj_high']:.1f}",
        "seconds": round(
            tested.stat().st_mtime - launched.stat().st_mtime
            if cpu_seconds is None
            else cpu_seconds
        ),
        "clock": "wall" if cpu_seconds is None else "CPU",
    }


def enter(rows: Sequence[dict[str, Any]], table: Path) -> None:
    """Put rows into the table, in the place of those of the same recipe, options and seed."""
    with table.open(encoding="utf-8", newline="") as file:
        kept = {_key(row): row for row in csv.DictReader(file)}
    kept |= {_key(row): row for row in rows}
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept[key] for key in sorted(kept))


def _key(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["recipe"], row["options"], str(row["seed"])


def main() -> None:
    """Enter the runs that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("run", type=Path, nargs="+")
    parser.add_argument("--options", default="", help="what stood on the command line besides")
    parser.add_argument("--cpu", type=float, help="seconds of the whole command, as time prints")
    given = parser.parse_args()
    rows = [row_of(given.recipe, given.options, run, given.cpu) for run in given.run]
    enter(rows, DOCS / "runs.csv")
    picture = given.run[0] / "plots" / "raster_test.png"
    if picture.is_file():
        (DOCS / "gallery").mkdir(exist_ok=True)
        shutil.copyfile(picture, DOCS / "gallery" / f"{given.recipe}.png")


if __name__ == "__main__":
    main()
