"""The report in a real browser: everything is there, can be read, and nothing is loaded."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

import pytest

from snnplug.cli.main import main
from tests.cli.test_report import KEY, write_run
from tests.support.browser import ask, needs_browser

pytestmark = needs_browser

# Opens the page in frames of two widths and measures what the browser has made of it.
_PROBE = """
const of = (root, what) => [...root.querySelectorAll(what)];
const inside = (small, big) => small.left >= big.left - 1 && small.right <= big.right + 1
  && small.top >= big.top - 1 && small.bottom <= big.bottom + 1;
addEventListener("load", () => {
  const answer = of(document, "iframe").map(frame => {
    const page = frame.contentDocument, style = frame.contentWindow.getComputedStyle(page.body);
    const texts = of(page, "svg text").filter(text => text.checkVisibility());
    return {
      overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
      loaded: frame.contentWindow.performance.getEntriesByType("resource").length,
      ink: style.color, paper: style.backgroundColor,
      smallest: Math.min(...texts.map(text =>
        parseFloat(frame.contentWindow.getComputedStyle(text).fontSize)
        * text.ownerSVGElement.getBoundingClientRect().width
        / text.ownerSVGElement.viewBox.baseVal.width)),
      outside: texts.filter(text => !inside(text.getBoundingClientRect(),
        text.ownerSVGElement.getBoundingClientRect())).map(text => text.textContent),
      cut: of(page, ".bars > span:not(.bar), h1, h4, .cards b").filter(
        text => text.checkVisibility() && text.scrollWidth > text.clientWidth + 1
        && text.clientWidth).map(text => text.textContent),
      bars: of(page, ".bar").filter(bar => bar.checkVisibility()).map(bar => [
        of(bar, "i").reduce((sum, part) => sum + part.getBoundingClientRect().width, 0)
        / bar.getBoundingClientRect().width, bar.nextElementSibling.textContent]),
      points: of(page, "circle").filter(point => point.checkVisibility()).length,
      charts: of(page, "svg.chart").filter(one => one.checkVisibility()).map(
        one => one.getBoundingClientRect().width),
      rasters: of(page, "svg.raster path").filter(one => one.checkVisibility()).map(
        one => one.getAttribute("d").split("M").length - 1),
      details: of(page, "details").length,
    };
  });
  document.getElementById("answer").textContent = JSON.stringify(answer);
});
"""


def look(folder: Path, page: str, is_dark: bool = False) -> list[dict[str, Any]]:
    """Return what is seen of a page in a narrow and in a wide window."""
    frames = "".join(
        f'<iframe width="{width}" height="900" srcdoc="{escape(page)}"></iframe>'
        for width in (360, 1280)
    )
    return ask(folder, f'<body>{frames}<pre id="answer"></pre><script>{_PROBE}</script>', is_dark)


def luminance(colour: str) -> float:
    """Return how bright ``rgb(r, g, b)`` is, as the web's rules of contrast count it."""
    parts = [int(part) / 255 for part in colour[4:-1].split(",")]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("names", [["20261126-064500-b802"], ["a", "a rather long name " * 4, "c"]])
def test_narrow_and_wide_light_and_dark(tmp_path: Path, names: list[str]) -> None:
    runs = [str(write_run(tmp_path / name.strip())) for name in names]
    out = tmp_path / "page.html"
    assert main(["report", *runs, "-o", str(out)]) == 0
    page = out.read_text(encoding="utf-8")
    seen = [*look(tmp_path, page), *look(tmp_path, page, is_dark=True)]
    for one in seen:
        assert one["overflow"] <= 0
        assert one["loaded"] == 0
        assert one["smallest"] > 9.5  # pixels: 7 points
        assert one["outside"] == []
        assert one["cut"] == []
        # Accuracy over energy, accuracy and energy of three epochs; loss was not logged.
        assert one["points"] == 3 * 3 * len(runs) + (1 if len(runs) == 1 else 0)
        assert one["rasters"] == [2, 1] * len(runs)
        bands = [luminance(one[part]) + 0.05 for part in ("ink", "paper")]
        assert max(bands) / min(bands) > 7
    for narrow, wide in (seen[:2], seen[2:]):
        assert (
            min(narrow["charts"]) > 300
        )  # of 360, less margins and a scroll bar: one below another
        assert wide["charts"][0] == wide["charts"][1] > 480  # side by side
    light, dark = (luminance(one["paper"]) for one in seen[1:3])
    assert light > 0.9
    assert dark < 0.05


def test_a_bar_is_as_long_on_the_screen_as_its_figure_says(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert main(["report", str(run)]) == 0
    _, wide = look(tmp_path, (run / "report.html").read_text(encoding="utf-8"))
    shown = [
        (share, float(text.removesuffix(" nJ").replace(",", "")))
        for share, text in wide["bars"]
        if text.endswith("nJ")
    ]
    assert len(shown) >= 6
    layers = shown[: len(shown) - 4]  # then the network beside three rivals
    for group in (layers, shown[-4:]):
        (longest, most) = max(group)
        assert longest == pytest.approx(1, abs=1e-3)
        for share, value in group:
            assert share == pytest.approx(value / most, rel=0.01, abs=0.002)


def test_large_figures_fit_into_their_cards(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    bill = json.loads((run / "hardware.json").read_text(encoding="utf-8"))
    bill |= {"synops": 2.6e12, "energy_nj": 1.2e9, "energy_nj_high": 2.3e9, "latency_us": 1e10}
    (run / "hardware.json").write_text(json.dumps(bill), encoding="utf-8")
    assert main(["report", str(run)]) == 0
    for one in look(tmp_path, (run / "report.html").read_text(encoding="utf-8")):
        assert one["cut"] == []
        assert one["overflow"] <= 0


def test_a_run_that_diverged_is_shown(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    lines = [f'{{"epoch": {e}, "val/loss": NaN, "val/acc": 0.1, "{KEY}": 5}}' for e in range(4)]
    (run / "metrics.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert main(["report", str(run)]) == 0
    narrow, _ = look(tmp_path, (run / "report.html").read_text(encoding="utf-8"))
    assert len(narrow["charts"]) == 4  # no chart of the loss, one of time steps
    assert narrow["outside"] == []
