"""How long training waits for its data."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl


class DataTime(pl.Callback):
    r"""Logs which share of an epoch's training was spent waiting for batches.

    .. math::
        \text{share} = \frac{\sum_i w_i}{\sum_i s_i}

    with :math:`w_i` what the loader took to hand a batch over, and :math:`s_i` from the end of one
    step to the end of the next; validation in between is in neither.

    ``train/data_time_share`` and ``train/step_time_ms``, the mean of :math:`s_i`, go to the loggers
    and into no file that a resumed run has to repeat: times differ from run to run.

    Example:
        >>> import lightning.pytorch as pl
        >>> trainer = pl.Trainer(callbacks=[DataTime()], logger=False, accelerator="cpu",
        ...                      enable_checkpointing=False, enable_progress_bar=False,
        ...                      enable_model_summary=False)
    """

    #: In seconds.
    clock: Callable[[], float] = staticmethod(time.perf_counter)

    def __init__(self) -> None:
        self._since = self._waited = self._total = 0.0
        self._steps = 0
        #: Of the last epoch; None before one has ended.
        self.share: float | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to the profiler: no hook says when a batch is asked for."""
        profiler: Any = trainer.profiler  # type: ignore[attr-defined]  # lacks the annotation
        began = 0.0

        def start(action_name: str, *, then: Callable[[str], None] = profiler.start) -> None:
            nonlocal began
            if action_name == _FETCH:
                began = self.clock()
            then(action_name)

        def stop(action_name: str, *, then: Callable[[str], None] = profiler.stop) -> None:
            then(action_name)
            if action_name == _FETCH:
                self._waited += self.clock() - began

        profiler.start, profiler.stop = start, stop

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave the profiler as it was."""
        profiler: Any = trainer.profiler  # type: ignore[attr-defined]  # lacks the annotation
        for name in ("start", "stop"):
            profiler.__dict__.pop(name, None)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count."""
        self._waited = self._total = 0.0
        self._steps = 0
        self._since = self.clock()

    def on_train_batch_end(self, *args: Any) -> None:
        """Add a step."""
        before, self._since = self._since, self.clock()
        self._total += self._since - before
        self._steps += 1

    def on_validation_end(self, *args: Any) -> None:
        """Leave out a validation between two steps."""
        self._since = self.clock()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the epoch's share."""
        if self._total <= 0:
            return
        self.share = self._waited / self._total
        figures = {
            "train/data_time_share": self.share,
            "train/step_time_ms": 1e3 * self._total / self._steps,
            "epoch": trainer.current_epoch,
        }
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=trainer.global_step - 1)


# As Lightning names it, in its profilers' tables too.
_FETCH = "[_TrainingEpochLoop].train_dataloader_next"
