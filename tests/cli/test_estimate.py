"""Counting a trained network from the command line: the counts are those of the run's own test."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from snnplug.cli.main import main
from snnplug.hardware.activity_file import load_activity
from snnplug.hardware.counting import measure
from snnplug.layers.sequential import SpikingSequential
from snnplug.neurons.continuous_if import ContinuousIF
from tests.cli.test_training import folder as folder
from tests.cli.test_training import launch, only_run


class Net(SpikingSequential):
    """What a user would write in a file of their own."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(nn.Linear(9, 20), ContinuousIF(), nn.Linear(20, 3), ContinuousIF())


needs_arguments = nn.Linear
number = 3
ME = "tests.cli.test_estimate"


@pytest.fixture
def frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    array = np.random.default_rng(0).random((5, 70, 9)) < 0.3
    np.save("frames.npy", array.astype(np.uint8))
    return "frames.npy"


def test_a_checkpoint_is_counted_as_in_its_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch("fit", "--trainer.max_epochs=1") == 0
    run = only_run(folder)
    runs = set(folder.rglob("*"))
    capsys.readouterr()
    assert main(["estimate", str(run), "--save-activity", "a.json", "--json", "bill.json"]) == 0
    said = capsys.readouterr()
    assert "nJ/inference" in said.out
    assert "Seed set" not in said.err  # no training begins
    assert "GPU available" not in said.err
    assert load_activity("a.json") == load_activity(run / "activity_test.json")
    bill, own = (
        json.loads(path.read_text(encoding="utf-8"))
        for path in (Path("bill.json"), run / "hardware_test.json")
    )
    assert bill == own
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    again = str(run / "recipe.yaml")
    assert main(["estimate", checkpoint, "--data", again, "--target", "odin-2019"]) == 0
    new = {path.name for path in set(folder.rglob("*")) - runs}
    assert new == {"a.json", "bill.json"}  # no run, no log, no partial file


def test_a_module_on_an_array_of_frames(frames: str, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(Net().state_dict(), "weights.pt")
    arguments = ["--data", frames, "--weights", "weights.pt", "--save-activity", "a.json"]
    assert main(["estimate", f"{ME}:Net", *arguments, "--batch-size", "32"]) == 0
    net = Net().eval()
    with measure(net) as meter, torch.no_grad():
        net(torch.from_numpy(np.load(frames)).float())
    assert load_activity("a.json") == meter.activity()
    assert meter.activity().samples == 70
    few = ["--max-batches", "1", "--batch-size", "32", "--save-activity", "few.json"]
    assert main(["estimate", f"{ME}:Net", "--data", frames, *few]) == 0
    assert load_activity("few.json").samples == 32
    out = capsys.readouterr().out
    assert "nJ/inference" in out
    assert "counting" not in out  # the progress bar goes to the error stream


def test_bills_are_drawn_where_asked(frames: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    asked = ["estimate", f"{ME}:Net", "--data", frames, "--save-activity", "a.json"]
    assert main([*asked, "--plots", "one"]) == 0
    both = ["--target", "yin2017-28nm", "--target", "odin-2019"]
    assert main(["price", "a.json", *both, "--plots", "two"]) == 0
    drawn = {str(path.relative_to(tmp_path)): path for path in tmp_path.rglob("*.png")}
    assert set(drawn) == {"one/layers.png", "one/rivals.png", "two/comparison.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn.values())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere"], "no checkpoint, no folder of a run and no MODULE:NAME"),
        ([f"{ME}:Net"], "--data is missing"),
        ([f"{ME}:Nett", "--data", "frames.npy"], "cannot import"),
        ([f"{ME}:number", "--data", "frames.npy"], "it has to be a torch module"),
        ([f"{ME}:needs_arguments", "--data", "frames.npy"], "cannot be called without arguments"),
        ([f"{ME}:Net", "--data", "none.npy"], "there is no file none.npy"),
        ([f"{ME}:Net", "--data", "text.npy"], "no array that numpy can map"),
        ([f"{ME}:Net", "--data", "frames.npy", "--batch-dim", "5"], "an axis 5 of samples"),
        ([f"{ME}:Net", "--data", "frames.npy", "--batch-size", "0"], "has to be at least 1"),
        ([f"{ME}:Net", "--data", "frames.npy", "--weights", "text.npy"], "do not fit"),
        ([f"{ME}:Net", "--data", "frames.npy", "--weights", "none.pt"], "there is no file"),
        ([f"{ME}:Net", "--data", "frames.npy", "--target", "yin"], "no hardware target 'yin'"),
        ([f"{ME}:Net", "--data", "quikstart"], "Did you mean quickstart?"),
        (["text.npy", "--data", "frames.npy"], "to build the network from"),
    ],
)
def test_what_cannot_be_estimated_says_why(
    args: list[str], message: str, frames: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("text.npy").write_text("no array", encoding="utf-8")
    assert main(["estimate", *args]) == 2
    assert message in capsys.readouterr().err


def test_weights_that_hold_more_than_tensors_are_refused(
    frames: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(Net(), "pickle.pt")
    assert main(["estimate", f"{ME}:Net", "--data", frames, "--weights", "pickle.pt"]) == 2
    assert "do not fit" in capsys.readouterr().err
