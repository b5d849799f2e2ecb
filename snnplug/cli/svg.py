"""Two kinds of picture for a page, as SVG text: bars and points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import floor, log10

#: Colours that stay apart for colour-blind readers (Okabe and Ito 2008).
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c8c", "#b8a800")
_BAR, _GAP, _LEFT, _WIDTH, _RIGHT = 18, 8, 150, 520, 90


def bars(labels: Sequence[str], series: Mapping[str, Sequence[float]], unit: str) -> str:
    """Return horizontal bars, the series of each label stacked, with their sum beside them.

    Args:
        labels: One per bar.
        series: Name of each part: its value in every bar, not negative.
        unit: What the values are in.
    """
    sums = [sum(values[place] for values in series.values()) for place in range(len(labels))]
    longest = max(sums, default=0.0) or 1.0
    height = len(labels) * (_BAR + _GAP) + 4
    body = []
    for place, label in enumerate(labels):
        y, x = place * (_BAR + _GAP) + 4, float(_LEFT)
        body.append(_text(_LEFT - 8, y + 13, _short(label), "end", label))
        for index, (name, values) in enumerate(series.items()):
            width = values[place] / longest * _WIDTH
            if width > 0:
                colour = COLOURS[index % len(COLOURS)]
                hover = escape(f"{label}, {name}: {figure(values[place])} {unit}")
                body.append(
                    f'<rect x="{x:.2f}" y="{y}" width="{width:.2f}" height="{_BAR}" '
                    f'fill="{colour}"><title>{hover}</title></rect>'
                )
            x += width
        body.append(_text(x + 6, y + 13, f"{figure(sums[place])} {unit}", "start"))
    legend = _legend(list(series)) if len(series) > 1 else ""
    return _svg(_LEFT + _WIDTH + _RIGHT, height, body) + legend


def points(
    data: Sequence[tuple[float, float, str]], x_name: str, y_name: str, marked: Sequence[bool] = ()
) -> str:
    """Return points joined in their order.

    Args:
        data: x, y and what is shown at the pointer.
        x_name: What x is.
        y_name: What y is.
        marked: Which points are filled; none given fills all.
    """
    xs, ys = [p[0] for p in data], [p[1] for p in data]
    (x_low, x_high, x_ticks), (y_low, y_high, y_ticks) = _axis(xs), _axis(ys)
    left, top, width, height = 70, 10, 600, 260

    def place(x: float, y: float) -> tuple[float, float]:
        across = left + (x - x_low) / (x_high - x_low) * width
        return across, top + height - (y - y_low) / (y_high - y_low) * height

    body = [f'<rect x="{left}" y="{top}" width="{width}" height="{height}" class="frame"/>']
    for tick in x_ticks:
        x, _ = place(tick, y_low)
        body.append(_text(x, top + height + 16, figure(tick), "middle"))
    for tick in y_ticks:
        _, y = place(x_low, tick)
        body.append(
            f'<line x1="{left}" x2="{left + width}" y1="{y:.2f}" y2="{y:.2f}" class="rule"/>'
        )
        body.append(_text(left - 6, y + 4, figure(tick), "end"))
    route = " ".join("{:.2f},{:.2f}".format(*place(x, y)) for x, y, _ in data)
    body.append(f'<polyline points="{route}" class="route"/>')
    for index, (x, y, hover) in enumerate(data):
        across, up = place(x, y)
        fill = COLOURS[0] if not marked or marked[index] else "none"
        body.append(
            f'<circle cx="{across:.2f}" cy="{up:.2f}" r="5" fill="{fill}" stroke="{COLOURS[0]}">'
            f"<title>{escape(hover)}</title></circle>"
        )
    body.append(_text(left + width / 2, top + height + 36, x_name, "middle"))
    body.append(_text(left, top - 1 + height + 36, y_name + " ↑", "end"))
    return _svg(left + width + 20, top + height + 46, body)


def figure(value: float) -> str:
    """Return a number with three digits that count, and thousands apart.

    Example:
        >>> figure(51.4321), figure(0.00123), figure(12345.6), figure(0)
        ('51.4', '0.00123', '12,346', '0')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _axis(values: Sequence[float]) -> tuple[float, float, list[float]]:
    """Return the ends of an axis and round numbers between them."""
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-300):
        margin = abs(high) / 10 or 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / 4
    size = 10.0 ** floor(log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    first, last = floor(low / step), -floor(-high / step)
    ticks = [n * step for n in range(first, last + 1)]
    return ticks[0], ticks[-1], ticks


def _short(label: str, letters: int = 20) -> str:
    return label if len(label) <= letters else "…" + label[1 - letters :]


def _text(x: float, y: float, content: str, anchor: str, hover: str = "") -> str:
    title = f"<title>{escape(hover)}</title>" if hover and hover != content else ""
    return f'<text x="{x:.2f}" y="{y:.2f}" text-anchor="{anchor}">{escape(content)}{title}</text>'


def _legend(names: Sequence[str]) -> str:
    entries = (
        f'<span><i style="background:{COLOURS[index % len(COLOURS)]}"></i>{escape(name)}</span>'
        for index, name in enumerate(names)
    )
    return f'<p class="legend">{"".join(entries)}</p>'


def _svg(width: float, height: float, body: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(body)}</svg>'
    )
