"""``snnplug data``: lists, describes, packs and draws."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from snnplug.cli.main import main
from snnplug.data.packing import pack
from snnplug.data.registry import DATASETS
from tests.support.events import random_events, write_nmnist


@pytest.fixture
def file(tmp_path: Path) -> Path:
    events = random_events(400)
    events["x"], events["y"] = 17, 0
    events["t"] = np.arange(400) * 100
    path = tmp_path / "a.events"
    pack([(events, 3), (random_events(0), 1)], path, (34, 34, 2), {"name": "two"}, "two")
    return path


def test_ls_and_info_name_every_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data"]) == 0
    listed = capsys.readouterr().out
    for name, info in DATASETS.items():
        assert name in listed
        assert main(["data", "info", name]) == 0
        assert info.licence in capsys.readouterr().out


def test_info_of_a_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "info", str(file), "--verify"]) == 0
    out = capsys.readouterr().out
    for expected in ("2, ", "0 to 400, 400 in all", "1: 1, 3: 1", "39.9 ms", "all right"):
        assert expected in out
    file.write_bytes(file.read_bytes()[:-9])
    assert main(["data", "info", str(file)]) == 2
    assert "no whole event store" in capsys.readouterr().err


def test_view_draws_the_events_where_they_are(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "view", str(file), "--frames", "2"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "recording 0: class 3, 400 events in 39.9 ms"
    top = out[2]
    # Two frames of 34 columns; all events are in the middle of the first row of each.
    assert [k for k, shade in enumerate(top) if shade != " "] == [17, 35 + 17]
    assert not "".join(out[3:19]).strip()
    assert main(["data", "view", str(file), "--index", "1"]) == 0
    assert "0 events" in capsys.readouterr().out
    assert main(["data", "view", str(file), "--index", "2"]) == 2


def test_view_writes_a_picture(file: Path, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    assert main(["data", "view", str(file), "--out", str(picture)]) == 0
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert main(["data", "view", str(file), "--out", str(tmp_path / "no" / "a.png")]) == 2
    assert main(["data", "view", str(file), "--out", str(tmp_path / "a.xyz")]) == 2


def test_pack_and_view_of_a_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(write_nmnist(tmp_path))
    assert main(["data", "pack", "nmnist", "--root", root]) == 0
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert "40 recordings" in first
    assert "20 recordings" in second
    assert Path(second.split()[-1]).is_file()
    assert main(["data", "view", "nmnist", "--root", root, "--test", "--index", "2"]) == 0
    assert "recording 2: class 1, 300 events" in capsys.readouterr().out


def test_what_cannot_be_packed_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for args in (["pack", "mnist"], ["pack", "neuromorse", "--root", "x"], ["info", "nmist"]):
        assert main(["data", *args]) == 2
        assert "snnplug: " in capsys.readouterr().err


def test_files_are_answered_without_torch(file: Path) -> None:
    code = (
        "import sys; from snnplug.cli.main import main;"
        f"assert main(['data']) == main(['data', 'info', {str(file)!r}]) == 0;"
        f"assert main(['data', 'view', {str(file)!r}]) == 0;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True)
