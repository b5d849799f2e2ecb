"""The pictures of a report, as SVG text: charts and rasters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite
from typing import Any

from snnplug.cli.axis import Axis, linear
from snnplug.cli.report_style import colour

# Of a chart, in units that are about a pixel where two stand side by side.
_LEFT, _TOP, _WIDTH, _HEIGHT, _MARGIN = 54, 30, 350, 200, 22
_RIGHT, _BOTTOM = _LEFT + _WIDTH, _TOP + _HEIGHT


@dataclass(frozen=True)
class Point:
    """A point of a chart.

    Attributes:
        x: Where it lies across.
        y: Where it lies upwards.
        hover: What the pointer shows.
        is_filled: Whether it is more than a ring.
        label: What stands at it.
    """

    x: float
    y: float
    hover: str = ""
    is_filled: bool = True
    label: str = ""


def chart(
    series: Mapping[str, Sequence[Point]],
    title: str,
    x_name: str,
    x_axis: Callable[[Sequence[float]], Axis] = linear,
    y_axis: Callable[[Sequence[float]], Axis] = linear,
    radius: float = 4,
    front: Sequence[tuple[float, float]] = (),
) -> str:
    """Return points joined in their order, a colour for each series; nothing without a point.

    Args:
        series: Name and points; one that is not finite, as of a run that diverged, is left out.
        title: What y is.
        x_name: What x is.
        x_axis: Makes the axis across.
        y_axis: Makes the axis upwards.
        radius: Of a point.
        front: The best of the points, least x first; a line of steps joins them.
    """
    shown = {
        name: [p for p in points if isfinite(p.x) and isfinite(p.y)]
        for name, points in series.items()
    }
    every = [p for points in shown.values() for p in points]
    if not every:
        return ""
    frame = Frame(x_axis([p.x for p in every]), y_axis([p.y for p in every]))
    body = [_text(2, 15, title + frame.y.is_log * ", log scale", "start", "title"), *frame.rules()]
    body.append(_text(_RIGHT, _BOTTOM + 34, x_name + frame.x.is_log * ", log scale", "end"))
    body.append(_steps(frame, front))
    body += [_line(frame, index, points, radius) for index, points in enumerate(shown.values())]
    size = f"0 0 {_RIGHT + _MARGIN} {_BOTTOM + 40}"
    said = escape(f"{title}, over {x_name}", quote=True)
    return _svg(size, body, f'class="chart" aria-label="{said}"')


@dataclass(frozen=True)
class Frame:
    """Two axes, and where they put a point."""

    x: Axis
    y: Axis

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point lies in the picture."""
        return _LEFT + self.x.share(x) * _WIDTH, _TOP + (1 - self.y.share(y)) * _HEIGHT

    def rules(self) -> Iterator[str]:
        """Yield the lines across, and the numbers at both axes."""
        for tick, label in zip(self.y.ticks, self.y.labels(), strict=True):
            y = self.place(self.x.ticks[0], tick)[1]
            ends = f'x1="{_LEFT}" x2="{_RIGHT}" y1="{y:.1f}" y2="{y:.1f}"'
            yield f'<line {ends} class="rule"/>' + _text(_LEFT - 6, y + 4, label, "end")
        for tick, label in zip(self.x.ticks, self.x.labels(), strict=True):
            yield _text(self.place(tick, self.y.ticks[0])[0], _BOTTOM + 17, label, "middle")


def raster(layers: Sequence[Mapping[str, Any]], index: int = 0) -> str:
    """Return when each neuron spikes: time steps across, the layers one below another.

    Args:
        layers: What :func:`snnplug.callbacks.spike_record.record` gives for each.
        index: The colour's.
    """
    if not layers:
        return ""
    rows, steps = [], max(layer["num_steps"] for layer in layers)
    for layer in layers:
        kept = -(-layer["neurons"] // layer["every"])
        marks = "".join(
            f"M{step + 0.08:.2f} {neuron // layer['every'] + 0.5:g}h.84"
            for step, neuron in zip(layer["step"], layer["neuron"], strict=True)
        )
        thick = 0.84 if kept <= 80 else 1  # thinner ones of many neurons fade
        path = f'<path d="{marks}" style="stroke:{colour(index)};stroke-width:{thick}"/>'
        height = min(max(5.0 * kept, 40.0), 240.0)
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


def _line(frame: Frame, index: int, points: Sequence[Point], radius: float) -> str:
    """Return the points of one series and what joins them; after eight series in dashes."""
    shade = colour(index)
    dashes = ";stroke-dasharray:5 3" if index >= 8 else ""
    places = [frame.place(p.x, p.y) for p in points]
    route = " ".join(f"{across:.1f},{down:.1f}" for across, down in places)
    tone = "route faint" if radius > 2 else "route"
    drawn = [f'<polyline points="{route}" class="{tone}" style="stroke:{shade}{dashes}"/>']
    for p, (across, down) in zip(points, places, strict=True):
        fill = shade if p.is_filled else "var(--paper,#fff)"
        drawn.append(
            f'<circle cx="{across:.1f}" cy="{down:.1f}" r="{radius:g}" '
            f'style="fill:{fill};stroke:{shade};stroke-width:1.5">'
            f"<title>{escape(p.hover)}</title></circle>"
        )
        if p.label:
            drawn.append(_text(across, down - 2 * radius, p.label, "middle"))
    return "".join(drawn)


def _steps(frame: Frame, front: Sequence[tuple[float, float]]) -> str:
    """Return what has been reached: level until more is reached for more."""
    if not front:
        return ""
    (across, down), *others = [frame.place(*pair) for pair in front]
    route = f"M{across:.1f} {down:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in others)
    return f'<path d="{route}H{_RIGHT}" class="front"/>'


def _text(x: float, y: float, content: str, anchor: str, of: str = "") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{of}">'
        f"{escape(content)}</text>"
    )


def _svg(size: str, body: Sequence[str], form: str) -> str:
    head = f'<svg viewBox="{size}" role="img" xmlns="http://www.w3.org/2000/svg" {form}>'
    return head + "".join(body) + "</svg>"
