"""A whole run through the command line: what it prints, writes and logs."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from snnplug.cli.main import main
from snnplug.hardware.target import load_target, packaged_targets
from tests.cli.test_loggers import PICTURES
from tests.support import wandb_log
from tests.support.events import write_nmnist

ENERGY = "hardware/yin2017_28nm/energy_nj"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def launch(command: str, *overrides: str) -> int:
    """Run on the small made-up recordings, two epochs."""
    root = Path("events")
    if not root.exists():
        write_nmnist(root, train=100)
    return main(
        [
            command,
            "-c",
            "quickstart",
            "--data=NMNISTDataModule",
            f"--data.root={root}",
            "--data.num_steps=4",
            "--trainer.max_epochs=2",
            *overrides,
        ]
    )


def only_run(folder: Path) -> Path:
    (run,) = (folder / "runs" / "quickstart").iterdir()
    return run


def test_fit_prints_the_bill_and_writes_one_folder(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch("fit") == 0
    out = capsys.readouterr().out
    assert re.search(r"test accuracy +[\d.]+ %", out)
    assert re.search(r"energy +[\d,.]+ nJ/inference \[[\d,.]+ … [\d,.]+\] on yin2017-28nm", out)
    assert re.search(r"wandb leet runs/quickstart/\S+/wandb/offline-run-\S+", out)
    assert re.search(r"wandb sync runs/quickstart/\S+/wandb/offline-run-\S+", out)
    run = only_run(folder)
    assert {"checkpoints", "hardware.json", "recipe.yaml", "wandb"} <= {
        p.name for p in run.iterdir()
    }
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert not list(folder.rglob("*.partial"))

    rows = [row for row in wandb_log.history(wandb_log.log_of(run)) if ENERGY in row]
    assert [row["epoch"] for row in rows] == [0, 1]
    assert all("val/acc" in row for row in rows)
    assert all(row[f"{ENERGY}_low"] < row[ENERGY] < row[f"{ENERGY}_high"] for row in rows)
    config = wandb_log.config(wandb_log.log_of(run))
    described: dict[str, Any] = config["hardware_target"]
    assert described["fingerprint"] == load_target("yin2017-28nm").fingerprint
    assert config["recipe"]["trainer"]["max_epochs"] == 2
    tables = list(run.glob("wandb/offline-run-*/files/media/table/hardware/**/*.json"))
    assert {path.name.split("_")[0] for path in tables} == {"layers", "front"}
    assert_wandb_shows_pictures(run)


def assert_wandb_shows_pictures(run: Path) -> None:
    log = wandb_log.log_of(run)
    shown: dict[str, Any] = {}
    for row in wandb_log.history(log):
        shown |= row
    kinds = {key[: -len("._type")]: kind for key, kind in shown.items() if key.endswith("._type")}
    assert kinds["train/weight/layers_2_weight"] == "histogram"
    assert kinds["activity/membrane/readout"] == "histogram"
    assert {key for key, kind in kinds.items() if kind == "images/separated"} == PICTURES
    for key in PICTURES:
        (name,) = shown[f"{key}.filenames"]
        assert (log.parent / "files" / name).read_bytes().startswith(b"\x89PNG")
    summary = wandb_log.summary(log)
    kept = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert summary["best/epoch"] == kept["epoch"]
    assert summary[f"best/{ENERGY}"] == json.loads(lines[kept["epoch"]])[ENERGY]


def test_the_saved_recipe_runs_again_and_checkpoints_need_no_pickle(folder: Path) -> None:
    assert launch("fit", "--test_after_fit=false") == 0
    run = only_run(folder)
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["ckpt_path"] is None
    checkpoint = run / "checkpoints" / "last.ckpt"
    torch.load(checkpoint, weights_only=True)
    assert main(["fit", "-c", str(run / "recipe.yaml"), "--trainer.fast_dev_run=1"]) == 0
    assert main(["validate", "-c", str(run / "recipe.yaml"), f"--ckpt_path={checkpoint}"]) == 0
    assert main(["test", "-c", str(run / "recipe.yaml"), f"--ckpt_path={checkpoint}"]) == 0


def test_resuming_keeps_what_the_command_line_says(folder: Path) -> None:
    assert launch("fit", "--test_after_fit=false") == 0
    first = only_run(folder)
    checkpoint = first / "checkpoints" / "last.ckpt"
    assert launch("fit", f"--ckpt_path={checkpoint}", "--trainer.max_epochs=3") == 0
    (second,) = set(first.parent.iterdir()) - {first}
    rows = [row for row in wandb_log.history(wandb_log.log_of(second)) if ENERGY in row]
    assert [row["epoch"] for row in rows] == [2]


def test_sections_can_be_overridden(folder: Path) -> None:
    text = packaged_targets()["yin2017-28nm"].read_text(encoding="utf-8")
    Path("chip.toml").write_text(text.replace('"yin2017-28nm"', '"my-chip"'), encoding="utf-8")
    overrides = [
        "--hardware.target=chip.toml",
        "--checkpoint.monitor=hardware/my_chip/energy_nj",
        "--checkpoint.mode=min",
        "--model.network.hidden=[24]",
        "--trainer.logger.project=other",
    ]
    assert launch("fit", *overrides) == 0
    (run,) = (folder / "runs" / "other").iterdir()
    rows = wandb_log.history(wandb_log.log_of(run))
    assert sum("hardware/my_chip/energy_nj" in row for row in rows) == 2
    assert torch.load(run / "checkpoints/best.ckpt", weights_only=True)["state_dict"][
        "network.layers.2.weight"
    ].shape == (24, 2312)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--hardware.target=yin2017", "Did you mean yin2017-28nm?"),
        ("--data.root=nowhere", "no N-MNIST recording under"),
        ("--data.batch_size=0", "at least 1"),
        ("--model.decoding=counts", "decoding"),
        ("--trainer.max_epocs=3", "Did you mean --trainer.max_epochs?"),
        ("--model.netwrk.hidden=3", "Did you mean --model.network?"),
        ("--data.bach_size=3", "Did you mean batch_size?"),
        ("--data=NMNISTModule", "Did you mean NMNISTDataModule?"),
        ("--model.optimizer.lrr=3", "Did you mean lr?"),
    ],
)
def test_mistakes_end_in_a_short_error(
    folder: Path, override: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        code: Any = None
        try:
            code = launch("fit", override)
        except SystemExit as exit_:  # jsonargparse leaves this way
            code = exit_.code
    assert code == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
    assert len(err.splitlines()) < 15


def test_a_misspelt_section_of_a_recipe_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.yaml").write_text("trainr:\n  max_epochs: 3\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="2"):
        main(["fit", "-c", "mine.yaml"])
    assert capsys.readouterr().err.endswith("Did you mean trainer.max_epochs?\n")


def test_a_network_of_a_file_beside_the_recipe(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("beside_the_recipe.py").write_text(
        "from torch import nn\n"
        "import snnplug as sp\n\n\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, in_shape, num_classes):\n"
        "        super().__init__()\n"
        "        self.fc = nn.Linear(2312, num_classes)\n"
        "        self.out = sp.Leaky(beta=0.9)\n\n"
        "    def forward(self, frames):\n"
        "        return self.out.run(self.fc(frames.flatten(2)))[0]\n",
        encoding="utf-8",
    )
    overrides = ["--model.network=beside_the_recipe.Net", "--model.loss=CountCrossEntropy"]
    assert launch("fit", *overrides, "--trainer.max_epochs=1") == 0
    assert "nJ/inference" in capsys.readouterr().out
