"""The packaged recipes learn what they say, through the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from snnplug.cli.main import main
from tests.support.datasets import SNNPLUG_DATA, needs_cochlea, needs_mnist, needs_nmnist

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def accuracy(printed: str) -> float:
    found = re.search(r"test accuracy +([\d.]+) %", printed)
    assert found, printed
    return float(found.group(1))


@needs_nmnist
def test_nmnist_reaches_90_percent_on_real_recordings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "-c", "nmnist_snn_ct", "--data.root", str(SNNPLUG_DATA)]) == 0
    assert accuracy(capsys.readouterr().out) >= 90


# Half of the recipe's epochs get there too; all of them are measured in docs/results.md.
@needs_mnist
def test_mnist_reaches_98_2_percent_within_16_steps(capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--trainer.max_epochs", "14", "--model.lr_scheduler.T_max", "14"]
    assert main(["fit", "-c", "mnist_snn_dc", "--data.root", str(SNNPLUG_DATA), *short]) == 0
    assert "51.4" in capsys.readouterr().out
    (run,) = Path("runs/mnist").iterdir()
    table = json.loads((run / "num_steps.json").read_text(encoding="utf-8"))
    assert [row["num_steps"] for row in table] == [1, 2, 4, 8, 16]
    assert max(row["test_acc"] for row in table) >= 0.982
    per_step = [row["energy_nj"] / row["num_steps"] for row in table]
    assert max(per_step) / min(per_step) < 1.02


# Cut short; the full recipes are measured in docs/results.md.
@needs_cochlea
def test_ntidigits_recipe_learns_spoken_digits(capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--data.root", str(SNNPLUG_DATA), "--trainer.max_epochs", "8"]
    assert main(["fit", "-c", "ntidigits_rsnn", *short]) == 0
    assert accuracy(capsys.readouterr().out) >= 65


@needs_cochlea
def test_recipe_learns_sequences_of_digits(capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--data.root", str(SNNPLUG_DATA), "--trainer.max_epochs", "4"]
    short += ["--trainer.check_val_every_n_epoch", "4"]
    assert main(["fit", "-c", "ntidigits_sequences", *short]) == 0
    found = re.search(r"test word errors +([\d.]+) %", capsys.readouterr().out)
    assert found
    assert float(found.group(1)) < 70  # what says nothing has 100


@needs_cochlea
def test_st_rsbp_recipe_learns_spoken_digits(capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--data.root", str(SNNPLUG_DATA), "--trainer.max_epochs", "5"]
    assert main(["fit", "-c", "ntidigits_st_rsbp", *short]) == 0
    assert accuracy(capsys.readouterr().out) >= 60


@needs_nmnist
def test_hm2bp_recipe_learns_real_recordings(capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--data.root", str(SNNPLUG_DATA), "--trainer.max_epochs", "5"]
    assert main(["fit", "-c", "nmnist_hm2bp", *short]) == 0
    assert accuracy(capsys.readouterr().out) >= 70


def test_neuromorse_recipe_beats_every_classifier_of_counts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["fit", "-c", "neuromorse", "--trainer.max_epochs", "60"]) == 0
    assert accuracy(capsys.readouterr().out) > 72
