"""Figures that are logged each epoch, the quick way."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.trainer.connectors.logger_connector.result import _ResultCollection

from snnplug.callbacks.figures import log_figures
from snnplug.networks.dense import DenseSNN
from snnplug.training.classifier import SpikingClassifier
from tests.support.toy import loader


def figures(epoch: int) -> dict[str, float]:
    """Other values each epoch, and a new key from the third on."""
    values = {f"hardware/{k}": 1.1 * k + epoch for k in range(5)} | {"activity/synops": 1e7 + epoch}
    return values | ({"activity/late": 0.25 * epoch} if epoch >= 2 else {})


class Logs(pl.Callback):
    """Logs them, and notes what a monitor would see."""

    def __init__(self, quick: bool) -> None:
        self.quick = quick
        self.seen: list[dict[str, float]] = []

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log."""
        if trainer.sanity_checking:
            return
        if self.quick:
            log_figures(pl_module, figures(trainer.current_epoch))
        else:
            pl_module.log_dict(figures(trainer.current_epoch))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look."""
        self.seen.append({k: float(v) for k, v in trainer.callback_metrics.items()})


def run(folder: Path, quick: bool) -> tuple[list[dict[str, float]], list[dict[str, str]], Any]:
    """Return what monitors see in each epoch, the rows of the log, and what validate returns."""
    logs = Logs(quick)
    logger = CSVLogger(folder, name="", version=str(quick))
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=4,
        logger=logger,
        callbacks=[logs],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        log_every_n_steps=1,
    )
    pl.seed_everything(0)
    model = SpikingClassifier(DenseSNN((9,), 3, hidden=(8,)), num_classes=3)
    trainer.fit(model, loader(), loader())
    returned = trainer.validate(model, loader(), verbose=False)
    with (Path(logger.log_dir) / "metrics.csv").open() as file:
        return logs.seen, list(csv.DictReader(file)), returned


def test_monitors_and_loggers_see_what_log_dict_gives_them(tmp_path: Path) -> None:
    seen, rows, returned = run(tmp_path, quick=True)
    expected = run(tmp_path, quick=False)
    assert (seen, rows, returned) == expected
    assert seen[-2]["hardware/2"] == pytest.approx(2.2 + 3)  # of the last epoch
    assert any(row["val/acc"] and row["hardware/4"] for row in rows)  # one row


def test_a_lightning_that_keeps_its_results_otherwise_is_logged_to_as_usual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, called = pl.LightningModule.log_dict, []

    def log_dict(self: Any, values: Any, **how: Any) -> None:
        called.append(len(values))
        log(self, values, **how)

    monkeypatch.setattr(pl.LightningModule, "log_dict", log_dict)
    run(tmp_path / "with", quick=True)
    assert called == [6, 1, 7]  # the new one of the third epoch; validate begins anew
    called.clear()
    real = _ResultCollection.update_metrics
    monkeypatch.setattr(_ResultCollection, "log", _with(real, _ResultCollection.log))
    monkeypatch.delattr(_ResultCollection, "update_metrics")
    run(tmp_path / "without", quick=True)
    assert called == [6, 6, 7, 7, 7]


def _with(update: Any, log: Any) -> Any:
    """Return Lightning's ``log``, which needs the method itself."""

    def patched(self: Any, *args: Any, **kwargs: Any) -> None:
        type(self).update_metrics = update
        try:
            log(self, *args, **kwargs)
        finally:
            del type(self).update_metrics

    return patched
