"""Accuracy over energy, and everything over the epochs: the charts of a report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snnplug.cli.axis import spread, whole
from snnplug.cli.report_html import legend
from snnplug.cli.report_run import Run
from snnplug.cli.svg import Point, chart
from snnplug.hardware.exploration import pareto_front


def curves(runs: Sequence[Run]) -> str:
    """Return accuracy over energy, and accuracy, loss and energy over the epochs.

    Of one run training stands beside validation, of several each run's validation.
    """
    front = fronts(runs)
    single = len(runs) == 1
    before: dict[str, list[Point]] = _TRAINING if single else {}
    charts = [
        front,
        _over_epochs(runs, "acc", "accuracy, %" if single else "validation accuracy, %", 100),
        _over_epochs(runs, "loss", "loss" if single else "validation loss"),
        chart(
            before
            | {
                run.name: [
                    Point(epoch, nj, f"{run.name}, epoch {epoch}: {nj:.4g} nJ")
                    for epoch, nj in run.energies_nj.items()
                ]
                for run in runs
            },
            "nJ per inference",
            "epoch",
            whole,
            spread,
            radius=2,
        ),
    ]
    shown = "".join(f"<div>{picture}</div>" for picture in charts if picture)
    if not shown:
        return ""
    names = ["training", "validation"] if single else [run.name for run in runs]
    return f'<h2>Accuracy and energy</h2>{legend(names)}<div class="grid">{shown}</div>' + (
        f'<p class="note">{_note(runs)}</p>' if front else ""
    )


def fronts(runs: Sequence[Run]) -> str:
    """Return accuracy over energy, a point per epoch, filled where no other one is better."""
    best = _best(runs)
    before: dict[str, list[Point]] = _TRAINING if len(runs) == 1 else {}
    series = before | {
        run.name: [
            Point(
                nj,
                100 * acc,
                f"{run.name}, epoch {epoch}: {nj:.4g} nJ, {100 * acc:.2f} %",
                (nj, 100 * acc) in best,
            )
            for epoch, nj, acc in run.front()
        ]
        for run in runs
    }
    return chart(series, "validation accuracy, %", "nJ per inference", spread, front=best)


def _best(runs: Sequence[Run]) -> list[tuple[float, float]]:
    """Return energy and accuracy of those epochs that no other one beats in both, least first."""
    every = {(nj, 100 * acc) for run in runs for _, nj, acc in run.front()}
    if not every or not _are_of_one_target(runs):
        return []
    pairs = sorted(every)
    kept = pareto_front(np.array([(nj, -acc) for nj, acc in pairs]))
    return [pair for pair, is_kept in zip(pairs, kept, strict=True) if is_kept]


def by_num_steps(run: Run) -> str:
    """Return accuracy over energy, a point per number of time steps."""
    points = [
        Point(
            row["energy_nj"],
            100 * row["test_acc"],
            f"T = {row['num_steps']}: {row['energy_nj']:.4g} nJ, {100 * row['test_acc']:.2f} %",
            label=f"T = {row['num_steps']}",
        )
        for row in run.num_steps
        if None not in (row.get("energy_nj"), row.get("test_acc"), row.get("num_steps"))
    ]
    return chart({"T": points}, "test accuracy, %", "nJ per inference", spread)


def _over_epochs(runs: Sequence[Run], figure: str, title: str, factor: float = 1) -> str:
    """Return a figure of training and validation of one run, or of the validation of several."""
    if len(runs) == 1:
        wanted = {name: (runs[0], f"{of}/{figure}") for name, of in _PASSES.items()}
    else:
        wanted = {run.name: (run, f"val/{figure}") for run in runs}
    series = {
        name: [
            Point(
                row["epoch"],
                factor * row[key],
                f"{name}, epoch {row['epoch']}: {factor * row[key]:.4g}",
            )
            for row in run.epochs
            if key in row
        ]
        for name, (run, key) in wanted.items()
    }
    return chart(series, title, "epoch", whole, radius=2)


# Without a point of its own: validation keeps the colour that it has beside training.
_TRAINING: dict[str, list[Point]] = {"training": []}
_PASSES = {"training": "train", "validation": "val"}


def _are_of_one_target(runs: Sequence[Run]) -> bool:
    return len({run.report.fingerprint for run in runs}) == 1


def _note(runs: Sequence[Run]) -> str:
    if not _are_of_one_target(runs):
        return "Accuracy over energy: a point per epoch. The targets differ, so no front is drawn."
    of = "" if len(runs) == 1 else " of any run"
    return f"Accuracy over energy: a point per epoch; filled where no other{of} is better in both."
