"""The page about a run: it says what the files say, and asks the network for nothing."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from snnplug.cli.axis import Axis, linear, spread, whole
from snnplug.cli.main import main
from snnplug.cli.report_html import Bar, bars
from snnplug.cli.svg import Point, chart, raster
from snnplug.hardware.activity_file import save_activity
from snnplug.hardware.target import load_target
from tests.hardware.test_sparse_digital import network

ACTIVITY = network(31, 7, 3)
KEY = "hardware/yin2017_28nm/energy_nj"
SPIKES = [
    {"name": "fc", "neurons": 6, "num_steps": 4, "every": 2, "step": [0, 3], "neuron": [0, 4]},
    {"name": "out", "neurons": 3, "num_steps": 4, "every": 1, "step": [1], "neuron": [2]},
]


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
    (folder / "spikes.json").write_text(json.dumps({"layers": SPIKES}), encoding="utf-8")
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
        assert not any(key.startswith("on") for key, _ in attrs)
        if tag not in ("meta", "wbr"):
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
    assert f"<b>{report.energy_nj:.3g}</b>nJ per inference" in text
    assert report.statement in text
    for part, value in report.parts_nj.items():
        assert f"<td>{part}</td><td>{value:,.3f}</td>" in text
    for layer in report.layers:
        assert f"<td>{layer.name.replace('.', '.<wbr>')}</td><td>{layer.kind}</td>" in text
    assert text.count("<circle") == 10  # three charts of three epochs, one of one num_steps
    assert "Time steps" in text
    assert "default-src 'none'" in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    for picture in re.findall(r"<svg.*?</svg>", text):
        ElementTree.fromstring(picture)


def report(tmp_path: Path, *runs: Path | str) -> str:
    out = tmp_path / "all.html"
    assert main(["report", *map(str, runs), "-o", str(out)]) == 0
    return out.read_text(encoding="utf-8")


def test_several_runs_and_targets_without_energy(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, name) for name in ("yin2017-28nm", "xylo-a2", "odin-2019")]
    text = report(tmp_path, *runs)
    assert "<h1>3 runs compared</h1>" in text
    assert text.count('<details class="run">') == len(runs)
    assert "different targets" in text
    page = Page()
    page.feed(text)
    assert page.open == []


def test_only_targets_without_energy(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, "xylo-a2") for name in ("a", "b")]
    for text in (report(tmp_path, *runs), report(tmp_path, runs[0])):
        assert "Energy per inference" not in text
        assert "<circle" in text


def test_what_differs_between_recipes_is_told_and_nothing_else(tmp_path: Path) -> None:
    one, two = (write_run(tmp_path / name) for name in ("one", "two"))
    assert "do not differ" in report(tmp_path, one, two)
    recipe = "model: {lr: %s, hidden: [%s]}\nckpt_path: %s\nseed: 0\n"
    (one / "recipe.yaml").write_text(recipe % (0.1, 64, "null"), encoding="utf-8")
    (two / "recipe.yaml").write_text(recipe % (0.1, "8, 9", "last"), encoding="utf-8")
    (table,) = re.findall(r'<table class="fields">(.*?)</table>', report(tmp_path, one, two))
    rows = re.findall(
        r"<tr><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td></tr>", table.replace("<wbr>", "")
    )
    assert rows == [("model.hidden", "64", "8, 9")]


def test_runs_of_one_name_are_told_apart_and_may_be_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
    one, two = (write_run(tmp_path / name / "run") for name in ("x", "y"))
    text = report(tmp_path, one, two)
    assert "<summary>x/run</summary>" in text
    assert "<summary>y/run</summary>" in text
    text = report(tmp_path, f"narrow={one}", f"wide={two}")
    assert "<summary>narrow</summary>" in text
    assert "<summary>wide</summary>" in text
    assert main(["report", str(one), str(one)]) == 2
    assert "given twice" in capsys.readouterr().err
    with_sign = write_run(tmp_path / "lr=0.1")
    assert "<h1>lr=0.1</h1>" in report(tmp_path, with_sign)


def test_the_bill_of_the_test_set_stands_beside_its_accuracy(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert "test accuracy" not in report(tmp_path, run).replace("test accuracy, %", "")
    bill = (run / "hardware.json").read_text(encoding="utf-8")
    (run / "hardware_test.json").write_text(bill, encoding="utf-8")
    (run / "metrics_test.json").write_text('{"test/acc": 0.875}', encoding="utf-8")
    assert "<b>87.50 %</b>test accuracy" in report(tmp_path, run)
    assert f"{ACTIVITY.samples} samples of the test set" in report(tmp_path, run)


def test_points_are_filled_where_no_other_one_is_better(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    figures = [(0.9, 10), (0.8, 20), (0.95, 30), (0.9, 30)]
    lines = [json.dumps({"epoch": e, "val/acc": a, KEY: nj}) for e, (a, nj) in enumerate(figures)]
    (run / "metrics.jsonl").write_text("\n".join(lines), encoding="utf-8")
    front = re.search(r"<svg.*?</svg>", report(tmp_path, run))
    assert front is not None
    assert re.findall(r"fill:var\(--(c|paper)", front[0]) == ["c", "paper", "c", "paper"]


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
        ("metrics.jsonl", '{"val/acc": 1}', "no epoch"),
        ("metrics.jsonl", '{"epoch": 0, "val/acc": "high"}', "val/acc is 'high'"),
        ("num_steps.json", "[", "is damaged"),
        ("num_steps.json", "{}", "no list"),
        ("num_steps.json", '[{"num_steps": "1"}]', "not a number"),
        ("spikes.json", "{}", "is damaged"),
        ("spikes.json", json.dumps({"layers": [SPIKES[0] | {"step": [4, 0]}]}), "outside"),
        ("spikes.json", json.dumps({"layers": [SPIKES[0] | {"step": [0]}]}), "is damaged"),
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
    a, b = Bar("a", {"x": 1.0, "y": 1.0}), Bar("b", {"x": 2.0, "y": 0.0})
    picture = bars([a, b], "nJ", ["x", "y"])
    widths = [float(w) for w in re.findall(r'<i style="width:([\d.]+)%', picture)]
    assert widths == pytest.approx([50, 50, 100])  # the parts of a, then b
    banded = bars([a, Bar("c", {"": 1.0}, band=(0.5, 4.0))], "nJ", ["x", "y"])
    widths = [float(w) for w in re.findall(r'<i style="width:([\d.]+)%', banded)]
    assert widths == pytest.approx([25, 25, 25])
    assert 'style="left:12.500%;width:87.500%"' in banded
    assert "<i" not in bars([Bar("a", {"x": 0.0})], "nJ", ["x"])


@pytest.mark.parametrize("axis", [linear, whole])
@pytest.mark.parametrize("ys", [[0.5, 0.5], [0.1, 0.9], [0.0, 0.0], [1e-12, 2e9], [3.0]])
def test_points_lie_inside_the_frame_in_proportion(
    ys: list[float], axis: Callable[..., Axis]
) -> None:
    points = [Point(float(x), y) for x, y in enumerate([*ys, float("nan")])]
    picture = chart({"": points}, "y", "x", axis)
    places = [
        (float(across), float(up))
        for across, up in re.findall(r'cx="([\d.-]+)" cy="([\d.-]+)"', picture)
    ]
    assert len(places) == len(ys)
    frame = re.findall(r'<line x1="(\d+)" x2="(\d+)" y1="([\d.]+)"', picture)
    heights = [float(y) for *_, y in frame]
    for across, up in places:
        assert float(frame[0][0]) <= across <= float(frame[0][1])
        assert min(heights) <= up <= max(heights)
    labels = re.findall(r'text-anchor="end" class="">([^<]+)</text>', picture)[:-1]
    low, high = (float(labels[place].replace(",", "")) for place in (0, -1))
    for (_, up), y in zip(places, ys, strict=True):
        share = (max(heights) - up) / (max(heights) - min(heights))
        assert low + share * (high - low) == pytest.approx(y, abs=0.01 * (high - low))


def test_far_energies_lie_on_a_logarithmic_axis() -> None:
    axis = spread([3.0, 40.0, 700.0])
    assert list(axis.ticks) == [2, 5, 10, 20, 50, 100, 200, 500, 1000]
    for one, two in ((3.0, 6.0), (40.0, 80.0)):
        doubled = axis.share(two) - axis.share(one)
        assert doubled == pytest.approx(math.log(2) / math.log(500))
    for values in ([0.0, 700.0], [-1.0, 50.0], [100.0, 700.0], [5.0]):
        assert not spread(values).is_log
    wide = spread([1e-9, 3e6])
    assert [math.log10(tick) for tick in wide.ticks] == pytest.approx(range(-9, 8))
    points = [Point(3, 1), Point(700, 2)]
    assert "nJ, log scale" in chart({"": points}, "y", "nJ", spread)


def test_the_front_is_a_line_of_steps_through_its_points() -> None:
    points = [Point(0, 0), Point(10, 1), Point(20, 4)]
    picture = chart({"": points}, "y", "x", front=[(0, 0), (20, 4)])
    places = re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', picture)
    (start, _, end) = places
    assert f'd="M{start[0]} {start[1]}H{end[0]}V{end[1]}H' in picture


def test_a_chart_without_a_finite_point_is_none() -> None:
    assert chart({"a": [], "b": [Point(0, float("inf"))]}, "y", "x") == ""


def test_a_raster_has_a_mark_where_a_neuron_spikes() -> None:
    picture = raster(SPIKES)
    marks = [
        [(int(float(step)), float(row)) for step, row in re.findall(r"M([\d.]+) ([\d.]+)h", path)]
        for path in re.findall(r'<path d="(.*?)"', picture)
    ]
    assert marks == [[(0, 0.5), (3, 2.5)], [(1, 2.5)]]  # of the first layer every second neuron
    assert re.findall(r'viewBox="0 0 (\d+) (\d+)"', picture) == [("4", "3"), ("4", "3")]
    assert "1 of 2 of 6 neurons, 2 spikes" in picture
