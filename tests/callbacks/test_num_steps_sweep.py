"""Accuracy and energy over the number of time steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

from snnplug.callbacks.hardware_target import HardwareTarget
from snnplug.callbacks.num_steps_sweep import NumStepsSweep
from snnplug.errors import ArgumentError
from snnplug.networks.dense import DenseSNN
from snnplug.training.classifier import SpikingClassifier
from snnplug.training.encoding import BernoulliEncoding, Encoding


def model(encoder: Encoding | None) -> SpikingClassifier:
    torch.manual_seed(0)
    network = DenseSNN((9,), 3, hidden=(20,), neuron="discontinuous")
    return SpikingClassifier(network, num_classes=3, encoder=encoder)


def static() -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(30, 9, generator=generator)
    return DataLoader(TensorDataset(values, torch.arange(30) % 3), batch_size=10)


def trainer(tmp_path: Path, *callbacks: pl.Callback, **arguments: Any) -> pl.Trainer:
    return pl.Trainer(
        default_root_dir=tmp_path,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        accelerator="cpu",
        **{"logger": False, **arguments},
    )


def test_each_point_is_a_test_at_that_number_of_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = CSVLogger(tmp_path)
    net = model(BernoulliEncoding(num_steps=4))
    sweep = NumStepsSweep(num_steps=[1, 4, 8])
    run = trainer(tmp_path, HardwareTarget(), sweep, logger=logger)
    (tested,) = run.test(net, static(), verbose=False)
    assert [point.num_steps for point in sweep.points] == [1, 4, 8]
    usual = sweep.points[1]
    assert usual.accuracy == pytest.approx(tested["test/acc"])
    assert usual.report.energy_nj == pytest.approx(
        tested["test/hardware/yin2017_28nm/energy_nj"], rel=1e-6
    )
    energies = [point.report.energy_nj for point in sweep.points]
    assert energies[2] / energies[1] == pytest.approx(2, rel=0.1)
    assert net.encoder is not None
    assert net.encoder.num_steps == 4
    written = json.loads((Path(logger.log_dir) / "num_steps.json").read_text())
    assert [row["energy_nj"] for row in written] == energies
    assert "test accuracy" in capsys.readouterr().out


def test_refuses_what_it_cannot_sweep(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="positive numbers"):
        NumStepsSweep([])
    with pytest.raises(ArgumentError, match="no encoder"):
        trainer(tmp_path, HardwareTarget(), NumStepsSweep()).test(model(None), static())
    with pytest.raises(ArgumentError, match="not in this trainer"):
        trainer(tmp_path, NumStepsSweep()).test(model(BernoulliEncoding(4)), static())
