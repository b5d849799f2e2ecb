"""The figures of every epoch, a line each, in the run's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_only

from snnplug.callbacks.run_folder import run_folder, write_json, write_text


class EpochMetrics(pl.Callback):
    """Writes ``metrics.jsonl``: one JSON object per epoch with all that was logged in it.

    What a test logs goes into ``metrics_test.json``.

    The file is whole at any moment, and holds an epoch before that epoch's checkpoint does. A run
    that is resumed drops the epochs after its checkpoint and writes them anew, so that the file of
    a run that was stopped is the file of one that never was.

    Example:
        >>> import lightning.pytorch as pl
        >>> trainer = pl.Trainer(callbacks=[EpochMetrics()], logger=False, accelerator="cpu",
        ...                      enable_checkpointing=False, enable_progress_bar=False,
        ...                      enable_model_summary=False)
    """

    def __init__(self) -> None:
        self._rates: dict[str, float] = {}

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the learning rates that the epoch begins with."""
        groups = (group for optimizer in trainer.optimizers for group in optimizer.param_groups)
        self._rates = {f"lr/{index}": float(group["lr"]) for index, group in enumerate(groups)}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch's line."""
        figures = {key: float(value) for key, value in sorted(trainer.callback_metrics.items())}
        row: dict[str, Any] = {"epoch": trainer.current_epoch, "step": trainer.global_step}
        row |= figures | self._rates
        for folder in _folders(trainer):
            _append(folder / "metrics.jsonl", row)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what the test logged."""
        logged = sorted(trainer.callback_metrics.items())
        figures = {key: float(value) for key, value in logged if key.startswith("test/")}
        for folder in _folders(trainer):
            write_json(folder / "metrics_test.json", figures)


def _folders(trainer: pl.Trainer) -> set[Path]:
    return {folder for folder in map(run_folder, trainer.loggers) if folder is not None}


@rank_zero_only
def _append(path: Path, row: dict[str, Any]) -> None:
    """Put the row behind those of earlier epochs; those of later ones are of a run given up."""
    earlier = [line for line in _lines(path) if json.loads(line)["epoch"] < row["epoch"]]
    write_text(path, "".join(f"{line}\n" for line in [*earlier, json.dumps(row)]))


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
