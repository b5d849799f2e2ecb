"""The pictures of a report, as SVG text: charts and rasters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import floor, isfinite, log10
from typing import Any

from snnplug.cli.report_html import figure
from snnplug.cli.report_style import colour

# Of a chart, in units that are about a pixel where two stand side by side.
_LEFT, _TOP, _WIDTH, _HEIGHT, _MARGIN = 54, 30, 350, 200, 22


@dataclass(frozen=True)
class Point:
    """A point of a chart: where it lies, what the pointer shows, and whether it is filled."""

    x: float
    y: float
    hover: str = ""
    is_filled: bool = True


def chart(
    series: Mapping[str, Sequence[Point]],
    title: str,
    x_name: str,
    radius: float = 4,
    is_whole: bool = False,
) -> str:
    """Return points joined in their order, a colour for each series; nothing without a point.

    Args:
        series: Name and points; one that is not finite, as of a run that diverged, is left out.
        title: What y is.
        x_name: What x is.
        radius: Of a point.
        is_whole: Whether x counts something.
    """
    shown = {
        name: [p for p in points if isfinite(p.x) and isfinite(p.y)]
        for name, points in series.items()
    }
    every = [p for points in shown.values() for p in points]
    if not every:
        return ""
    x_axis = _ticks([p.x for p in every], 1.0 if is_whole else 0.0)
    y_axis = _ticks([p.y for p in every])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_axis[0]) / (x_axis[-1] - x_axis[0])
        up = (y - y_axis[0]) / (y_axis[-1] - y_axis[0])
        return _LEFT + across * _WIDTH, _TOP + (1 - up) * _HEIGHT

    bottom, right = _TOP + _HEIGHT, _LEFT + _WIDTH
    body = [_text(2, 15, title, "start", "title")]
    for tick, label in zip(y_axis, _labels(y_axis), strict=True):
        y = place(x_axis[0], tick)[1]
        body.append(f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" class="rule"/>')
        body.append(_text(_LEFT - 6, y + 4, label, "end"))
    for tick, label in zip(x_axis, _labels(x_axis), strict=True):
        body.append(_text(place(tick, y_axis[0])[0], bottom + 17, label, "middle"))
    body.append(_text(right, bottom + 34, x_name, "end"))
    for index, points in enumerate(shown.values()):
        body.append(_line(index, [(p, *place(p.x, p.y)) for p in points], radius))
    size = f"0 0 {right + _MARGIN} {bottom + 40}"
    said = escape(f"{title}, over {x_name}", quote=True)
    return _svg(size, body, f'class="chart" aria-label="{said}"')


def raster(layers: Sequence[Mapping[str, Any]]) -> str:
    """Return when each neuron spikes: time steps across, the layers one below another.

    Args:
        layers: What :func:`snnplug.callbacks.spike_record.record` gives for each.
    """
    if not layers:
        return ""
    rows, steps = [], max(layer["num_steps"] for layer in layers)
    for index, layer in enumerate(layers):
        kept = -(-layer["neurons"] // layer["every"])
        marks = "".join(
            f"M{step + 0.08:.2f} {neuron // layer['every'] + 0.5:g}h.84"
            for step, neuron in zip(layer["step"], layer["neuron"], strict=True)
        )
        path = f'<path d="{marks}" style="stroke:{colour(index)};stroke-width:.84"/>'
        height = min(max(5.0 * kept, 40.0), 160.0)
        share = f"1 of {layer['every']} of " if layer["every"] > 1 else ""
        said = f"{share}{layer['neurons']:,} neurons, {len(layer['step']):,} spikes"
        form = (
            f'class="raster" preserveAspectRatio="none" style="height:{height:.0f}px" '
            f'aria-label="{escape(layer["name"], quote=True)}: {said}"'
        )
        rows.append(
            f"<figcaption>{escape(layer['name'])} <span>{said}</span></figcaption>"
            + _svg(f"0 0 {steps} {kept}", [path], form)
        )
    apart = -(-steps // 8)
    ticks = "".join(
        f'<span style="left:{100 * (step + 0.5) / steps:.2f}%">{step}</span>'
        for step in range(0, steps, apart)
    )
    return (
        f'<figure>{"".join(rows)}<div class="ticks">{ticks}</div>'
        '<div class="axis">time step</div></figure>'
    )


def _line(index: int, points: Sequence[tuple[Point, float, float]], radius: float) -> str:
    """Return the points of one series and what joins them; after eight series in dashes."""
    shade = colour(index)
    dashes = ";stroke-dasharray:5 3" if index >= 8 else ""
    route = " ".join(f"{across:.1f},{down:.1f}" for _, across, down in points)
    tone = "route faint" if radius > 2 else "route"
    drawn = [f'<polyline points="{route}" class="{tone}" style="stroke:{shade}{dashes}"/>']
    for p, across, down in points:
        fill = shade if p.is_filled else "var(--paper,#fff)"
        drawn.append(
            f'<circle cx="{across:.1f}" cy="{down:.1f}" r="{radius:g}" '
            f'style="fill:{fill};stroke:{shade};stroke-width:1.5">'
            f"<title>{escape(p.hover)}</title></circle>"
        )
    return "".join(drawn)


def _ticks(values: Sequence[float], least: float = 0.0) -> list[float]:
    """Return round numbers, at least ``least`` apart, of which the ends hold all values."""
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-300):
        margin = abs(high) / 10 or 1.0
        low, high = (low, low + least) if least else (low - margin, high + margin)
    rough = max((high - low) / 4, least)
    size = 10.0 ** floor(log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    first, last = floor(low / step), -floor(-high / step)
    return [n * step for n in range(first, last + 1)]


def _labels(ticks: Sequence[float]) -> list[str]:
    """Return the numbers at an axis, with as many digits as tell its ticks apart.

    Example:
        >>> _labels([449.5, 450.0, 450.5]), _labels([0.0, 500.0, 1000.0])
        (['449.5', '450.0', '450.5'], ['0', '500', '1,000'])
    """
    step, largest = ticks[1] - ticks[0], max(map(abs, ticks))
    if not 1e-4 < largest < 1e7:
        return [figure(tick) for tick in ticks]
    digits = max(0, -floor(log10(step) + 1e-9))
    return [f"{tick + 0.0:,.{digits}f}" for tick in ticks]


def _text(x: float, y: float, content: str, anchor: str, of: str = "") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{of}">'
        f"{escape(content)}</text>"
    )


def _svg(size: str, body: Sequence[str], form: str) -> str:
    head = f'<svg viewBox="{size}" role="img" xmlns="http://www.w3.org/2000/svg" {form}>'
    return head + "".join(body) + "</svg>"
