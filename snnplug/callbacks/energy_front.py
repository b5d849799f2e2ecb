"""Accuracy over energy of all epochs, and the best one, at the end of a fit."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.callbacks import ModelCheckpoint

from snnplug.callbacks.hardware_target import HardwareTarget
from snnplug.callbacks.run_folder import run_folder, write_plots
from snnplug.errors import MissingExtraError
from snnplug.hardware.exploration import pareto_front
from snnplug.hardware.report_plot import plot_epochs
from snnplug.training.media import log_figure, log_summary, log_table, shows_pictures


class EnergyFront(pl.Callback):
    """Keeps each epoch's accuracy and energy, and shows them at the end of the fit.

    Logged at the end of a fit, ``<target>`` being that of each :class:`HardwareTarget`:

    - ``hardware/<target>/front`` — a table with a row per epoch: the epoch, what the checkpoint
      monitors, the energy and its band, and whether no other epoch is better in both
    - ``hardware/<target>/front_plot`` — the same as a picture
    - ``best/epoch``, ``best/<monitored>``, ``best/hardware/<target>/energy_nj`` — the epoch whose
      checkpoint is kept, in the run's summary

    A resumed run knows the epochs before its checkpoint.

    Example:
        >>> import lightning.pytorch as pl
        >>> trainer = pl.Trainer(callbacks=[HardwareTarget(), EnergyFront()], logger=False,
        ...                      enable_checkpointing=False, enable_progress_bar=False,
        ...                      enable_model_summary=False, accelerator="cpu")
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the epoch's figures."""
        monitor, _ = _monitored(trainer)
        wanted = [monitor, *(f"{_key(t)}/{part}" for t in _targets(trainer) for part in _ENERGY)]
        logged = trainer.callback_metrics
        row = {key: float(logged[key]) for key in wanted if key in logged}
        self.epochs.append({"epoch": trainer.current_epoch, **row})

    def state_dict(self) -> dict[str, Any]:
        """Return the epochs so far."""
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the epochs of the checkpoint."""
        self.epochs = [dict(row) for row in state_dict["epochs"]]

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show all epochs, and say what the best one costs."""
        monitor, sign = _monitored(trainer)
        seen = [row for row in self.epochs if monitor in row]
        if not seen:
            return
        best = max(seen, key=lambda row: sign * row[monitor])
        figures = {f"best/{key}": value for key, value in best.items()}
        for target in _targets(trainer):
            self._show(trainer, target, [row for row in seen if f"{_key(target)}/energy_nj" in row])
        log_summary(trainer.loggers, figures, trainer.global_step)

    def _show(self, trainer: pl.Trainer, target: HardwareTarget, rows: list[Any]) -> None:
        if not rows:
            return
        monitor, sign = _monitored(trainer)
        key = _key(target)
        points = [(sign * row[monitor], row[f"{key}/energy_nj"]) for row in rows]
        columns = ["epoch", monitor, *_ENERGY, "on_front"]
        table = [
            [row["epoch"], row[monitor], *(row.get(f"{key}/{part}") for part in _ENERGY), on_front]
            for row, on_front in zip(rows, undominated(points), strict=True)
        ]
        step = trainer.global_step
        log_table(trainer.loggers, f"{key}/front", columns, table, step)
        epochs = [
            {"epoch": r["epoch"], "energy_nj": r[f"{key}/energy_nj"], "acc": r[monitor]}
            for r in rows
        ]
        for folder in map(run_folder, trainer.loggers):
            if folder is not None:
                write_plots(folder, "", lambda: {"front": plot_epochs(epochs)})
        if shows_pictures(trainer.loggers):
            try:
                figure: Any = plot_epochs(epochs).figure
            except MissingExtraError:  # Pictures has said what to install
                return
            log_figure(trainer.loggers, f"{key}/front_plot", figure, step)


_ENERGY = ("energy_nj", "energy_nj_low", "energy_nj_high")


def undominated(points: list[tuple[float, float]]) -> list[bool]:
    """Return which points no other one beats, in the first number up and the second down.

    Args:
        points: What shall be high (accuracy) and what shall be low (energy).

    Example:
        >>> undominated([(0.9, 10.0), (0.8, 20.0), (0.95, 30.0)])
        [True, False, True]
    """
    costs = np.array([(-good, cost) for good, cost in points]).reshape(-1, 2)
    return [bool(kept) for kept in pareto_front(costs)]


def _key(target: HardwareTarget) -> str:
    return f"hardware/{target.target.key}"


def _targets(trainer: pl.Trainer) -> list[HardwareTarget]:
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # lacks annotation
    return [callback for callback in callbacks if isinstance(callback, HardwareTarget)]


def _monitored(trainer: pl.Trainer) -> tuple[str, int]:
    """Return what the kept checkpoint is the best in, and 1 or -1 for more or less is better."""
    checkpoint = trainer.checkpoint_callback
    if isinstance(checkpoint, ModelCheckpoint) and checkpoint.monitor is not None:
        return checkpoint.monitor, -1 if checkpoint.mode == "min" else 1
    return "val/acc", 1
