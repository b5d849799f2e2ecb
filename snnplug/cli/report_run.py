"""What a run has left in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

from snnplug.errors import MeasurementError
from snnplug.hardware.activity import Activity
from snnplug.hardware.activity_file import load_activity
from snnplug.hardware.report import EnergyReport

Row = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """What a run's folder says.

    Attributes:
        name: What the page calls it.
        report: Its bill.
        activity: What was counted for it, if it was kept.
        epochs: What was logged in each epoch.
        test: What was logged in the test.
        num_steps: Accuracy and energy by number of time steps.
        recipe: The recipe as launched.
        is_test: Whether the bill is of the test set.
        spikes: Those of one sample, by layer.
    """

    name: str
    report: EnergyReport
    activity: Activity | None = None
    epochs: Sequence[Row] = ()
    test: Mapping[str, float] = field(default_factory=dict)
    num_steps: Sequence[Row] = ()
    recipe: str = ""
    is_test: bool = False
    spikes: Sequence[Row] = ()

    @property
    def data(self) -> str:
        """What the bill is of."""
        return "test set" if self.is_test else "validation set"

    @property
    def best_accuracy(self) -> float | None:
        """The highest validation accuracy of an epoch, a share."""
        return max((row["val/acc"] for row in self.epochs if "val/acc" in row), default=None)

    @property
    def test_accuracy(self) -> float | None:
        """That of the test, a share."""
        return self.test.get("test/acc")

    @property
    def energies_nj(self) -> dict[int, float]:
        """The energy of each epoch."""
        key = f"hardware/{self.report.target.replace('-', '_').replace('.', '_')}/energy_nj"
        return {row["epoch"]: row[key] for row in self.epochs if key in row}

    def front(self) -> list[tuple[int, float, float]]:
        """Return epoch, energy in nJ and validation accuracy, where there are both."""
        nj = self.energies_nj
        return [
            (row["epoch"], nj[row["epoch"]], row["val/acc"])
            for row in self.epochs
            if "val/acc" in row and isfinite(nj.get(row["epoch"], float("nan")))
        ]


def read_runs(given: Sequence[str]) -> list[Run]:
    """Read runs, given as folders or ``NAME=FOLDER``, and tell those of one name apart.

    Raises:
        MeasurementError: One is no folder of a run, or a file in it is damaged.
    """
    places = [place_of(text) for text in given]
    runs = [replace(read_run(folder), name=name) for name, folder in places]
    for depth in (2, 3):  # folders of one name lie in different folders
        names = [run.name for run in runs]
        for index, (run, (_, folder)) in enumerate(zip(runs, places, strict=True)):
            if names.count(run.name) > 1:
                runs[index] = replace(run, name="/".join(folder.resolve().parts[-depth:]))
    for index, run in enumerate(runs):
        if run.name in {other.name for other in runs[:index]}:
            raise MeasurementError(
                f"{given[index]} is given twice, or two runs are called {run.name!r}; write "
                "NAME=FOLDER to call one something else"
            )
    return runs


def place_of(text: str) -> tuple[str, Path]:
    """Return the name and the folder that ``NAME=FOLDER``, or a folder, says."""
    name, equals, folder = text.partition("=")
    if equals and name and not Path(text).exists():
        return name, Path(folder)
    return Path(text).resolve().name, Path(text)


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
        epochs=_epochs(folder / "metrics.jsonl"),
        test=_figures(folder / "metrics_test.json", {}) if of else {},
        num_steps=_num_steps(folder / "num_steps.json"),
        recipe=_text(folder / "recipe.yaml"),
        is_test=bool(of),
        spikes=_spikes(folder / f"spikes{of}.json"),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except (OSError, ValueError) as error:
        raise MeasurementError(f"cannot read {path}: {error}") from error


def _damaged(path: Path, why: object) -> MeasurementError:
    return MeasurementError(f"{path} is damaged: {why}; move it away to have the report without it")


def _content(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise _damaged(path, error) from error


def _row(path: Path, row: Any) -> Row:
    """Return what a run has logged, if it is that: numbers by name, None for one that is not."""
    if not isinstance(row, dict):
        raise _damaged(path, f"{row!r} is no JSON object")
    for key, value in row.items():
        if value is not None and not isinstance(value, int | float):
            raise _damaged(path, f"{key} is {value!r}, not a number")
    return row


def _figures(path: Path, default: Row) -> Row:
    text = _text(path)
    return _row(path, _content(path, text)) if text else default


def _epochs(path: Path) -> list[Row]:
    rows = [_row(path, _content(path, line)) for line in _text(path).splitlines() if line.strip()]
    if any("epoch" not in row or None in row.values() for row in rows):
        raise _damaged(path, "a line has no epoch, or a figure without value")
    return rows


def _num_steps(path: Path) -> list[Row]:
    text = _text(path)
    rows = _content(path, text) if text else []
    if not isinstance(rows, list):
        raise _damaged(path, "it is no list")
    return [_row(path, row) for row in rows]


def _spikes(path: Path) -> list[Row]:
    text = _text(path)
    if not text:
        return []
    try:
        return [_spikes_of(layer) for layer in _content(path, text)["layers"]]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, repr(error)) from error


def _spikes_of(layer: Any) -> Row:
    form = {key: int(layer[key]) for key in ("neurons", "num_steps", "every")}
    when = {key: [int(value) for value in layer[key]] for key in ("step", "neuron")}
    pairs = list(zip(when["step"], when["neuron"], strict=True))
    if min(form.values()) < 1 or not all(
        0 <= step < form["num_steps"] and 0 <= neuron < form["neurons"] for step, neuron in pairs
    ):
        raise ValueError(f"a spike of {layer['name']} lies outside of it")
    return {"name": str(layer["name"]), **form, **when}
