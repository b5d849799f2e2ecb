"""Exporting from the command line: files that hold the run's network, and errors that say why."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import snnplug as sp
from snnplug.backends.export import (
    NIRResetWarning,
    onnx_file,
    openvino_files,
    program,
    read_nir,
)
from snnplug.backends.export.onnx_file import save_onnx
from snnplug.backends.export.program import traced_program
from snnplug.backends.ipu import load_weights
from snnplug.cli import export
from snnplug.cli.check_ipu import example
from snnplug.cli.export import FORMATS, write
from snnplug.cli.main import main
from snnplug.cli.recipes import packaged_recipes
from snnplug.cli.trained import built, built_from
from snnplug.errors import ArgumentError
from tests.cli.test_training import folder as folder
from tests.cli.test_training import launch, only_run

ME = "tests.cli.test_export"


class Net(sp.SpikingSequential):
    """What a user would write in a file of their own."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(
            nn.Linear(9, 20), sp.DiscontinuousIF(0.2), nn.Linear(20, 3), sp.DiscontinuousIF(0.2)
        )


def pooled() -> nn.Module:
    return sp.SpikingSequential(nn.MaxPool2d(2), sp.Leaky(beta=0.9))


@pytest.fixture
def frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray[Any, Any]:
    monkeypatch.chdir(tmp_path)
    array = (np.random.default_rng(0).random((5, 11, 9)) < 0.3).astype(np.uint8)
    np.save("frames.npy", array)
    return array


