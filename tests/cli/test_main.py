"""The command line: what needs no torch is quick, and errors say what to do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import snnplug
from snnplug.cli.main import main


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, timeout=120, check=False
    )


def test_importing_the_package_imports_neither_torch_nor_lightning() -> None:
    done = run("-X", "importtime", "-c", "import snnplug")
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "snnplug" in imported
    assert not {"torch", "lightning", "numpy", "snntorch", "tonic", "wandb"} & imported


@pytest.mark.parametrize(
    "args",
    [["--help"], ["--version"], ["recipes"], ["targets"], ["targets", "show", "yin2017-28nm"]],
)
def test_cheap_commands_do_not_import_torch(args: list[str]) -> None:
    done = run("-X", "importtime", "-m", "snnplug", *args)
    assert done.returncode == 0
    assert done.stdout
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert not {"torch", "lightning"} & imported


def test_help_answers_at_once() -> None:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        assert "usage: snnplug" in run("-m", "snnplug", "--help").stdout
        times.append(time.perf_counter() - start)
    assert min(times) < 0.5


def test_every_exported_name_is_there() -> None:
    for name in snnplug.__all__:
        assert getattr(snnplug, name) is not None
    assert set(snnplug.__all__) == set(dir(snnplug))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = snnplug.nothing


def test_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"snnplug {snnplug.__version__}\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["fitt"], "no command 'fitt'. Did you mean fit?"),
        (["recipes", "show", "quikstart"], "Did you mean quickstart?"),
        (["recipes", "list"], "usage is recipes"),
        (["targets", "show", "yin"], "no hardware target 'yin'"),
        (["targets", "list"], "usage is targets"),
        (["fit", "-c", "quikstart"], "no recipe 'quikstart'. Did you mean quickstart?"),
        (["fit", "--config=nowhere/mine.yaml"], "no recipe file nowhere/mine.yaml"),
    ],
)
def test_errors_are_one_line_with_the_nearest_match(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(args) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1


def test_targets_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "ls"]) == 0
    assert "yin2017-28nm" in capsys.readouterr().out
    assert main(["targets", "show", "yin2017-28nm"]) == 0
    assert "[provenance]" in capsys.readouterr().out


def test_doctor_says_whether_the_native_kernels_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"native kernels +(avx512|avx2|portable)\n", said)
    for package in ("nir", "onnx", "onnxruntime", "openvino", "poptorch"):
        assert re.search(rf"(?m)^{package} +(\d+\.\d+|not installed)", said)
    monkeypatch.setenv("SNNPLUG_NATIVE", "0")
    assert main(["doctor"]) == 0
    assert "no: switched off by SNNPLUG_NATIVE=0" in capsys.readouterr().out
    assert main(["doctor", "now"]) == 2


def test_recipes_are_listed_shown_and_copied(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["recipes"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("quickstart", "nmnist_snn_ct", "mnist_snn_dc"))
    assert main(["recipes", "show", "quickstart"]) == 0
    shown = capsys.readouterr().out
    assert main(["recipes", "cp", "quickstart", str(tmp_path)]) == 0
    assert (tmp_path / "quickstart.yaml").read_text(encoding="utf-8") == shown
    assert main(["recipes", "cp", "quickstart", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["recipes", "cp", "quickstart", str(tmp_path / "no" / "x.yaml")]) == 2
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.parametrize("args", [["targets"], ["recipes", "show", "quickstart"], ["--help"]])
def test_a_closed_pipe_is_no_error(args: list[str]) -> None:
    """As in `snnplug targets | head`, with a reader that is gone before the first line."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "snnplug", *args]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=120, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.fixture
def activity(tmp_path: Path) -> str:
    from snnplug.hardware.activity_file import save_activity
    from tests.hardware.test_sparse_digital import network

    return str(save_activity(network(31, 7, 3), tmp_path / "activity.json"))


def test_pricing_a_stored_activity_needs_no_torch(activity: str, tmp_path: Path) -> None:
    out = str(tmp_path / "bill.json")
    grid = ["--grid", "datapath.lanes=8,64", "--grid", "supply_v=0.6:0.9:4"]
    commands = (
        ["price", activity, "--json", out],
        ["price", activity, "--target", "odin-2019", "--target", "xylo-a2"],
        ["explore", activity, *grid, "--csv", str(tmp_path / "all.csv")],
    )
    for args in commands:
        done = run("-X", "importtime", "-m", "snnplug", *args)
        assert done.returncode == 0, done.stderr
        imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
        assert not {"torch", "lightning", "matplotlib"} & imported
    from snnplug.hardware.report import EnergyReport
    from snnplug.hardware.target import load_target
    from tests.hardware.test_sparse_digital import network

    bill = EnergyReport.from_json(Path(out).read_text(encoding="utf-8"))
    assert bill == load_target("yin2017-28nm").price(network(31, 7, 3))
    assert len((tmp_path / "all.csv").read_text(encoding="utf-8").splitlines()) == 1 + 2 * 4


def test_the_front_is_printed_and_drawn(
    activity: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    png = tmp_path / "front.png"
    grid = ["--grid", "datapath.lanes=8,64"]
    assert main(["explore", activity, *grid, "--png", str(png)]) == 0
    assert "points of yin2017-28nm are on the front" in capsys.readouterr().out
    assert png.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--grid", "datapath.lanes"], "write FIELD=16,32,64"),
        (["--grid", "supply_v=0.6:0.9:1"], "at least 2 values"),
        (["--grid", "supply_v=0.6:0.9"], "write FIELD=16,32,64"),
        (["--grid", "lanes=8"], "has no number lanes"),
        (["--grid", "supply_v=0.8", "--grid", "supply_v=0.9"], "names a field twice"),
    ],
)
def test_a_wrong_grid_is_one_line(
    args: list[str], message: str, activity: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explore", activity, *args]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1
