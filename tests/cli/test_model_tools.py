"""Lightning's tools for a model, each with a recipe: what they promise holds for a spiking one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import snntorch as snn
import torch
from torch import Tensor, nn

from snnplug.callbacks.accuracy_energy_score import AccuracyEnergyScore
from snnplug.cli.main import main
from snnplug.errors import ArgumentError
from tests.support.events import write_nmnist

ENERGY = "hardware/yin2017_28nm/energy_nj"
HERE = "tests.cli.test_model_tools"
kept: list[dict[str, Tensor]] = []


class KeepWeights(pl.Callback):
    """Keeps the weights after every step, and those that are tested."""

    def on_train_batch_end(self, trainer: Any, module: Any, *args: Any) -> None:
        """Keep them."""
        kept.append({name: p.detach().clone() for name, p in module.named_parameters()})

    def on_test_start(self, trainer: Any, module: Any) -> None:
        """Keep them."""
        kept.append({name: p.detach().clone() for name, p in module.named_parameters()})


class GradientNorm(pl.Callback):
    """Fails where a step is longer than gradient clipping allows, or not of float32."""

    def on_train_batch_end(self, trainer: Any, module: Any, *args: Any) -> None:
        """Check."""
        grads = [p.grad for p in module.parameters()]
        assert {grad.dtype for grad in grads} == {torch.float32}
        norm = torch.stack([grad.norm() for grad in grads]).norm()
        assert 0 < norm < 0.01 * 1.001


class Stateful(nn.Module):
    """A network of snnTorch's own making: state in buffers, a loop over time."""

    def __init__(self, in_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.first = nn.Linear(in_shape[0] * in_shape[1] * in_shape[2], 8)
        self.neuron = snn.Leaky(beta=0.9, init_hidden=True)
        self.last = nn.Linear(8, num_classes)

    def forward(self, frames: Tensor) -> Tensor:
        """Return output currents."""
        return torch.stack([self.last(self.neuron(self.first(x.flatten(1)))) for x in frames])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tools")
    write_nmnist(folder / "events", train=100)
    return folder


def launch(name: str, *overrides: str) -> list[dict[str, float]]:
    """Train two epochs on the small made-up recordings; return a row of figures for each."""
    fields = ["--data=NMNISTDataModule", "--data.root=events", "--data.num_steps=4"]
    fields += ["--trainer.max_epochs=2"]
    fields += ["--trainer.enable_progress_bar=false", f"--trainer.logger.id={name}"]
    assert main(["fit", "-c", "quickstart", *fields, *overrides]) == 0
    rows = run(name) / "metrics.jsonl"
    return [json.loads(line) for line in rows.read_text().splitlines()]


def run(name: str) -> Path:
    return Path("runs", "quickstart", name)


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    kept.clear()


def test_learning_rate_finder_begins_the_run_that_has_that_rate() -> None:
    finder = ["--trainer.callbacks+=LearningRateFinder", "--trainer.callbacks.min_lr=1e-5"]
    finder += ["--trainer.callbacks.max_lr=0.1", "--trainer.callbacks.early_stop_threshold=null"]
    scheduled = ["--model.lr_scheduler=StepLR", "--model.lr_scheduler.step_size=1"]
    scheduled += ["--data.batch_size=4"]  # the search takes no more epochs than the run
    found = launch("lr", *scheduled, *finder, "--trainer.callbacks.num_training_steps=25")
    (key,) = (key for key in found[0] if key.startswith("lr"))
    assert found[0][key] not in (0.001, 0.0)
    assert found[1][key] == pytest.approx(0.1 * found[0][key])
    same = launch("lr-given", *scheduled, f"--model.optimizer.lr={found[0][key]!r}")
    assert found == same


def test_batch_size_finder_begins_the_run_that_has_that_size() -> None:
    finder = ["--trainer.callbacks+=BatchSizeFinder", "--trainer.callbacks.max_trials=3"]
    found = launch("size", *finder, "--trainer.callbacks.steps_per_trial=1")
    same = launch("size-given", "--data.batch_size=8")
    assert found[0]["step"] == 12
    assert found == same
    assert not list(Path().glob(".scale_batch_size*"))


def test_moving_average_is_what_is_validated_kept_and_tested() -> None:
    average = ["--trainer.callbacks+=EMAWeightAveraging", "--trainer.callbacks.decay=0.5"]
    launch("average", f"--trainer.callbacks+={HERE}.KeepWeights", *average)
    *steps, tested = kept
    checkpoints = {
        name: torch.load(run("average") / f"checkpoints/{name}.ckpt", weights_only=True)
        for name in ("best", "last")
    }
    for name, value in tested.items():
        expected = steps[0][name]  # the average begins with the first
        for step in steps[1:]:
            expected = 0.5 * expected + 0.5 * step[name]
        last = checkpoints["last"]["state_dict"][name]
        torch.testing.assert_close(last, expected, rtol=1e-5, atol=1e-6)
        assert not torch.equal(last, steps[-1][name])
        assert torch.equal(value, checkpoints["best"]["state_dict"][name])


@pytest.mark.parametrize("tool", ["WeightAveraging", "EMAWeightAveraging"])
def test_averages_leave_the_state_of_neurons_out(
    tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = [f"--model.network={HERE}.Stateful", "--trainer.callbacks+=" + tool]
    row, _ = launch(tool, *network)
    assert row["activity/synops"] > 0


def test_stochastic_weight_averaging_ends_a_run() -> None:
    swa = ["--trainer.callbacks+=StochasticWeightAveraging", "--trainer.callbacks.swa_lrs=0.001"]
    rows = launch("swa", *swa, "--trainer.callbacks.device=cpu")
    assert len(rows) == 2
    assert (run("swa") / "hardware_test.json").exists()


def test_a_run_stops_where_accuracy_is_not_worth_its_energy() -> None:
    score = ["--score.weight_per_nj=10"]
    stop = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/score"]
    stop += ["--trainer.callbacks.mode=max", "--trainer.callbacks.patience=1"]
    best = ["--checkpoint.monitor=val/score", "--trainer.max_epochs=5"]
    rows = launch("score", *score, *stop, *best)
    assert [row["val/score"] for row in rows] == pytest.approx(
        [row["val/acc"] - 10 * row[ENERGY] for row in rows]
    )
    assert len(rows) == 2
    assert rows[1]["val/score"] < rows[0]["val/score"]
    assert rows[1]["val/acc"] > rows[0]["val/acc"]
    kept = torch.load(run("score") / "checkpoints/best.ckpt", weights_only=True)
    assert kept["epoch"] == 0


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_is_no_price_is_refused(weight: float) -> None:
    with pytest.raises(ArgumentError, match="weight_per_nj is"):
        AccuracyEnergyScore(weight)


def test_gradients_are_clipped_in_single_precision_under_autocast() -> None:
    clip = ["--trainer.precision=bf16-mixed", "--trainer.gradient_clip_val=0.01"]
    rows = launch("clip", *clip, f"--trainer.callbacks+={HERE}.GradientNorm")
    assert rows[-1]["activity/synops"] > 0
    weights = torch.load(run("clip") / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    kinds = {value.dtype for value in weights.values() if value.is_floating_point()}
    assert kinds == {torch.float32}
