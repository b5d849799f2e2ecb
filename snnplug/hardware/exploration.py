"""Design-space sweep: one measured activity over a grid of target fields, and its Pareto front."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from snnplug.errors import ArgumentError, TargetError, did_you_mean
from snnplug.files import write_whole
from snnplug.hardware.activity import Activity
from snnplug.hardware.costs import Totals
from snnplug.hardware.description import numbers, read
from snnplug.hardware.report import plain_text
from snnplug.hardware.target import Target, load_target

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import RenderableType

Floats = NDArray[np.float64]

#: What a front is the trade-off of, as far as a target has figures: less is better.
OBJECTIVES = ("energy_nj", "latency_us", "area_mm2")
_FIGURES = tuple(f.name for f in fields(Totals))
_LARGEST_GRID = 10_000_000
#: Points that are priced at once: bounds the memory.
_CHUNK = 65_536


@dataclass(frozen=True, eq=False)
class Exploration:
    """Every point of a grid with what it costs.

    Attributes:
        target: Name of the target that was varied.
        points: Value of each varied field, one per point.
        figures: Energy, latency, area and the others that the target has, one per point.
        front: Whether no other point is at least as good in every objective and better in one.
    """

    target: str
    points: Mapping[str, Floats]
    figures: Mapping[str, Floats]
    front: NDArray[np.bool_]

    @property
    def objectives(self) -> tuple[str, ...]:
        """The figures that the front is the trade-off of."""
        return tuple(name for name in OBJECTIVES if name in self.figures)

    def __len__(self) -> int:
        """Return how many points there are."""
        return len(self.front)

    def front_order(self) -> NDArray[np.intp]:
        """Return the points of the front, by rising energy."""
        found = np.flatnonzero(self.front)
        keys = [self.figures[name][found] for name in reversed(self.objectives)]
        return found[np.lexsort(keys)]

    def rows(self, front_only: bool = False) -> tuple[list[str], list[list[float | bool]]]:
        """Return a table: its column names and a row per point.

        Args:
            front_only: Only the front, by rising energy.
        """
        order = self.front_order() if front_only else np.arange(len(self))
        columns = {**self.points, **self.figures}
        values: list[list[Any]] = [column[order].tolist() for column in columns.values()]
        values.append(self.front[order].tolist())
        return [*columns, "front"], [list(row) for row in zip(*values, strict=True)]

    def to_csv(self, path: str | Path) -> Path:
        """Write every point, whole or not at all.

        Raises:
            ArgumentError: The file cannot be written.
        """
        columns, rows = self.rows()
        text = StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(columns)
        writer.writerows([*row[:-1], int(row[-1])] for row in rows)
        return write_whole(path, text.getvalue())

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw every point and the front, energy over latency, or over area without one.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        from snnplug.hardware.report_plot import axes

        ax = axes(ax)
        y = self.objectives[0]
        x = self.objectives[1] if len(self.objectives) > 1 else next(iter(self.points))
        across = {**self.points, **self.figures}[x]
        ax.plot(across, self.figures[y], ".", color="0.8", label="all points")
        front = self.front_order()
        if "area_mm2" in self.objectives:
            dots = ax.scatter(
                across[front], self.figures[y][front], c=self.figures["area_mm2"][front], zorder=2
            )
            if ax.figure is not None:
                ax.figure.colorbar(dots, ax=ax, label="front: area, mm²")
        else:
            ax.plot(across[front], self.figures[y][front], "o", label="front")
        ax.set(xscale="log", yscale="log", xlabel=x, ylabel=y, title=self.target)
        ax.legend()
        return ax

    def table(self, limit: int = 20) -> RenderableType:
        """Return the front as a table for rich, by rising energy.

        Args:
            limit: At most so many rows, spread over the front.
        """
        from snnplug.hardware.report_table import front_table

        return front_table(self, limit)

    def __rich__(self) -> RenderableType:
        """Return the front as a table."""
        return self.table()

    def __str__(self) -> str:
        """Return the front as a table, in plain text."""
        return plain_text(self.__rich__())


def explore(
    activity: Activity, target: str | Path | Target, grid: Mapping[str, Sequence[float]]
) -> Exploration:
    """Price one activity on every combination of target fields.

    All points of a built-in family are priced at once with numpy; each figure is the very float
    that the target with these numbers gives. A target of your own class is priced point by point.

    Args:
        activity: Counts from :func:`snnplug.measure`.
        target: The target that is varied.
        grid: Dotted names of its numbers, such as ``"datapath.lanes"``, and the values of each.

    Raises:
        TargetError: There is no such number, or a value or a combination is not valid.
        ArgumentError: The grid is empty or has more than 10 million points.
        MeasurementError: The activity holds no sample.

    Example:
        >>> from snnplug.hardware.activity import NeuronLayer
        >>> one = Activity(1, (NeuronLayer("n", "Leaky", 400, 2, 3, True, "none", True),))
        >>> grid = {"datapath.lanes": [16, 32, 64], "datapath.clock_mhz": [50, 100]}
        >>> len(explore(one, "yin2017-28nm", grid))
        6
    """
    base = load_target(target)
    names, values = list(grid), [_axis(base, name, grid[name]) for name in grid]
    count = int(np.prod([float(len(axis)) for axis in values])) if values else 0
    if not 1 <= count <= _LARGEST_GRID:
        raise ArgumentError(
            f"the grid has {count} points; give one or more values to one or more fields, at most "
            f"{_LARGEST_GRID:,} points in all"
        )
    mesh = np.meshgrid(*[np.asarray(axis, float) for axis in values], indexing="ij")
    points = {name: part.ravel() for name, part in zip(names, mesh, strict=True)}
    chunks = [
        _price(
            base,
            activity,
            {name: column[start : start + _CHUNK] for name, column in points.items()},
        )
        for start in range(0, count, _CHUNK)
    ]
    figures = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    costs = np.stack([figures[name] for name in OBJECTIVES if name in figures], axis=1)
    return Exploration(base.name, points, figures, pareto_front(costs))


def pareto_front(costs: Floats) -> NDArray[np.bool_]:
    """Return which rows no other row is at least as good as everywhere and better somewhere.

    Args:
        costs: Points x objectives; less is better.

    Example:
        >>> pareto_front(np.array([[1.0, 3.0], [2.0, 2.0], [2.0, 3.0], [1.0, 3.0]])).tolist()
        [True, True, False, True]
    """
    unique, place = np.unique(costs, axis=0, return_inverse=True)  # sorted: none beats the first
    kept: list[int] = []
    remaining = np.arange(len(unique))
    while len(remaining):
        best = remaining[0]
        kept.append(int(best))
        remaining = remaining[(unique[remaining] < unique[best]).any(axis=1)]
    on_front = np.zeros(len(unique), bool)
    on_front[kept] = True
    return on_front[place.reshape(-1)]


def _axis(target: Target, name: str, values: Sequence[float]) -> list[float]:
    """Return the values of one field, each as a target file would have to state it."""
    known = set(numbers(target))
    if name not in known:
        raise TargetError(f"{target.name} has no number {name}. {did_you_mean(name, known)}")
    if name == "technology_nm":
        raise TargetError("technology_nm changes what every number stands for; extend the target")
    item: Any = target
    *tables, key = name.split(".")
    for table in tables:
        item = getattr(item, table)
    hint = get_type_hints(type(item))[key]
    return [read(hint, _plain(value, hint), target.name, name) for value in values]


def _plain(value: Any, hint: Any) -> Any:
    """Return a numpy number as Python's own, and a whole float as the integer a field wants."""
    value = value.item() if isinstance(value, np.generic) else value
    whole = isinstance(value, float) and value.is_integer()
    return int(value) if whole and hint is int else value


