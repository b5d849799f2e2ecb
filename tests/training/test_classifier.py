"""The LightningModule: learns, logs, reloads, resets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import snntorch as snn
import torch
from snntorch.functional import ce_rate_loss
from torch import Tensor, nn

from snnplug.errors import ArgumentError
from snnplug.networks.dense import DenseSNN
from snnplug.training.classifier import SpikingClassifier
from snnplug.training.encoding import BernoulliEncoding
from tests.support.toy import loader


def trainer(tmp_path: Path, **arguments: Any) -> pl.Trainer:
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "accelerator": "cpu",
    }
    return pl.Trainer(default_root_dir=tmp_path, **{**quiet, **arguments})


def model(**arguments: Any) -> SpikingClassifier:
    torch.manual_seed(0)
    return SpikingClassifier(DenseSNN((9,), 3, hidden=(20,)), num_classes=3, **arguments)


def test_learns_and_logs(tmp_path: Path) -> None:
    net = model(optimizer=lambda p: torch.optim.Adam(p, lr=0.01))
    fit = trainer(tmp_path, max_epochs=15)
    fit.fit(net, loader(), loader())
    metrics = fit.callback_metrics
    assert {"train/loss", "train/acc", "val/loss", "val/acc"} <= set(metrics)
    assert metrics["val/acc"] > 0.95
    (tested,) = fit.test(net, loader(), verbose=False)
    assert tested["test/acc"] == pytest.approx(metrics["val/acc"].item())
    predicted = torch.cat(fit.predict(net, loader()))  # type: ignore[arg-type]
    assert (predicted == torch.arange(60) % 3).float().mean() == pytest.approx(tested["test/acc"])


def test_same_seed_same_weights(tmp_path: Path) -> None:
    weights = []
    for _ in range(2):
        net = model()
        pl.seed_everything(7, verbose=False)
        trainer(tmp_path, max_epochs=2).fit(net, loader())
        weights.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    assert torch.equal(weights[0], weights[1])


def test_checkpoint_reloads_without_unpickling(tmp_path: Path) -> None:
    net = model()
    fit = trainer(tmp_path, max_epochs=1)
    fit.fit(net, loader())
    fit.save_checkpoint(tmp_path / "net.ckpt")
    torch.load(tmp_path / "net.ckpt", weights_only=True)
    again = SpikingClassifier.load_from_checkpoint(
        tmp_path / "net.ckpt",
        network=DenseSNN((9,), 3, hidden=(20,)),
        num_classes=3,
        weights_only=True,
    )
    frames = next(iter(loader()))[0]
    assert torch.equal(again.eval()(frames)[1], net.eval()(frames)[1])


def test_schedule_is_stepped_every_epoch(tmp_path: Path) -> None:
    net = model(lr_scheduler=lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.5))
    fit = trainer(tmp_path, max_epochs=3)
    fit.fit(net, loader())
    assert fit.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-3 / 8)


def test_encoder_makes_sequences_of_static_samples() -> None:
    net = model(encoder=BernoulliEncoding(num_steps=4, train_num_steps=1))
    assert net.train()(torch.rand(5, 9))[0].shape == (1, 5, 3)
    assert net.eval()(torch.rand(5, 9))[0].shape == (4, 5, 3)


def test_snntorchs_own_loop_with_hidden_state_is_reset_between_batches() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(9, 3), snn.Leaky(beta=0.9, init_hidden=True))

        def forward(self, frames: Tensor) -> Tensor:
            return torch.stack([self.net(frame) for frame in frames])

    torch.manual_seed(0)
    net = SpikingClassifier(Loop(), num_classes=3, loss=ce_rate_loss())
    frames = next(iter(loader()))[0]
    assert torch.equal(net(frames)[0], net(frames)[0])


def test_a_network_with_other_classes_than_the_data_is_refused() -> None:
    net = SpikingClassifier(DenseSNN((9,), 3, hidden=(20,)), num_classes=4)
    with pytest.raises(ArgumentError, match="3 outputs, the data 4 classes"):
        net(torch.zeros(2, 1, 9))
