"""Random numbers that depend on the seed and the epoch alone, so that a run can be resumed."""

from __future__ import annotations

import os
import random
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only


class EpochSeed(pl.Callback):
    """Seeds each epoch anew from the run's seed and the epoch's number.

    A run that was stopped, or killed, and resumed from the checkpoint of an epoch's end then draws
    the numbers that it would have drawn without the stop: the same order of the samples, the same
    augmentation, dropout and encoded spikes. What the batches draw differs from process to process.

    There are two seeds in an epoch, for the loader that begins it and for the first batch, because
    Lightning starts a resumed epoch's loader earlier than another one's.

    The seed is that of ``seed_everything``; without it, torch's initial seed, and a resumed run
    differs.

    Example:
        >>> import lightning.pytorch as pl
        >>> trainer = pl.Trainer(callbacks=[EpochSeed()], logger=False, accelerator="cpu",
        ...                      enable_checkpointing=False, enable_progress_bar=False,
        ...                      enable_model_summary=False)
    """

    def __init__(self) -> None:
        self._seeded: int | None = None

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Seed the loader of the epoch that follows the checkpoint's."""
        self._seeded = checkpoint["epoch"] + 1
        _seed(self._seeded, _LOADER)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed the loader of an epoch, unless it runs already."""
        # What searches for a learning rate or a batch size restores a checkpoint before epoch 0.
        if self._seeded != trainer.current_epoch:
            _seed(trainer.current_epoch, _LOADER)
        self._seeded = None

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Seed what the epoch's batches draw."""
        if batch_idx == 0:
            _seed(trainer.current_epoch, _BATCHES)


_LOADER, _BATCHES = 0, 1


def _seed(epoch: int, stream: int) -> None:
    """Seed Python, numpy and torch for a part of one epoch of this process."""
    run = int(os.environ.get("PL_GLOBAL_SEED", torch.initial_seed()))
    # All processes have to agree on the order of the samples.
    rank = 0 if stream == _LOADER else int(getattr(rank_zero_only, "rank", 0))
    (value,) = np.random.SeedSequence((run, epoch, stream, rank)).generate_state(1).tolist()
    random.seed(value)
    np.random.seed(value)  # noqa: NPY002  # transforms of other packages draw from it
    torch.manual_seed(value)
