"""One activity on several targets, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnplug.errors import ArgumentError
from snnplug.hardware.activity import Activity
from snnplug.hardware.report import EnergyReport, dataframe, plain_text
from snnplug.hardware.target import Target, load_target

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import RenderableType

_COLUMNS = (
    "target",
    "energy_nj",
    "energy_nj_low",
    "energy_nj_high",
    "dense_nj",
    "sparsity_gain",
    "latency_us",
    "area_mm2",
)


@dataclass(frozen=True)
class Comparison:
    """Reports of one activity, one per target.

    Attributes:
        reports: The reports, in the order of the targets.
    """

    reports: tuple[EnergyReport, ...]

    def rows(self) -> tuple[list[str], list[list[Any]]]:
        """Return the table: its column names and a row per target."""
        return list(_COLUMNS), [[getattr(r, name) for name in _COLUMNS] for r in self.reports]

    def to_dict(self) -> dict[str, Any]:
        """Return every report as plain values, by the name of its target."""
        return {report.target: report.to_dict() for report in self.reports}

    def to_dataframe(self) -> Any:
        """Return the table as a pandas ``DataFrame``.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return dataframe(*self.rows())

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw energy with its band and the dense machine, target by target.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        from snnplug.hardware.report_plot import plot_comparison

        return plot_comparison(self.reports, ax)

    def __rich__(self) -> RenderableType:
        """Return the table."""
        from snnplug.hardware.report_table import comparison_table

        return comparison_table(self.reports)

    def __str__(self) -> str:
        """Return the table in plain text."""
        return plain_text(self.__rich__())


def compare(activity: Activity, targets: Sequence[str | Path | Target]) -> Comparison:
    """Price one activity on several targets.

    The figures of different targets do not hold the same terms: read each one's statement before
    you call one of them better.

    Args:
        activity: Counts from :func:`snnplug.measure`.
        targets: Names, paths of TOML files, or targets.

    Raises:
        ArgumentError: No target is given.
        TargetError: There is no such target.
        MeasurementError: The activity holds no sample.

    Example:
        >>> from snnplug.hardware.activity import NeuronLayer
        >>> one = Activity(1, (NeuronLayer("n", "Leaky", 4, 2, 3, True, "none", True),))
        >>> [report.target for report in compare(one, ["loihi-2018", "odin-2019"]).reports]
        ['loihi-2018', 'odin-2019']
    """
    if not targets:
        raise ArgumentError("compare() was given no target; name at least one")
    return Comparison(tuple(load_target(target).price(activity) for target in targets))
