"""``snnplug report``: the folder of a run, or of several, as one HTML page."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snnplug.cli.report_page import Run, page
from snnplug.errors import MeasurementError
from snnplug.files import write_whole
from snnplug.hardware.activity_file import load_activity
from snnplug.hardware.report import EnergyReport


def report_command(args: Sequence[str]) -> int:
    """Run ``snnplug report RUN… [-o FILE]``."""
    parser = argparse.ArgumentParser(
        "snnplug report",
        description="Write a page about runs: the bill per layer and part, accuracy over energy, "
        "and the activity. One file, which loads nothing from anywhere.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="default: report.html in the first run's folder"
    )
    given = parser.parse_args(args)
    runs = [read_run(Path(folder)) for folder in given.runs]
    print(write_whole(given.output or Path(given.runs[0], "report.html"), page(runs)))
    return 0


def read_run(folder: Path) -> Run:
    """Read what a run has left in its folder; the test set's bill before that of validation.

    Raises:
        MeasurementError: It is no folder of a run, or a file in it is damaged.
    """
    for of in ("_test", ""):
        bill = folder / f"hardware{of}.json"
        if bill.is_file():
            break
    else:
        raise MeasurementError(
            f"{folder} holds no hardware.json; give the folder of a run that priced its network, "
            "as `snnplug fit` prints at its end"
        )
    counted = folder / f"activity{of}.json"
    return Run(
        name=folder.resolve().name,
        report=EnergyReport.from_json(_text(bill)),
        activity=load_activity(counted) if counted.is_file() else None,
        epochs=_rows(folder / "metrics.jsonl", _text(folder / "metrics.jsonl").splitlines()),
        num_steps=_num_steps(folder / "num_steps.json"),
        recipe=_text(folder / "recipe.yaml"),
        is_test=of == "_test",
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except (OSError, ValueError) as error:
        raise MeasurementError(f"cannot read {path}: {error}") from error


def _rows(path: Path, lines: Sequence[str]) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in lines if line.strip()]
    except ValueError as error:
        raise MeasurementError(f"{path} is damaged: {error}") from error
    if not all(isinstance(row, dict) for row in rows):
        raise MeasurementError(f"{path} is damaged: a line is no JSON object")
    return rows


def _num_steps(path: Path) -> list[dict[str, Any]]:
    text = _text(path)
    if not text:
        return []
    try:
        content = json.loads(text)
    except ValueError as error:
        raise MeasurementError(f"{path} is damaged: {error}") from error
    return _rows(path, [json.dumps(row) for row in content]) if isinstance(content, list) else []
