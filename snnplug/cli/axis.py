"""The axis of a chart: where its ends are, which round numbers it names, where a value lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from snnplug.cli.report_html import figure

# Above this ratio the small ones of several values lie on one another on a linear axis.
_WIDE = 8.0


@dataclass(frozen=True)
class Axis:
    """An axis.

    Attributes:
        ticks: The numbers that it names; the ends are the first and the last of them.
        is_log: Whether equal ratios are equally far apart.
    """

    ticks: Sequence[float]
    is_log: bool = False

    def share(self, value: float) -> float:
        """Return where a value lies, 0 at the lower end and 1 at the upper one."""
        low, high = self.ticks[0], self.ticks[-1]
        if self.is_log:
            low, high, value = log10(low), log10(high), log10(value)
        return (value - low) / (high - low)

    def labels(self) -> list[str]:
        """Return the numbers, with as many digits as tell them apart.

        Example:
            >>> Axis([449.5, 450.0, 450.5]).labels(), Axis([0.0, 500.0, 1000.0]).labels()
            (['449.5', '450.0', '450.5'], ['0', '500', '1,000'])
        """
        step, largest = self.ticks[1] - self.ticks[0], max(map(abs, self.ticks))
        if self.is_log or not 1e-4 < largest < 1e7:
            return [figure(tick) for tick in self.ticks]
        digits = max(0, -floor(log10(step) + 1e-9))
        return [f"{tick + 0.0:,.{digits}f}" for tick in self.ticks]


def linear(values: Sequence[float], least: float = 0.0) -> Axis:
    """Return an axis that holds all values, its ticks at least ``least`` apart.

    Example:
        >>> linear([3.0, 17.0]).ticks, linear([0, 2], least=1.0).ticks
        ([0.0, 5.0, 10.0, 15.0, 20.0], [0.0, 1.0, 2.0])
    """
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-300):
        margin = abs(high) / 10 or 1.0
        low, high = (low, low + least) if least else (low - margin, high + margin)
    rough = max((high - low) / 4, least)
    step = _round_up(rough)
    return Axis([n * step for n in range(floor(low / step), ceil(high / step) + 1)])


def whole(values: Sequence[float]) -> Axis:
    """Return an axis of what is counted."""
    return linear(values, least=1.0)


def spread(values: Sequence[float]) -> Axis:
    """Return a linear axis, or a logarithmic one where the values are far apart and positive.

    Example:
        >>> spread([98.0, 1878.0])
        Axis(ticks=[50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0], is_log=True)
    """
    low, high = min(values), max(values)
    if low <= 0 or high / low < _WIDE:
        return linear(values)
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    few = len(decades) <= 4
    every = [n * 10.0**decade for decade in decades for n in ((1, 2, 5) if few else (1,))]
    first = max(place for place, tick in enumerate(every) if tick <= low)
    last = min(place for place, tick in enumerate(every) if tick >= high)
    return Axis(every[first : last + 1], is_log=True)


def _round_up(value: float) -> float:
    size = 10.0 ** floor(log10(value))
    return next(size * factor for factor in (1, 2, 5, 10) if size * factor >= value)
