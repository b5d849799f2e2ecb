"""Training on energy: the loss gets what it should, budgets are met, nothing is left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn

from snnplug.callbacks.energy_penalty import EnergyPenalty
from snnplug.callbacks.hardware_target import HardwareTarget
from snnplug.data.saccade_digits import SaccadeDigitsDataModule
from snnplug.errors import ArgumentError
from snnplug.hardware.energy_meter import EnergyMeter
from snnplug.networks.conv import ConvSNN
from snnplug.networks.dense import DenseSNN
from snnplug.training.classifier import SpikingClassifier
from tests.support.toy import loader

KEY = "hardware/yin2017_28nm"


def trainer(folder: Path, *callbacks: pl.Callback, **arguments: Any) -> pl.Trainer:
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "accelerator": "cpu",
        "max_epochs": 1,
    }
    return pl.Trainer(default_root_dir=folder, callbacks=list(callbacks), **{**quiet, **arguments})


def model() -> SpikingClassifier:
    torch.manual_seed(0)
    return SpikingClassifier(DenseSNN((9,), 3, hidden=(20, 20)), num_classes=3)


class Returns(pl.LightningModule):
    """A module of the user's whose step returns what it is given to."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.network = model().network
        self.how = how

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Any:
        loss = self.network(batch[0])[1].square().mean()
        return {"loss": loss, "dict": {"loss": loss, "more": 1}, "none": None}[self.how]

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        self.network(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


@pytest.mark.parametrize("how", ["loss", "dict"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_step_descends_on_loss_and_energy(tmp_path: Path, how: str, accumulate: int) -> None:
    module = Returns(how)
    fit = trainer(
        tmp_path,
        HardwareTarget(),
        EnergyPenalty(weight_per_nj=0.02),
        accumulate_grad_batches=accumulate,
        limit_train_batches=accumulate,
    )
    fit.fit(module, loader(), loader())
    by_hand = Returns(how)
    meter = EnergyMeter(by_hand.network)
    optimizer = by_hand.configure_optimizers()
    for k, (frames, _) in enumerate(loader()):
        if k < accumulate:
            with meter:
                loss = by_hand.network(frames)[1].square().mean()
            ((loss + 0.02 * meter.energy_nj()) / accumulate).backward()
    optimizer.step()
    for one, other in zip(module.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    assert "training_step" not in vars(module)
    assert not any(m._forward_hooks for m in module.network.modules())


# Lightning says so once in a process, which another test may have been.
@pytest.mark.filterwarnings("ignore:.*returned `None`:UserWarning")
def test_a_skipped_batch_stays_skipped(tmp_path: Path) -> None:
    module = Returns("none")
    before = [p.clone() for p in module.parameters()]
    trainer(tmp_path, HardwareTarget(), EnergyPenalty(weight_per_nj=1.0)).fit(
        module, loader(), loader()
    )
    assert all(map(torch.equal, before, module.parameters()))


def test_without_budget_and_weight_nothing_changes(tmp_path: Path) -> None:
    one, other = model(), model()
    trainer(tmp_path, HardwareTarget()).fit(one, loader(), loader())
    fit = trainer(tmp_path, HardwareTarget(), EnergyPenalty())
    fit.fit(other, loader(), loader())
    assert all(map(torch.equal, one.parameters(), other.parameters()))
    assert not {key for key in fit.callback_metrics if "budget" in key or "energy_weight" in key}


def test_a_dearer_energy_falls_further(tmp_path: Path) -> None:
    energies = []
    for weight in (0.0, 1.0, 10.0):
        torch.manual_seed(0)
        network = DenseSNN((9,), 3, hidden=(60, 60))
        module = SpikingClassifier(network, 3, optimizer=lambda p: torch.optim.Adam(p, 0.01))
        fit = trainer(
            tmp_path, HardwareTarget(), EnergyPenalty(weight_per_nj=weight), max_epochs=10
        )
        fit.fit(module, loader(), loader())
        energies.append(fit.callback_metrics[f"{KEY}/energy_nj"].item())
        assert fit.callback_metrics[f"{KEY}/energy_weight"].item() == pytest.approx(weight)
        assert fit.callback_metrics[f"{KEY}/train_energy_nj"].item() > 0
    assert energies[0] > 2 * energies[1] > 2 * energies[2]


def test_the_network_that_meets_the_budget_scores_by_its_accuracy(tmp_path: Path) -> None:
    free = trainer(tmp_path, HardwareTarget(), EnergyPenalty(budget_nj=1e6))
    free.fit(model(), loader(), loader())
    metrics = free.callback_metrics
    assert metrics["val/acc_within_budget"] == metrics["val/acc"]
    tight = trainer(
        tmp_path,
        HardwareTarget(),
        EnergyPenalty(budget_nj=metrics[f"{KEY}/energy_nj"].item() / 1.2),
    )
    tight.fit(model(), loader(), loader())
    over = tight.callback_metrics[f"{KEY}/over_budget"].item()
    assert over > 0.05
    assert tight.callback_metrics["val/acc_within_budget"].item() == pytest.approx(-over)


def test_a_budget_below_the_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"budget_nj is 0.1, .* without one spike of its own"):
        trainer(tmp_path, HardwareTarget(), EnergyPenalty(budget_nj=0.1)).fit(
            model(), loader(), loader()
        )


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        (lambda: [EnergyPenalty(budget_nj=9)], "there are: none"),
        (lambda: [EnergyPenalty(budget_nj=9), HardwareTarget()], "there are: none"),
        (
            lambda: [HardwareTarget(), HardwareTarget("loihi-2018"), EnergyPenalty(budget_nj=9)],
            "there are: yin2017-28nm, loihi-2018",
        ),
        (lambda: [HardwareTarget(), EnergyPenalty(budget_nj=9, target="odin-2019")], "odin-2019"),
    ],
)
def test_a_run_without_its_bill_is_refused(tmp_path: Path, callbacks: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        trainer(tmp_path, *callbacks()).fit(model(), loader(), loader())


def test_a_module_that_optimises_by_hand_is_refused(tmp_path: Path) -> None:
    module = model()
    module.automatic_optimization = False
    with pytest.raises(ArgumentError, match="optimises by hand"):
        trainer(tmp_path, HardwareTarget(), EnergyPenalty(budget_nj=9)).fit(
            module, loader(), loader()
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget_nj": 1.0, "weight_per_nj": 1.0}, "give one of them"),
        ({"weight_per_nj": -1.0}, "weight_per_nj is -1.0"),
        ({"budget_nj": -3.0}, "budget_nj is -3.0"),
        ({"tolerance": -0.1}, "tolerance is -0.1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        EnergyPenalty(**arguments)  # type: ignore[arg-type]


def test_a_module_is_left_as_it_was_when_the_fit_raises(tmp_path: Path) -> None:
    module = model()
    module.loss = nn.Identity()  # takes one argument
    with pytest.raises(TypeError):
        trainer(tmp_path, HardwareTarget(), EnergyPenalty(budget_nj=9)).fit(
            module, loader(), loader()
        )
    assert "training_step" not in vars(module)
    assert not any(m._forward_hooks for m in module.network.modules())


@pytest.mark.slow
@pytest.mark.parametrize("budget_nj", [240.0, 200.0, 180.0])
def test_lands_within_five_per_cent_of_the_budget(tmp_path: Path, budget_nj: float) -> None:
    """SaccadeDigits on a small convolutional network that takes some 300 nJ of its own accord."""
    pl.seed_everything(0, verbose=False)
    data = SaccadeDigitsDataModule(num_steps=2, batch_size=16)
    data.setup("fit")
    module = SpikingClassifier(
        ConvSNN(data.in_shape, 10, channels=(4, 32), neuron="discontinuous"),
        10,
        optimizer=lambda p: torch.optim.Adam(p, 3e-3),
        lr_scheduler=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 9),
    )
    penalty = EnergyPenalty(budget_nj=budget_nj, rate=0.05)
    fit = trainer(tmp_path, HardwareTarget(), penalty, max_epochs=9)
    fit.fit(module, datamodule=data)
    assert fit.callback_metrics[f"{KEY}/energy_nj"].item() == pytest.approx(budget_nj, rel=0.05)
    assert fit.callback_metrics["val/acc"] > 0.8  # it still tells digits apart: chance is 0.1
