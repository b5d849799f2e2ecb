"""How long training waits for its data: what is logged, and that event data are not waited for."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import Logger
from torch.utils.data import DataLoader

from snnplug.callbacks.data_time import DataTime
from snnplug.data.augmentation import Augmentation
from snnplug.data.nmnist import NMNISTDataModule
from snnplug.networks.conv import ConvSNN
from snnplug.neurons.base import reset
from snnplug.training.losses import SquaredHinge
from tests.support.datasets import SNNPLUG_DATA, needs_nmnist


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(pl.LightningModule):
    """Takes 3 s to load a batch, 6 s to train on it, 100 s to validate, on its own clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.time = clock

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.time.now += 6.0
        return self.weight.sum()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.time.now += 100.0

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self) -> Any:
        def collate(samples: Any) -> Any:
            self.time.now += 3.0
            return torch.stack(samples)

        return DataLoader([torch.zeros(1)] * 4, batch_size=1, collate_fn=collate)  # type: ignore[arg-type]

    def val_dataloader(self) -> Any:
        return DataLoader([torch.zeros(1)])  # type: ignore[arg-type]


class Log(Logger):
    """Keeps what is logged."""

    name, version = "log", 0

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, float]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append({**metrics, "step": -1 if step is None else step})

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass


def fit(model: pl.LightningModule, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    data = options.pop("datamodule", None)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(model, datamodule=data)
    return trainer


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
@pytest.mark.filterwarnings("ignore:The number of training batches.*")
def test_the_share_is_that_of_the_waits_without_validation() -> None:
    clock, log, waits = Clock(), Log(), DataTime()
    waits.clock = clock
    trainer = fit(
        Slow(clock), waits, logger=log, max_epochs=2, val_check_interval=0.5, num_sanity_val_steps=0
    )
    logged = [row for row in log.rows if "train/data_time_share" in row]
    assert [row["train/data_time_share"] for row in logged] == pytest.approx([3 / 9] * 2)
    assert [row["train/step_time_ms"] for row in logged] == pytest.approx([9_000.0] * 2)
    assert [row["step"] for row in logged] == [3, 7]
    assert not any("time" in key for key in trainer.callback_metrics)


@needs_nmnist
@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
def test_a_batch_of_the_nmnist_recipe_takes_a_small_part_of_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNNPLUG_CACHE", str(tmp_path))
    data = NMNISTDataModule(
        str(SNNPLUG_DATA), num_steps=10, batch_size=25, augmentation=Augmentation(shift_px=2)
    )
    data.setup("fit")
    data._sets["train"].store.verify()
    batches = iter(data.train_dataloader())
    network = ConvSNN((2, 34, 34), 10, channels=[12, 32], kernel_size=5, neuron="continuous")
    loss = SquaredHinge()
    # By the clock: the thread that prepares batches has no time of its own in this one.
    seconds: dict[str, list[float]] = {"wait": [], "step": []}
    for _ in range(16):
        start = time.perf_counter()
        frames, targets = next(batches)
        seconds["wait"].append(time.perf_counter() - start)
        start = time.perf_counter()
        reset(network)
        loss(network(frames)[1], targets).backward()
        seconds["step"].append(time.perf_counter() - start)
    # The lower quartiles: other programs delay the thread now and then. Without it all wait 5 %.
    waits, steps = (statistics.quantiles(taken[4:])[0] for taken in seconds.values())
    assert 0 < waits < 0.03 * (waits + steps)


def test_an_epoch_logs_it_and_leaves_the_profiler_as_it_was() -> None:
    waits = DataTime()
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    profiler = trainer.profiler  # type: ignore[attr-defined]
    before = (profiler.start, profiler.stop)
    waits.on_fit_start(trainer, pl.LightningModule())
    assert (profiler.start, profiler.stop) != before
    waits.teardown(trainer, pl.LightningModule(), "fit")
    assert (profiler.start, profiler.stop) == before
    assert waits.share is None
