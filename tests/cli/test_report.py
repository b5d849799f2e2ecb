"""The page about a run: it says what the files say, and asks the network for nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from snnplug.cli import svg
from snnplug.cli.main import main
from snnplug.hardware.activity_file import save_activity
from snnplug.hardware.target import load_target
from tests.hardware.test_sparse_digital import network

ACTIVITY = network(31, 7, 3)
KEY = "hardware/yin2017_28nm/energy_nj"


def write_run(folder: Path, target: str = "yin2017-28nm") -> Path:
    folder.mkdir()
    report = load_target(target).price(ACTIVITY)
    (folder / "hardware.json").write_text(report.to_json(), encoding="utf-8")
    save_activity(ACTIVITY, folder / "activity.json")
    rows = [{"epoch": e, "val/acc": 0.5 + e / 10, KEY: 40.0 - e} for e in range(3)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
    (folder / "recipe.yaml").write_text("a: <script>alert(1)</script>\n", encoding="utf-8")
    points = [{"num_steps": 1, "test_acc": 0.5, "energy_nj": 10.0, "latency_us": None}]
    (folder / "num_steps.json").write_text(json.dumps(points), encoding="utf-8")
    return folder


class Page(HTMLParser):
    """Collects tags and attributes, and checks that tags close in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for key, value in attrs if key in ("src", "href", "xlink:href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_holds_the_bill_and_loads_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "one & only")
    assert main(["report", str(run)]) == 0
    path = run / "report.html"
    assert capsys.readouterr().out.strip() == str(path)
    text = path.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert not page.links
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not re.search(r"url\(|@import", text)
    assert "&lt;script&gt;" in text
    assert "one &amp; only" in text
    report = load_target("yin2017-28nm").price(ACTIVITY)
    assert f"{report.energy_nj:,.2f}" in text
    assert report.statement in text
    for part, value in report.parts_nj.items():
        assert f"<td>{part}</td><td>{value:,.3f}</td>" in text
    for layer in report.layers:
        assert f"<td>{layer.name}</td><td>{layer.kind}</td>" in text
    assert text.count("<circle") == 3
    assert "Time steps" in text
    for picture in re.findall(r"<svg.*?</svg>", text):
        ElementTree.fromstring(picture)


def test_several_runs_and_targets_without_energy(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, name) for name in ("yin2017-28nm", "xylo-a2", "odin-2019")]
    out = tmp_path / "all.html"
    assert main(["report", *map(str, runs), "-o", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    assert "Side by side" in text
    assert text.count("<h2>") == 1 + len(runs)
    page = Page()
    page.feed(text)
    assert page.open == []


def test_page_needs_no_torch(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    command = [sys.executable, "-X", "importtime", "-m", "snnplug", "report", str(run)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert not {"torch", "lightning", "matplotlib"} & imported


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("hardware.json", "{", "not JSON"),
        ("hardware.json", None, "holds no hardware.json"),
        ("activity.json", "{}", "holds no activity"),
        ("metrics.jsonl", "{", "is damaged"),
        ("metrics.jsonl", "3", "is damaged"),
        ("num_steps.json", "[", "is damaged"),
    ],
)
def test_damaged_runs_say_why(
    tmp_path: Path,
    name: str,
    content: str | None,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = write_run(tmp_path / "run")
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_text(content, encoding="utf-8")
    assert main(["report", str(run)]) == 2
    assert message in capsys.readouterr().err
    assert not (run / "report.html").exists()


def test_bars_are_as_long_as_their_values() -> None:
    picture = svg.bars(["a", "b"], {"x": [1.0, 2.0], "y": [1.0, 0.0]}, "nJ")
    widths = [float(w) for w in re.findall(r'<rect [^>]*width="([\d.]+)"', picture)]
    assert widths == pytest.approx([260, 260, 520])  # the parts of a, then b
    nothing = svg.bars(["a"], {"x": [0.0]}, "nJ")
    assert "<rect" not in nothing


@pytest.mark.parametrize("ys", [[0.5, 0.5], [0.1, 0.9], [0.0, 0.0], [1e-12, 2e9]])
def test_points_lie_inside_the_frame(ys: list[float]) -> None:
    data = [(float(x), y, "") for x, y in enumerate(ys)]
    picture = svg.points(data, "x", "y")
    for across, up in re.findall(r'cx="([\d.-]+)" cy="([\d.-]+)"', picture):
        assert 70 <= float(across) <= 670
        assert 10 <= float(up) <= 270