def with_values(target: Target, values: Mapping[str, Any]) -> Target:
    """Return the target with other values, by dotted name.

    Raises:
        TargetError: They do not go together.
    """
    changed: Any = target
    tables: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        table, _, key = name.rpartition(".")
        tables.setdefault(table, {})[key] = value
    head = tables.pop("", {})
    below = {table: replace(getattr(target, table), **new) for table, new in tables.items()}
    return replace(changed, **head, **below)  # type: ignore[no-any-return]


def _price(target: Target, activity: Activity, points: Mapping[str, Floats]) -> dict[str, Floats]:
    count = len(next(iter(points.values())))
    if target.vectorised:
        try:
            totals = with_values(target, points).totals(activity)
        except TargetError:
            for one in _each(target, points):  # name the first combination that does not go
                with_values(target, one)
            raise
        seen = {name: getattr(totals, name) for name in _FIGURES}
        return {
            name: np.broadcast_to(np.asarray(value, float), (count,)).copy()
            for name, value in seen.items()
            if value is not None
        }
    each = [with_values(target, one).totals(activity) for one in _each(target, points)]
    return {
        name: np.array([getattr(totals, name) for totals in each], float)
        for name in _FIGURES
        if getattr(each[0], name) is not None
    }


def _each(target: Target, points: Mapping[str, Floats]) -> Iterator[dict[str, float]]:
    """Yield the values of each point as a target file would state them."""
    axes = [column.tolist() for column in points.values()]
    for row in zip(*axes, strict=True):
        yield {
            name: _axis(target, name, [value])[0] for name, value in zip(points, row, strict=True)
        }
