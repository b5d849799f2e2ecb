"""The callback: right numbers, in the right row, at little cost, and nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import nn

from snnplug.callbacks.hardware_target import HardwareTarget
from snnplug.errors import ArgumentError, TargetError
from snnplug.hardware.counting import measure
from snnplug.hardware.target import load_target
from snnplug.networks.dense import DenseSNN
from snnplug.training.classifier import SpikingClassifier
from tests.support.toy import loader

KEY = "hardware/yin2017_28nm/energy_nj"


def trainer(tmp_path: Path, *callbacks: pl.Callback, **arguments: Any) -> pl.Trainer:
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "accelerator": "cpu",
        "max_epochs": 2,
    }
    return pl.Trainer(
        default_root_dir=tmp_path, callbacks=list(callbacks), **{**quiet, **arguments}
    )


def model() -> SpikingClassifier:
    torch.manual_seed(0)
    return SpikingClassifier(DenseSNN((9,), 3, hidden=(20,)), num_classes=3)


def test_logs_what_a_measurement_of_its_own_gives(tmp_path: Path) -> None:
    net, callback = model(), HardwareTarget()
    fit = trainer(tmp_path, callback)
    fit.fit(net, loader(), loader())
    with measure(net.network) as meter, torch.no_grad():
        for frames, _ in loader(batch_size=7):
            net.eval()(frames)
    expected = load_target("yin2017-28nm").price(meter.activity())
    metrics = fit.callback_metrics
    assert metrics[KEY].item() == pytest.approx(expected.energy_nj, rel=1e-6)
    assert metrics["activity/synops"].item() == pytest.approx(meter.activity().synops, rel=1e-6)
    assert callback.report is not None
    assert callback.report.samples == 60
    for key in expected.scalars():
        assert f"hardware/yin2017_28nm/{key}" in metrics
    assert "activity/firing_rate/layers_3" in metrics
    assert metrics["activity/spikes_per_synapse"] > 0


def test_stands_in_the_row_of_the_accuracy(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    fit = trainer(tmp_path, HardwareTarget(), logger=logger)
    fit.fit(model(), loader(), loader())
    lines = (Path(logger.log_dir) / "metrics.csv").read_text().splitlines()
    header = lines[0].split(",")
    rows = [dict(zip(header, line.split(","), strict=True)) for line in lines[1:]]
    with_energy = [row for row in rows if row[KEY]]
    assert len(with_energy) == 2
    assert all(row["val/acc"] for row in with_energy)


def test_can_be_monitored(tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(dirpath=tmp_path, monitor=KEY, mode="min", filename="cheapest")
    fit = trainer(
        tmp_path,
        HardwareTarget(),
        EarlyStopping(monitor=KEY, mode="min", patience=50),
        checkpoint,
        enable_checkpointing=True,
    )
    fit.fit(model(), loader(), loader())
    assert Path(checkpoint.best_model_path).name == "cheapest.ckpt"


def test_sanity_check_is_not_counted(tmp_path: Path) -> None:
    callback = HardwareTarget()
    fit = trainer(tmp_path, callback, max_epochs=1, num_sanity_val_steps=2)
    fit.fit(model(), loader(), loader())
    assert callback.report is not None
    assert callback.report.samples == 60


def test_max_batches_measures_the_first_ones(tmp_path: Path) -> None:
    callback = HardwareTarget(max_batches=2)
    trainer(tmp_path, callback, max_epochs=1).fit(model(), loader(), loader())
    assert callback.report is not None
    assert callback.report.samples == 40


def test_a_test_pass_logs_under_test(tmp_path: Path) -> None:
    (metrics,) = trainer(tmp_path, HardwareTarget()).test(model(), loader(), verbose=False)
    assert f"test/{KEY}" in metrics
    assert KEY not in metrics


def test_training_is_the_same_with_and_without(tmp_path: Path) -> None:
    weights = []
    for callbacks in ([], [HardwareTarget()]):
        net = model()
        pl.seed_everything(3, verbose=False)
        trainer(tmp_path, *callbacks).fit(net, loader(), loader())
        weights.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    assert torch.equal(weights[0], weights[1])


def test_hooks_are_gone_after_an_exception(tmp_path: Path) -> None:
    class Failing(SpikingClassifier):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            super().validation_step(batch, batch_idx)
            raise RuntimeError("on purpose")

    net = Failing(DenseSNN((9,), 3, hidden=(20,)), num_classes=3)
    with pytest.raises(RuntimeError, match="on purpose"):
        trainer(tmp_path, HardwareTarget(), num_sanity_val_steps=0).fit(net, loader(), loader())
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in net.modules())


def test_target_and_bill_reach_the_logger(tmp_path: Path) -> None:
    class Recorder(CSVLogger):
        run_dir = tmp_path / "run"
        tables: dict[str, Any] = {}  # noqa: RUF012
        params: dict[str, Any] = {}  # noqa: RUF012

        def log_table(self, key: str, columns: list[str], data: list[list[Any]]) -> None:
            self.tables[key] = (columns, data)

        def log_hyperparams(self, params: Any = None) -> None:
            self.params.update(params)

    recorder, callback = Recorder(tmp_path), HardwareTarget()
    trainer(tmp_path, callback, logger=recorder).fit(model(), loader(), loader())
    described = recorder.params["hardware_target"]
    assert described["fingerprint"] == load_target("yin2017-28nm").fingerprint
    assert described["datapath"]["lanes"] == 64
    columns, rows = recorder.tables["hardware/yin2017_28nm/layers"]
    assert [row[0] for row in rows] == ["layers.2", "layers.3", "layers.5", "readout"]
    assert "energy_nj" in columns
    assert callback.report is not None
    written = json.loads((tmp_path / "run" / "hardware.json").read_text())
    assert written["energy_nj"] == callback.report.energy_nj


def test_what_cannot_be_priced_is_said(tmp_path: Path) -> None:
    class Normed(DenseSNN):
        def __init__(self) -> None:
            super().__init__((9,), 3, hidden=(20,))
            self.layers.insert(3, nn.LayerNorm(20))

    net = SpikingClassifier(Normed(), num_classes=3)
    with pytest.warns(UserWarning, match=r"cannot price layers.3 \(LayerNorm\)"):
        trainer(tmp_path, HardwareTarget(), max_epochs=1).fit(net, loader(), loader())


def test_a_run_without_validation_is_told(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="nothing will be priced"):
        trainer(tmp_path, HardwareTarget(), max_epochs=1).fit(model(), loader())


def test_refuses_what_it_cannot_work_with(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="Did you mean"):
        HardwareTarget("yin2017")
    with pytest.raises(ArgumentError, match="max_batches"):
        HardwareTarget(max_batches=0)
    from lightning.pytorch.demos.boring_classes import BoringModel

    with pytest.raises(ArgumentError, match="has no attribute `network`"):
        trainer(tmp_path, HardwareTarget()).fit(BoringModel())


def test_two_targets_keep_apart_in_a_checkpoint() -> None:
    assert HardwareTarget().state_key == "HardwareTarget[yin2017-28nm]"
