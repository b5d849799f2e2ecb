"""What the bill and the log add to an epoch: ``python -m tests.benchmarks.run_overhead``.

One run of a recipe, as it is launched. In every other epoch its callbacks and loggers are taken
away, apart from the checkpoints and the progress bar, which any run of Lightning has. The CPU time
of the process is compared, training, validation and all that is written in between; wandb's own
process is stated beside it.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint, ProgressBar

from snnplug.cli.main import main as snnplug


class EveryOther(pl.Callback):
    """Takes the run's callbacks and loggers away in every odd epoch, and the time of each epoch."""

    #: CPU time of each epoch, with and without, of the last run.
    seconds: tuple[list[float], list[float]] = ([], [])
    #: CPU time of its other processes, which is wandb's.
    beside_s = 0.0

    def on_fit_start(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        """Note what the run has."""
        self._all = [list(trainer.callbacks), list(trainer.loggers)]
        plain = [c for c in trainer.callbacks if isinstance(c, Checkpoint | ProgressBar)]
        self._plain = [[self, *plain], []]
        type(self).seconds = ([], [])
        self._since: float | None = None

    def on_train_epoch_start(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        """An epoch ends where the next begins."""
        self._lap(trainer)
        trainer.callbacks, trainer.loggers = (self._all, self._plain)[trainer.current_epoch % 2]

    def on_train_end(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        """Give everything back."""
        self._lap(trainer)
        type(self).beside_s = _seconds_of_children()
        trainer.callbacks, trainer.loggers = self._all

    def _lap(self, trainer: Any) -> None:
        now = time.process_time()
        if self._since is not None:
            self.seconds[(trainer.current_epoch - 1) % 2].append(now - self._since)
        self._since = now


def _seconds_of_children() -> float:
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it may have ended since
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid():
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure_recipe(recipe: str, epochs: int, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Return the CPU time of an epoch in seconds: ``plain``, ``logged``, and with ``pictures``.

    The least of all epochs but the first of each kind: whatever else the machine does adds to it.
    Pictures are drawn in the epochs 10, 20 …; ``cycle`` is the mean of ten epochs, one with them.
    """
    snnplug(
        [
            "fit",
            "-c",
            recipe,
            f"--trainer.max_epochs={epochs}",
            "--test_after_fit=false",
            f"--trainer.callbacks+={__name__}.EveryOther",
            *overrides,
        ]
    )
    logged, plain = EveryOther.seconds
    found = {"plain": min(plain[1:]), "logged": min(logged[1:]), "pictures": min(logged[5::5])}
    return {**found, "cycle": (9 * found["logged"] + found["pictures"]) / 10}


def main() -> None:
    """Print the times and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="quickstart")
    parser.add_argument("--epochs", type=int, default=22)
    arguments, overrides = parser.parse_known_args()
    found = measure_recipe(arguments.recipe, arguments.epochs, overrides)
    print(f"{arguments.recipe}, {arguments.epochs} epochs, one in two without bill and log")
    for name, seconds in found.items():
        print(f"{name:<10}{1e3 * seconds:>8.0f} ms {100 * (seconds / found['plain'] - 1):>+7.1f} %")
    print(f"{'beside':<10}{1e3 * EveryOther.beside_s:>8.0f} ms in all, in wandb's process")


if __name__ == "__main__":
    from tests.benchmarks.run_overhead import main as run  # so that the recipe finds the class

    run()
