"""The simulator from the command line: its spikes are torch's, its counts those of the price."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from snnplug.cli.main import main
from snnplug.cli.training import SnnplugCLI
from snnplug.hardware.counting import measure
from snnplug.hardware.memory_image import load_image
from snnplug.hardware.quantisation import quantise
from snnplug.hardware.simulator import simulate
from snnplug.hardware.target import load_target
from snnplug.layers.sequential import SpikingSequential
from snnplug.neurons.continuous_if import ContinuousIF
from snnplug.neurons.leaky import Leaky
from tests.cli.test_training import folder as folder
from tests.cli.test_training import launch, only_run

ME = "tests.cli.test_simulate"
TARGET: Any = load_target("yin2017-28nm")


class Net(SpikingSequential):
    """What a user would write in a file of their own."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(
            nn.Conv2d(1, 70, 3),
            nn.MaxPool2d(2),
            ContinuousIF(),
            nn.Flatten(),
            nn.Linear(280, 5),
            ContinuousIF(),
        )


def leaking() -> nn.Module:
    return SpikingSequential(nn.Linear(36, 5), Leaky(beta=0.9))


@pytest.fixture
def frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray[Any, Any]:
    monkeypatch.chdir(tmp_path)
    array = (np.random.default_rng(0).random((3, 7, 1, 6, 6)) < 0.3).astype(np.uint8)
    np.save("frames.npy", array)
    return array


def test_a_module_is_simulated_sample_by_sample(
    frames: np.ndarray[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["simulate", f"{ME}:Net", "--data", "frames.npy", "--images", "5", "--batch-size", "3"]
    assert main([*call, "--memories", "chip", "--json", "found.json"]) == 0
    out = capsys.readouterr().out
    assert "differs" not in out
    assert "equal to those of the quantised network in torch, 5 of 5 samples" in out
    assert "accuracy" not in out  # an array says no class
    found = json.loads(Path("found.json").read_text(encoding="utf-8"))
    assert found["is_exact"] is True
    assert (found["images"], found["labelled"]) == (5, 0)

    network = quantise(Net()).network
    five = torch.from_numpy(frames[:, :5]).float()
    with measure(network) as meter, torch.no_grad():
        expected = network(five)
    chip = load_image("chip")
    run = simulate(chip, TARGET, frames[:, :5])
    assert np.array_equal(run.spikes, expected.numpy())
    for layer, record in zip(chip.layers, meter.activity().synaptic, strict=True):
        counts = found["layers"][layer.name]
        assert counts["synaptic operations"]["simulated"] == record.synops
        assert counts["cycles"]["simulated"] == float(run.events[layer.name].cycles)
        assert counts["addresses"]["simulated"] == run.events[layer.name].addresses
    total = sum(c["cycles"]["closed_form"] for c in found["layers"].values())
    priced = TARGET.price(meter.activity()).latency_us * TARGET.datapath.clock_mhz * 5
    assert total == pytest.approx(priced, rel=1e-12)
    assert main([*call[:2], "--data", "frames.npy", "--images", "100"]) == 0
    assert "7 of 7 samples" in capsys.readouterr().out  # all that there are


def test_a_run_is_simulated_on_its_test_set(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch("fit", "--trainer.max_epochs=1", "--trainer.logger.init_args.id=one") == 0
    run = only_run(folder)
    capsys.readouterr()
    assert main(["simulate", str(run), "--images", "6", "--json", "found.json"]) == 0
    out = capsys.readouterr().out
    found = json.loads(Path("found.json").read_text(encoding="utf-8"))
    assert found["is_exact"] is True
    assert found["labelled"] == 6
    cli = SnnplugCLI(["--config", str(_without_logger(run))], run=False)
    weights = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    cli.model.load_state_dict(weights)
    cli.model.eval()
    cli.datamodule.setup("test")
    samples, labels, *_ = next(iter(cli.datamodule.test_dataloader()))
    with torch.no_grad():
        spk, _ = cli.model(samples)
    right = int((spk.sum(0).argmax(1)[:6] == labels[:6]).sum())
    assert found["right"]["trained"] == right
    assert f"{100 * right / 6:.2f} % as trained" in out
    assert found["right"]["chip"] == found["right"]["quantised"]


def _without_logger(run: Path) -> Path:
    import yaml

    content = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    for key in ("ckpt_path", "weights_only", "test_after_fit"):
        content.pop(key, None)
    content["trainer"] |= {"logger": False, "callbacks": None}
    path = Path("plain.yaml")
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_what_differs_is_said_and_gives_another_exit_code(
    frames: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(chip: Any, target: Any, given: Any) -> Any:
        run = simulate(chip, target, given)
        run.spikes[-1, 0, 0] ^= 1
        run.events["4"].addresses += 1
        return run

    monkeypatch.setattr("snnplug.cli.simulate.simulate", wrong)
    assert main(["simulate", f"{ME}:Net", "--data", "frames.npy", "--images", "2"]) == 1
    out = capsys.readouterr().out
    assert out.count("differs") == 1
    assert "DIFFER from" in out
    assert "0 of 2 samples" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([f"{ME}:Net", "--data", "frames.npy", "--images", "0"], "--images is 0"),
        ([f"{ME}:Net", "--data", "frames.npy", "--target", "odin-2019"], "of the family per_event"),
        ([f"{ME}:Net", "--data", "frames.npy", "--target", "yin"], "no hardware target 'yin'"),
        ([f"{ME}:Net", "--data", "grey.npy"], "values other than 0 and 1"),
        ([f"{ME}:leaking", "--data", "flat.npy"], "leaks with beta = 0.9"),
        ([f"{ME}:Net", "--data", "frames.npy", "--memories", "."], "is there already"),
        ([f"{ME}:Net"], "--data is missing"),
    ],
)
def test_what_cannot_be_simulated_says_why(
    args: list[str], message: str, frames: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("grey.npy", frames * 0.5)
    np.save("flat.npy", frames.reshape(3, 7, 36))
    assert main(["simulate", *args]) == 2
    assert message in capsys.readouterr().err
