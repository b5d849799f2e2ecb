"""What the values at the input of a layer are: spikes, ternary, integers, or analog."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd, isfinite, lcm
from typing import Any, Literal

Kind = Literal["binary", "ternary", "integer", "analog"]

#: Relative distance up to which a value lies on a grid. A quotient in float32 is off by at most
#: 2**-24; two fractions with denominators below 2**8 are at least 2**-16 apart.
TOLERANCE = 2.0**-20
#: Levels of a grid whose lines are rounded numbers, such as n/9 or n/255.
_ROUNDED_LEVELS = 2**8 - 1
#: Levels of a grid whose lines are exact, such as counts or n/4. Random float32 values have 2**24.
_EXACT_LEVELS = 2**16 - 1


@dataclass(frozen=True)
class Operand:
    """The values seen at an input: whole multiples of ``step`` between two ``levels``.

    A constant factor is folded into the weights, so what counts is how many levels there are:
    inputs of 0 and 0.7 are binary, means of four spikes are integers of three bits.

    Attributes:
        levels: Lowest multiple, at most 0, and highest, at least 0. None for values on no grid.
        step: Spacing of the values; nothing that two operands have to agree in.

    Example:
        >>> Operand.of_values([0.0, 0.25, 1.0]).kind, Operand.of_values([0.0, 0.25, 1.0]).bits
        ('integer', 3)
        >>> Operand.of_values([0.0, 0.7]).join(Operand.of_values([-0.7])).kind
        'ternary'
    """

    levels: tuple[int, int] | None
    step: float = field(default=1.0, compare=False)

    @property
    def kind(self) -> Kind:
        """The class of the operation: add, add or subtract, multiply by an integer, multiply."""
        if self.levels is None:
            return "analog"
        low, high = self.levels
        if high - low <= 1:
            return "binary"
        return "ternary" if self.levels == (-1, 1) else "integer"

    @property
    def bits(self) -> int | None:
        """Bits of a value, its sign included; None for analog values."""
        if self.levels is None:
            return None
        low, high = self.levels
        return max(1, max(-low, high).bit_length()) + int(low < 0 < high)

    @property
    def adds(self) -> bool:
        """Whether a synaptic operation only adds or subtracts a weight."""
        return self.kind in ("binary", "ternary")

    def join(self, other: Operand) -> Operand:
        """Return the operand of both together."""
        if self.levels is None or other.levels is None:
            return ANALOG
        if SILENT in (self, other):
            return other if self == SILENT else self
        if self == other and self.step == other.step:
            return self
        mine, yours = _multiples(self.step, other.step)
        ends = [m * end for m, o in ((mine, self), (yours, other)) for end in o.levels or ()]
        levels = min(ends), max(ends)
        return Operand(levels, self.step / mine) if mine and _fits(levels, self.step) else ANALOG

    @classmethod
    def of_values(cls, values: list[float]) -> Operand:
        """Return the operand of a few values."""
        sizes = sorted({abs(v) for v in values if v})
        if not all(map(isfinite, sizes)):
            return ANALOG
        seen = SILENT
        for size in reversed(sizes):
            seen = seen.join(cls((0, 1), size))
            if seen == ANALOG:
                return ANALOG
        low, high = (round(v / seen.step) for v in (min(values, default=0), max(values, default=0)))
        return cls((min(0, low), max(0, high)), seen.step)

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> Operand:
        """Read what ``dataclasses.asdict`` made of one."""
        levels = entry["levels"]
        return cls(None if levels is None else (int(levels[0]), int(levels[1])), entry["step"])


#: Nothing but zeros so far.
SILENT = Operand((0, 0))
BINARY = Operand((0, 1))
TERNARY = Operand((-1, 1))
ANALOG = Operand(None)


def operand_of_spikes(count: int, size: float = 1.0) -> Operand:
    """Return the operand of values of which ``count`` are ``size`` and all others 0."""
    return Operand((0, 1), size) if count else SILENT


def _multiples(a: float, b: float) -> tuple[int, int]:
    """Return how many of their largest common part ``a`` and ``b`` are; 0 and 0 if none is."""
    (p, q), (r, s) = a.as_integer_ratio(), b.as_integer_ratio()
    whole = lcm(q, s)
    p, r = p * (whole // q), r * (whole // s)
    common = gcd(p, r)
    if max(p, r) // common <= _EXACT_LEVELS:
        return p // common, r // common
    ratio = Fraction(min(a, b) / max(a, b)).limit_denominator(_ROUNDED_LEVELS)
    if abs(float(ratio) * max(a, b) - min(a, b)) > TOLERANCE * min(a, b):
        return 0, 0
    pair = ratio.denominator, ratio.numerator
    return pair if a > b else pair[::-1]


def _fits(levels: tuple[int, int], step: float) -> bool:
    """Whether a grid has few enough levels to be meant."""
    # Every float is an integer over a power of two; that of a rounded fraction is large.
    exact = step.as_integer_ratio()[0] <= _EXACT_LEVELS
    return max(-levels[0], levels[1]) <= (_EXACT_LEVELS if exact else _ROUNDED_LEVELS)
