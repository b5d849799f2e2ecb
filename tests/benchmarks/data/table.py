"""Rows of the table, their ratios and targets, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Args:
        name: What was measured.
        value: How much.
        unit: Of what.
        ratio: What ours is compared with it, or it with its limit.
        target: The least (or with ``most`` the largest) that the ratio or value is asked to be.
        is_most: The target is an upper limit.
    """

    name: str
    value: float
    unit: str
    ratio: float | None = None
    target: float | None = None
    is_most: bool = False

    @property
    def verdict(self) -> str:
        """Whether the target is reached."""
        if self.target is None:
            return ""
        reached = self.value if self.ratio is None else self.ratio
        holds = reached <= self.target if self.is_most else reached >= self.target
        sign = "<=" if self.is_most else ">="
        return f"{sign} {self.target:g}: {'reached' if holds else 'missed'}"


@dataclass(frozen=True)
class Table:
    """Rows under a title, with what they mean."""

    title: str
    note: str
    rows: Sequence[Row] = field(default_factory=tuple)

    def markdown(self) -> str:
        """Return the table as Markdown."""
        lines = [
            f"### {self.title}",
            "",
            self.note,
            "",
            "| | | ratio | asked |",
            "|---|--:|--:|---|",
        ]
        for row in self.rows:
            ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
            value = f"{row.value:,.0f}" if row.value >= 100 else f"{row.value:.3g}"
            lines.append(f"| {row.name} | {value} {row.unit} | {ratio} | {row.verdict} |")
        return "\n".join([*lines, ""])


def rates(milliseconds: Mapping[str, float], count: int) -> dict[str, float]:
    """Return how many a second each way does."""
    return {name: 1e3 * count / taken for name, taken in milliseconds.items()}
