"""Tables, bars and legends of a report, as HTML text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from snnplug.cli.report_style import colour


def figure(value: float) -> str:
    """Return a number with three digits that count, and thousands apart.

    Example:
        >>> figure(51.4321), figure(0.00123), figure(12345.6), figure(0)
        ('51.4', '0.00123', '12,346', '0')
    """
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def percent(share: float | None) -> str:
    """Return a share in per cent, ``-`` for none."""
    return "-" if share is None else f"{100 * share:.2f} %"


def swatch(index: int) -> str:
    """Return a square of the colour of a series."""
    return f'<i class="swatch" style="background:{colour(index)}"></i>'


def legend(names: Sequence[str]) -> str:
    """Return which colour is which series; nothing where there is one."""
    if len(names) < 2:
        return ""
    entries = (f"<span>{swatch(i)}{escape(name)}</span>" for i, name in enumerate(names))
    return f'<p class="legend">{"".join(entries)}</p>'


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], has_swatches: bool = False, of: str = ""
) -> str:
    """Return a table; the first column names the rows.

    Args:
        columns: Their heads.
        rows: Their cells.
        has_swatches: Whether each row is of the series with its number.
        of: Class of the style sheet.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        f"<tr><td>{swatch(place) if has_swatches else ''}{_breakable(name)}</td>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for place, (name, *cells) in enumerate(rows)
    )
    return f'<div class="wide"><table class="{of}"><tr>{head}</tr>{body}</table></div>'


def _breakable(name: str) -> str:
    """Return a name that may go on in another line after a dot."""
    return escape(name).replace(".", ".<wbr>")


@dataclass(frozen=True)
class Bar:
    """A horizontal bar.

    Attributes:
        label: What it is of.
        parts: Name and value of what it is stacked of, none negative.
        band: Ends of what its sum may be.
        colour: Which colour it has, where it is not stacked.
    """

    label: str
    parts: Mapping[str, float]
    band: tuple[float, float] | None = None
    colour: int = 0

    @property
    def reach(self) -> float:
        """How far it reaches, its band included."""
        return max(sum(self.parts.values()), self.band[1] if self.band else 0.0)


def bars(
    every: Sequence[Bar], unit: str, parts: Sequence[str] = (), longest: float | None = None
) -> str:
    """Return horizontal bars with their sums beside them.

    Args:
        every: The bars.
        unit: What the values are in.
        parts: Names of the parts of stacked bars; a name's place is its colour.
        longest: What fills the width; None takes the longest bar.
    """
    whole = longest or max((bar.reach for bar in every), default=0.0) or 1.0
    rows = []
    for bar in every:
        total = f"{figure(sum(bar.parts.values()))} {unit}".rstrip()
        pieces = []
        for part, value in bar.parts.items():
            shade = colour(parts.index(part) if part else bar.colour)
            said = f"{bar.label}{f', {part}' if part else ''}: {figure(value)} {unit}".rstrip()
            if value > 0:
                pieces.append(
                    f'<i style="width:{100 * value / whole:.3f}%;background:{shade}" '
                    f'title="{escape(said)}"></i>'
                )
        if bar.band is not None:
            low, high = bar.band
            said = f"{bar.label}: band {figure(low)} … {figure(high)} {unit}"
            pieces.append(
                f'<u style="left:{100 * low / whole:.3f}%;width:{100 * (high - low) / whole:.3f}%" '
                f'title="{escape(said)}"></u>'
            )
        rows.append(
            f'<span>{escape(bar.label)}</span><span class="bar">{"".join(pieces)}</span>'
            f"<span>{total}</span>"
        )
    return f'<div class="bars">{"".join(rows)}</div>'


def panels(pictures: Mapping[str, str], has_swatches: bool = False) -> str:
    """Return pictures beside one another where there is room; those that are empty are left out.

    Args:
        pictures: Title and picture; their places are the colours.
        has_swatches: Whether each picture is of the series with its number.
    """
    shown = "".join(
        f"<div><h4>{swatch(place) if has_swatches else ''}{escape(title)}</h4>{picture}</div>"
        for place, (title, picture) in enumerate(pictures.items())
        if picture
    )
    room = "grid three" if len(pictures) > 2 else "grid"
    return f'<div class="{room}">{shown}</div>' if shown else ""