@pytest.mark.parametrize(
    ("to", "written"),
    [
        ("nir", ["Net.nir"]),
        ("onnx", ["Net.onnx"]),
        ("pt2", ["Net.pt2"]),
        ("openvino", ["Net.bin", "Net.xml"]),
        ("sanafe", ["Net_sanafe"]),
    ],
)
def test_a_module_becomes_a_file_that_was_compared(
    to: str, written: list[str], frames: np.ndarray[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", f"{ME}:Net", "--to", to, "--data", "frames.npy"]) == 0
    out = capsys.readouterr().out
    if to == "sanafe":
        assert "simulate 7 steps" in out
    else:
        assert "120 outputs of the example compared: all equal" in out
    assert sorted(p.name for p in Path().iterdir()) == sorted(["frames.npy", *written])


def test_without_data_a_shape_stands_for_them(
    frames: np.ndarray[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    net = Net()
    net[0].weight.data += 0.01
    torch.save(net.state_dict(), "weights.pt")
    shape = ["--in-shape", "9", "--num-steps", "4", "--weights", "weights.pt"]
    assert main(["export", f"{ME}:Net", "--to", "nir", "--out", "new/net.nir", *shape]) == 0
    assert capsys.readouterr().out.startswith("new/net.nir\n24 outputs")
    x = torch.from_numpy(frames).float()
    with torch.no_grad():
        assert torch.equal(read_nir("new/net.nir")(x), net(x))


def test_a_run_becomes_a_bundle_and_a_graph(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch("fit", "--trainer.max_epochs=1", "--model.network.hidden=[12]") == 0
    run = str(only_run(folder))
    before = set(folder.rglob("*"))
    capsys.readouterr()
    assert main(["export", run, "--to", "ipu", "--out", "bundle"]) == 0
    assert "verdict: passes static checks" in capsys.readouterr().out
    assert main(["export", run, "--to", "ipu", "--out", "bundle"]) == 2
    assert "bundle is not empty; name a new folder" in capsys.readouterr().err
    spec = json.loads(Path("bundle/spec.json").read_text(encoding="utf-8"))
    assert (spec["num_steps"], spec["batch_size"]) == (4, 32)
    assert spec["loss"] == {"kind": "SquaredHinge", "arguments": {"shift": 0.5}}
    assert spec["optimizer"] == {"kind": "Adam", "arguments": {"lr": 0.001}}

    checkpoint = str(Path(run, "checkpoints", "best.ckpt"))
    assert main(["export", checkpoint, "--to", "nir", "--out", "net.nir"]) == 0
    out = capsys.readouterr().out
    assert "compared: all equal" in out
    assert "a spike sets NIR's membrane to 0, theirs not" in out
    strict = ["export", run, "--to", "nir", "--out", "strict.nir", "--strict"]
    assert main(strict) == 2
    assert "reset_mechanism='zero'" in capsys.readouterr().err

    assert main(["check-ipu", run, "--num-steps", "2", "--json", "verdict.json"]) == 0
    out = capsys.readouterr().out
    assert "verdict: passes static checks" in out
    assert "nothing was run on an IPU" in out
    verdict = json.loads(Path("verdict.json").read_text(encoding="utf-8"))
    assert verdict["verdict"] == "passes static checks"
    assert verdict["findings"] == []
    assert verdict["operators"]["linear"] == 2
    assert verdict["form"] == "portable, as in a bundle"

    found = built(parsed(run))
    weights = {k: v.clone() for k, v in found.network.state_dict().items()}
    for parameter in found.network.parameters():
        parameter.data.zero_()
    load_weights(found.network, "bundle/weights.safetensors")
    assert all(torch.equal(v, weights[k]) for k, v in found.network.state_dict().items())
    new = {p.relative_to(folder).parts[0] for p in set(folder.rglob("*")) - before}
    assert new == {"bundle", "net.nir", "verdict.json"}


def parsed(network: str) -> Any:
    import argparse

    return argparse.Namespace(network=network, weights=None)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--to", "onx", "--data", "frames.npy"], "no format 'onx'. Did you mean onnx?"),
        (["--to", "nir"], "--data is missing"),
        (["--to", "nir", "--data", "none.npy"], "there is no file none.npy"),
        (["--to", "nir", "--in-shape", "9"], "give sizes as 2,34,34 and a number of time steps"),
        (["--to", "nir", "--in-shape", "a", "--num-steps", "3"], "give sizes as 2,34,34"),
        (["--to", "nir", "--in-shape", "9", "--num-steps", "0"], "give sizes as 2,34,34"),
        (["--to", "ipu", "--data", "frames.npy"], "a bundle trains: give a run"),
        (["--to", "nir", "--data", "frames.npy", "--out", "net.h5"], "has to end in .nir"),
        (["--to", "sanafe", "--data", "frames.npy", "--sample", "11"], "sample 11 of frames"),
    ],
)
def test_what_cannot_be_exported_says_why(
    args: list[str],
    message: str,
    frames: np.ndarray[Any, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["export", f"{ME}:Net", *args]) == 2
    assert message in capsys.readouterr().err
    assert [p.name for p in Path().iterdir()] == ["frames.npy"]


def test_a_layer_that_a_format_does_not_have_is_named(
    frames: np.ndarray[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    shape = ["--in-shape", "1,4,4", "--num-steps", "3"]
    assert main(["export", f"{ME}:pooled", "--to", "nir", *shape]) == 2
    error = capsys.readouterr().err
    assert "0 (MaxPool2d): NIR has no maximum; train with nn.AvgPool2d, or export as onnx" in error


def where_recipes_go() -> dict[str, dict[str, bool]]:
    """Return the table of docs/how-to/export.md: which formats take which recipe."""
    text = Path("docs/how-to/export.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    formats, found = [], {}
    for first, *cells in rows:
        if first.strip() == "recipes":
            formats = [cell.strip(" `") for cell in cells]
        elif formats:
            takes = [cell.strip() == "yes" for cell in cells]
            for name in re.findall(r"`(\w+)`", first):
                found[name] = dict(zip(formats, takes, strict=True))
    return found


GOES = where_recipes_go()
#: One of each kind of network is written in the formats that torch traces for.
TRACED = (
    "mnist_snn_dc", "mnist_energy_budget", "ntidigits_rsnn", "mnist_hm2bp_cnn", "ntidigits_st_rsbp",
)  # fmt: skip
FORMS = ("onnx", "pt2", "openvino")


def test_the_table_has_every_recipe_and_format() -> None:
    assert GOES.keys() == packaged_recipes().keys()
    assert {tuple(row) for row in GOES.values()} == {tuple(FORMATS)}
    kinds = [{tuple(GOES[name][to] for to in FORMS) for name in some} for some in (TRACED, GOES)]
    assert kinds[0] == kinds[1]


@pytest.fixture
def traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trace and write the ONNX file once for all formats."""
    made: dict[str, Any] = {}

    def traced(network: nn.Module, frames: torch.Tensor) -> Any:
        if "program" not in made:
            made["program"] = traced_program(network, frames)
        return made["program"]

    def saved(path: Path, network: nn.Module, frames: torch.Tensor) -> torch.Tensor:
        if "onnx" not in made:
            expected = save_onnx(path, network, frames)
            made["onnx"] = path.read_bytes(), expected
        content, expected = made["onnx"]
        path.write_bytes(content)
        return expected

    for module in (program, onnx_file):
        monkeypatch.setattr(module, "traced_program", traced)
    for module in (onnx_file, openvino_files):
        monkeypatch.setattr(module, "save_onnx", saved)
    monkeypatch.setattr(export, "batch_size_of", lambda _: 2)


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize("name", packaged_recipes())
def test_a_recipe_goes_where_the_table_says_or_is_refused_by_the_name_of_a_layer(
    name: str, tmp_path: Path
) -> None:
    subject = built_from(packaged_recipes()[name])
    subject.model.eval()
    frames, *_ = example(subject, num_steps=12 if "bp" in name else 4, batch_size=2)
    for to, takes in GOES[name].items():
        if to in FORMS and name not in TRACED:
            continue
        given = parsed(name)
        given.to, given.out = to, str(tmp_path / f"net_{to}{FORMATS[to]}")
        given.strict, given.sample = False, 0
        if takes:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NIRResetWarning)
                assert write(subject, frames, given).differing == 0, to
            assert Path(given.out).exists()
        else:
            with pytest.raises(
                ArgumentError, match=r"MaxPool2d|SpikeTrain\w+|R?Leaky|layer of neurons"
            ):
                write(subject, frames, given)
            assert not list(tmp_path.glob(f"net_{to}*"))
