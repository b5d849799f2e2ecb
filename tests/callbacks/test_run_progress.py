"""The bar of a run: times on a clock of the test's own, and the energy of the last validation."""

from __future__ import annotations

import io
from typing import Any

import lightning.pytorch as pl
import pytest

from snnplug.callbacks.hardware_target import HardwareTarget
from snnplug.callbacks.run_progress import RunProgress
from snnplug.networks.dense import DenseSNN
from snnplug.training.classifier import SpikingClassifier
from tests.callbacks.test_data_time import Clock, Slow
from tests.support import toy


class Seen(pl.Callback):
    """Keeps what the bar shows after each batch."""

    def __init__(self, bar: RunProgress) -> None:
        self.bar = bar
        self.rows: list[dict[str, Any]] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self.rows.append(self.bar.get_metrics(trainer, pl_module))


def fit(model: Any, *data: Any, bar: RunProgress, **options: Any) -> tuple[Seen, pl.Trainer]:
    seen = Seen(bar)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[bar, seen, *options.pop("callbacks", ())],
        **options,
    )
    trainer.fit(model, *data)
    return seen, trainer


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
@pytest.mark.filterwarnings("ignore:The number of training batches.*")
def test_times_are_those_of_the_batches_alone() -> None:
    """Three seconds for a batch, six for a step, a hundred for each of two validations."""
    clock = Clock()
    bar = RunProgress(console_kwargs={"file": io.StringIO()})
    bar.clock = clock
    seen, _ = fit(Slow(clock), bar=bar, max_epochs=2, val_check_interval=0.5)
    assert len(seen.rows) == 8
    assert seen.rows[0]["step_ms"] == 6_000
    assert "data_ms" not in seen.rows[0]  # the first one waits for workers to start
    for row in seen.rows[1:]:
        assert (row["data_ms"], row["step_ms"]) == (3_000, 6_000)


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
@pytest.mark.filterwarnings("ignore:The number of training batches.*")
def test_the_energy_is_that_of_the_last_validation_and_fits_a_terminal() -> None:
    screen = io.StringIO()
    bar = RunProgress(console_kwargs={"file": screen, "width": 80, "force_terminal": True})
    priced = HardwareTarget()
    model = SpikingClassifier(DenseSNN((9,), 3, hidden=(5,)), 3)
    data = toy.loader()
    seen, trainer = fit(model, data, data, bar=bar, callbacks=[priced], max_epochs=2)
    first, *_, last = seen.rows
    assert "energy_nj" not in first
    assert last["energy_nj"] > 0
    assert priced.report is not None
    assert bar.get_metrics(trainer, model)["energy_nj"] == priced.report.energy_nj
    assert "v_num" not in last
    drawn = screen.getvalue()
    assert "val/acc" in drawn
    assert f"energy_nj: {priced.report.energy_nj:.4g}" in drawn
    assert "it/s" not in drawn
