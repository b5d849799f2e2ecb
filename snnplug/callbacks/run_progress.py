"""The progress bar: how fast, what it waits for, how good and how dear."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import RichProgressBarTheme
from rich.progress import BarColumn

from snnplug.callbacks.hardware_target import HardwareTarget


class RunProgress(RichProgressBar):
    """Lightning's rich bar with the time of data and step, and the energy of the last validation.

    Shown beside ``train/acc`` and ``val/acc``: ``data_ms``, how long a batch was waited for;
    ``step_ms``, how long it was trained on; both as running means over about twenty batches; and
    ``energy_nj``, per inference. Runs that the command line launches have it.

    Args:
        theme: Colours, and the format of the figures.
        **arguments: What ``RichProgressBar`` takes.

    Example:
        >>> import lightning.pytorch as pl
        >>> trainer = pl.Trainer(callbacks=[RunProgress()], logger=False, accelerator="cpu",
        ...                      enable_checkpointing=False, enable_model_summary=False)
    """

    #: In seconds.
    clock: Callable[[], float] = staticmethod(time.perf_counter)

    def __init__(
        self,
        theme: RichProgressBarTheme = RichProgressBarTheme(metrics_format=".4g"),  # noqa: B008
        **arguments: Any,
    ) -> None:
        super().__init__(theme=theme, **arguments)
        self._means: dict[str, float] = {}
        self._mark: float | None = None

    def configure_columns(self, trainer: pl.Trainer) -> list[Any]:
        """Return Lightning's columns without its speed, so that 80 characters hold the figures."""
        *columns, _speed = super().configure_columns(trainer)
        for column in columns:
            if isinstance(column, BarColumn):
                column.bar_width = 12
        return columns

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The first batch of an epoch waits for workers to start: it is not counted."""
        super().on_train_epoch_start(trainer, pl_module)
        self._mark = None

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """A batch has arrived."""
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        self._lap("data_ms")

    def on_train_batch_end(self, *args: Any) -> None:
        """A batch has been trained on."""
        self._lap("step_ms")
        super().on_train_batch_end(*args)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A validation between two batches is in neither time."""
        super().on_validation_end(trainer, pl_module)
        self._mark = None

    def _lap(self, name: str) -> None:
        now = self.clock()
        if self._mark is not None:
            passed_ms = 1e3 * (now - self._mark)
            before = self._means.get(name, passed_ms)
            self._means[name] = before + (passed_ms - before) / 20
        self._mark = now

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Return what stands at the end of the bar."""
        shown: dict[str, Any] = dict(super().get_metrics(trainer, pl_module))
        shown.pop("v_num", None)  # the end of the run's id, which helps nobody
        if trainer.training:
            shown |= self._means
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # lacks annotation
        for callback in callbacks:
            if isinstance(callback, HardwareTarget) and callback.report is not None:
                if callback.report.energy_nj is not None:
                    shown["energy_nj"] = callback.report.energy_nj
                break
        return shown
