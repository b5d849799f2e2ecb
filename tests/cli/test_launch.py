"""A recipe from Python is the recipe from the command line, and the same as its parts by hand."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

import snnplug as sp
from snnplug.callbacks.epoch_seed import EpochSeed
from snnplug.callbacks.hardware_target import HardwareTarget
from snnplug.cli.main import main
from snnplug.data.nmnist import NMNISTDataModule
from snnplug.errors import ArgumentError, RecipeError
from snnplug.networks.dense import DenseSNN
from snnplug.training.classifier import SpikingClassifier
from snnplug.training.losses import SquaredHinge
from tests.cli.test_resume import assert_same, only_run
from tests.support.events import write_nmnist

OPTIONS: dict[str, Any] = {
    "data": "NMNISTDataModule",
    "data.root": "events",
    "data.num_steps": 3,
    "model.network.hidden": [24],
    "trainer.max_epochs": 2,
    "trainer.logger.mode": "disabled",
    "trainer.enable_progress_bar": False,
    "test_after_fit": False,
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_nmnist(tmp_path / "events", train=100)


def launch(save_dir: str, command: str = "fit", **more: Any) -> pl.Trainer:
    overrides = OPTIONS | {"trainer.logger.save_dir": save_dir} | more
    return sp.launch(command, "quickstart", overrides=overrides)


def test_a_call_equals_the_command_and_its_parts_by_hand() -> None:
    filters = list(warnings.filters)
    trainer = launch("called")
    assert warnings.filters == filters
    words = [
        *("--data=NMNISTDataModule", "--data.root=events", "--data.num_steps=3"),
        *("--model.network.hidden=[24]", "--trainer.max_epochs=2", "--test_after_fit=false"),
        *("--trainer.logger.mode=disabled", "--trainer.enable_progress_bar=false"),
    ]
    assert main(["fit", "-c", "quickstart", "--trainer.logger.save_dir=typed", *words]) == 0
    assert_same(only_run("called"), only_run("typed"))

    pl.seed_everything(0, workers=True)
    data = NMNISTDataModule("events", num_steps=3, batch_size=32)
    network = DenseSNN(
        data.in_shape,
        data.num_classes,
        hidden=[24],
        neuron="continuous",
        dropout_input=0.1,
        dropout_hidden=0.2,
    )
    model = SpikingClassifier(
        network,
        data.num_classes,
        loss=SquaredHinge(shift=0.5),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.001),
    )
    by_hand = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[HardwareTarget("yin2017-28nm"), EpochSeed()],
    )
    by_hand.fit(model, datamodule=data)
    trained: Any = trainer.lightning_module
    for name, weight in trained.network.state_dict().items():
        assert torch.equal(weight, network.state_dict()[name])
    for key in ("val/acc", "val/loss", "train/loss", "hardware/yin2017_28nm/energy_nj"):
        assert torch.equal(trainer.callback_metrics[key], by_hand.callback_metrics[key]), key


def test_it_goes_on_with_a_run_and_tests_a_checkpoint() -> None:
    launch("runs", **{"trainer.max_epochs": 1})
    trainer = launch("runs", ckpt_path="last")
    assert trainer.current_epoch == 2
    checkpoint = only_run("runs") / "checkpoints/last.ckpt"
    tested = sp.launch(
        "test", only_run("runs") / "recipe.yaml", overrides={"ckpt_path": checkpoint}
    )
    assert {"test/acc", "test/hardware/yin2017_28nm/energy_nj"} <= set(tested.callback_metrics)


def test_mistakes_are_errors_and_do_not_end_the_session() -> None:
    with pytest.raises(RecipeError, match=r"no command 'fitt'. Did you mean fit"):
        sp.launch("fitt", "quickstart")
    with pytest.raises(RecipeError, match=r"Did you mean quickstart"):
        sp.launch("fit", "quikstart")
    with pytest.raises(RecipeError, match=r"(?s)max_epocs.*Did you mean --trainer.max_epochs"):
        launch("runs", **{"trainer.max_epocs": 3})
    with pytest.raises(RecipeError, match=r"trainer.max_epochs"):
        launch("runs", **{"trainer.max_epochs": "many"})
    with pytest.raises(ArgumentError, match=r"model.network is .*DenseSNN.*named by its path"):
        launch("runs", **{"model.network": DenseSNN})
    assert not Path("runs").exists()
