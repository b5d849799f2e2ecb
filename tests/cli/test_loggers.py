"""The same figures, tables and pictures in every logger, as far as it can show them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from snnplug.cli.main import main
from tests.support.events import write_nmnist

ENERGY = "hardware/yin2017_28nm/energy_nj"
PICTURES = {
    "val/frames",
    "val/confusion",
    "test/confusion",
    "activity/raster",
    "hardware/yin2017_28nm/front_plot",
}
TABLES = {"hardware/yin2017_28nm/layers", "hardware/yin2017_28nm/front"}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_nmnist(tmp_path / "events", train=100)


def fit(*overrides: str) -> None:
    """The same small run with whatever logger."""
    command = ["fit", "-c", "quickstart", "--data=NMNISTDataModule", "--data.root=events"]
    command += ["--data.num_steps=4", "--trainer.max_epochs=2"]
    assert main([*command, "--trainer.enable_progress_bar=false", *overrides]) == 0


def written(folder: Path) -> list[dict[str, Any]]:
    """Check that a run's folder is complete, and return its epochs."""
    names = {path.name for path in folder.iterdir()}
    assert {"recipe.yaml", "metrics.jsonl", "hardware.json", "hardware_test.json"} <= names
    checkpoints = {path.name for path in (folder / "checkpoints").iterdir()}
    assert checkpoints == {"best.ckpt", "last.ckpt"}
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["trainer"]["max_epochs"] == 2
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_csv_holds_energy_and_accuracy_in_one_row(capsys: pytest.CaptureFixture[str]) -> None:
    fit("--trainer.logger=CSVLogger", "--trainer.logger.save_dir=logs")
    folder = Path("logs/lightning_logs/version_0")
    epochs = written(folder)
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    priced = [row for row in rows if row[ENERGY]]
    assert [int(row["epoch"]) for row in priced] == [0, 1]
    for row, epoch in zip(priced, epochs, strict=True):
        assert float(row[ENERGY]) == epoch[ENERGY]
        assert float(row["val/acc"]) == epoch["val/acc"]
    (best,) = [row for row in rows if row["best/epoch"]]
    assert float(best[f"best/{ENERGY}"]) == epochs[int(float(best["best/epoch"]))][ENERGY]
    assert f"run               {folder}" in capsys.readouterr().out


def test_tensorboard_shows_scalars_pictures_tables_and_histograms() -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit("--trainer.logger=TensorBoardLogger", "--trainer.logger.save_dir=logs")
    folder = Path("logs/lightning_logs/version_0")
    epochs = written(folder)
    shown = EventAccumulator(str(folder), {"scalars": 0, "images": 0, "histograms": 0})
    shown.Reload()
    assert [event.value for event in shown.Scalars(ENERGY)] == pytest.approx(
        [epoch[ENERGY] for epoch in epochs], rel=1e-6
    )
    assert set(shown.Tags()["images"]) == PICTURES
    assert {f"{name}/text_summary" for name in TABLES} <= set(shown.Tags()["tensors"])
    assert {"train/weight/layers_2_weight", "activity/membrane/readout"} <= set(
        shown.Tags()["histograms"]
    )
    best = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)
    assert shown.Scalars("best/epoch")[0].value == best["epoch"]
    weight = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"][
        "network.layers.2.weight"
    ]
    drawn = shown.Histograms("train/weight/layers_2_weight")[-1].histogram_value
    assert drawn.num == weight.numel()
    assert (drawn.min, drawn.max) == pytest.approx((weight.min().item(), weight.max().item()))


def test_mlflow_keeps_pictures_and_tables_as_artifacts(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    fit("--trainer.logger=MLFlowLogger", "--trainer.logger.experiment_name=digits")
    (folder,) = (path.parent for path in Path("mlruns").glob("*/*/meta.yaml"))
    epochs = written(folder)
    logged = (folder / "metrics" / ENERGY).read_text(encoding="utf-8").splitlines()
    assert [float(line.split()[1]) for line in logged] == [epoch[ENERGY] for epoch in epochs]
    artifacts = folder / "artifacts"
    drawn = {str(path.parent.relative_to(artifacts)) for path in artifacts.rglob("*.png")}
    assert drawn == PICTURES
    for name in TABLES:
        assert len((artifacts / f"{name}.csv").read_text(encoding="utf-8").splitlines()) > 2


def test_trackio_shows_scalars_pictures_tables_and_histograms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    storage = pytest.importorskip("trackio.sqlite_storage").SQLiteStorage
    fit("--trainer.logger=TrackioLogger", "--trainer.logger.project=p", "--trainer.logger.id=one")
    epochs = written(Path("runs/p/one"))
    rows = storage.get_logs("p", "one")
    priced = [row for row in rows if ENERGY in row]
    assert [row["epoch"] for row in priced] == [0, 1]
    for row, epoch in zip(priced, epochs, strict=True):
        assert row[ENERGY] == epoch[ENERGY]
        assert row["val/acc"] == epoch["val/acc"]
    kinds = {
        key: value["_type"] for row in rows for key, value in row.items() if isinstance(value, dict)
    }
    assert {name for name, kind in kinds.items() if kind == "trackio.image"} == PICTURES
    assert {name for name, kind in kinds.items() if kind == "trackio.table"} == TABLES
    assert kinds["train/weight/layers_2_weight"] == "trackio.histogram"
    assert len(list((tmp_path / "trackio" / "media").rglob("*.png"))) >= len(PICTURES)
    assert storage.get_run_config("p", "one")["recipe"]["trainer"]["max_epochs"] == 2
    (best,) = [row for row in rows if "best/epoch" in row]
    assert best[f"best/{ENERGY}"] == epochs[int(best["best/epoch"])][ENERGY]
    assert "run               runs/p/one" in capsys.readouterr().out
