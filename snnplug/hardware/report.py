"""What an inference costs on a target: totals, parts and layers, each figure with its band."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from io import StringIO
from typing import TYPE_CHECKING, Any, cast

from snnplug.errors import MeasurementError, MissingExtraError
from snnplug.hardware.costs import Baseline, LayerCost, Totals

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import RenderableType

    from snnplug.hardware.activity import Activity
    from snnplug.hardware.target import Target


@dataclass(frozen=True)
class EnergyReport:
    """Cost of one inference on a target.

    Attributes:
        target: Name of the target.
        fingerprint: Which version of its description.
        samples: Inferences that the figures are the mean of.
        energy_nj: Energy, in nJ; None if the target has no figure.
        energy_nj_low: Lower end of the calibration band.
        energy_nj_high: Upper end of the calibration band.
        latency_us: Time from the first input spike to the decision, in µs; None if the target
            has no figure.
        area_mm2: Silicon area, in mm²; None if the target has no figure.
        dense_nj: The same datapath without skipping zeros, in nJ.
        synops: Synaptic operations.
        spikes_per_synapse: Synaptic operations per synapse.
        layers: Cost per layer; their energies add up to ``energy_nj``.
        unpriced: Modules whose work is in no figure.
        statement: What the target says about its own accuracy.
        latency_pipelined_us: The same time with every layer on hardware of its own.
        baseline: The conventional network of the same shape, if the target has figures for it.
    """

    target: str
    fingerprint: str
    samples: int
    energy_nj: float | None
    energy_nj_low: float | None
    energy_nj_high: float | None
    latency_us: float | None
    area_mm2: float | None
    dense_nj: float | None
    synops: float
    spikes_per_synapse: float
    layers: tuple[LayerCost, ...]
    unpriced: tuple[str, ...]
    statement: str
    latency_pipelined_us: float | None = None
    baseline: Baseline | None = None

    @property
    def totals(self) -> Totals:
        """The figures of the whole inference."""
        return Totals(**{f.name: getattr(self, f.name) for f in fields(Totals)})

    @property
    def parts_nj(self) -> dict[str, float]:
        """Energy by part, in nJ, over all layers."""
        total: dict[str, float] = {}
        for layer in self.layers:
            for part, value in layer.parts_nj.items():
                total[part] = total.get(part, 0.0) + value
        return total

    @property
    def sparsity_gain(self) -> float:
        """How many times less than the dense machine; 0 when nothing was priced."""
        return self.dense_nj / self.energy_nj if self.energy_nj and self.dense_nj else 0.0

    @property
    def pj_per_synop(self) -> float:
        """Energy per synaptic operation, in pJ; 0 when nothing spiked."""
        return 1e3 * self.energy_nj / self.synops if self.energy_nj and self.synops else 0.0

    def scalars(self) -> dict[str, float]:
        """Return the figures to log each epoch, by the last part of their key."""
        figures: dict[str, float | None] = dict(asdict(self.totals))
        if self.energy_nj is not None:
            figures |= {"sparsity_gain": self.sparsity_gain, "pj_per_synop": self.pj_per_synop}
        if self.baseline is not None:
            names = ("ann_nj", "matched_nj", "break_even_num_steps")
            figures |= {name: getattr(self.baseline, name) for name in names}
        known = {key: value for key, value in figures.items() if value is not None}
        return known | {f"parts/{part}_nj": value for part, value in self.parts_nj.items()}

    def rows(self) -> tuple[list[str], list[list[Any]]]:
        """Return the per-layer table: its column names and its rows."""
        parts = list(self.parts_nj)
        columns = [
            "layer",
            "kind",
            "synops",
            "energy_nj",
            *(f"{p}_nj" for p in parts),
            "latency_us",
        ]
        rows = [
            [
                layer.name,
                layer.kind,
                layer.synops,
                layer.energy_nj,
                *(layer.parts_nj.get(part, 0.0) for part in parts),
                layer.latency_us,
            ]
            for layer in self.layers
        ]
        return columns, rows

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            **asdict(self),
            "parts_nj": self.parts_nj,
            "sparsity_gain": self.sparsity_gain,
            "pj_per_synop": self.pj_per_synop,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> EnergyReport:
        """Read what :meth:`to_dict` wrote.

        Raises:
            MeasurementError: It is no report.
        """
        try:
            known = {f.name: content[f.name] for f in fields(cls) if f.name in content}
            known["layers"] = tuple(LayerCost(**layer) for layer in content["layers"])
            known["unpriced"] = tuple(content["unpriced"])
            if known.get("baseline") is not None:
                known["baseline"] = Baseline(**known["baseline"])
            report = cls(**known)
            _require_figures(report)
            return report
        except (KeyError, TypeError, AttributeError) as error:
            raise MeasurementError(
                f"this is no energy report: {error}; give what EnergyReport.to_json wrote"
            ) from error

    def to_json(self) -> str:
        """Return everything as JSON text; :meth:`from_json` reads it back, exactly."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_json(cls, text: str) -> EnergyReport:
        """Read what :meth:`to_json` wrote.

        Raises:
            MeasurementError: It is no report.
        """
        try:
            content = json.loads(text)
        except ValueError as error:
            raise MeasurementError(f"this energy report is not JSON: {error}") from error
        if not isinstance(content, dict):
            raise MeasurementError(
                f"this energy report is a {type(content).__name__}; give what "
                "EnergyReport.to_json wrote"
            )
        return cls.from_dict(content)

    def to_dataframe(self) -> Any:
        """Return the bill per layer as a pandas ``DataFrame``.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        columns, rows = self.rows()
        return dataframe(columns, rows)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the energy of each layer, its parts stacked.

        Args:
            ax: Where to draw; None makes new axes.

        Raises:
            MissingExtraError: matplotlib is not installed.
            MeasurementError: The target has no figure for energy.
        """
        from snnplug.hardware.report_plot import plot_layers

        return plot_layers(self, ax)

    def plot_rivals(self, ax: Axes | None = None) -> Axes:
        """Draw the sparse machine beside the dense one and the conventional network.

        Args:
            ax: Where to draw; None makes new axes.

        Raises:
            MissingExtraError: matplotlib is not installed.
            MeasurementError: The target has no figure for energy.
        """
        from snnplug.hardware.report_plot import plot_rivals

        return plot_rivals(self, ax)

    def __rich__(self) -> RenderableType:
        """Return the bill as a table."""
        from snnplug.hardware.report_table import report_table

        return report_table(self)

    def __str__(self) -> str:
        """Return the bill as a table, in plain text."""
        return plain_text(self.__rich__())


def _require_figures(report: EnergyReport) -> None:
    """Refuse text, or a list, where a figure belongs."""
    parts: list[Mapping[str, Any]] = [asdict(report.totals)]
    parts.append({"synops": report.synops, "spikes_per_synapse": report.spikes_per_synapse})
    if report.baseline is not None:
        parts.append(asdict(report.baseline))
    for layer in report.layers:
        parts += [{"latency_us": layer.latency_us, "synops": layer.synops}, layer.parts_nj]
    for key, value in (pair for part in parts for pair in part.items()):
        if value is not None and not isinstance(value, int | float):
            raise TypeError(f"{key} is {value!r}, not a number")


def dataframe(columns: list[str], rows: list[list[Any]]) -> Any:
    """Return a pandas ``DataFrame``.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingExtraError(
            "pandas is not installed; pip install pandas, or take rows() or to_dict()"
        ) from error
    return pandas.DataFrame(rows, columns=columns)


def plain_text(renderable: RenderableType) -> str:
    """Return what rich prints, without colours and without line breaks of its own."""
    from rich.console import Console

    console = Console(file=StringIO(), width=10_000, color_system=None, highlight=False)
    console.print(renderable)
    text = cast(StringIO, console.file).getvalue()
    return "\n".join(line.rstrip() for line in text.splitlines())


def bill(
    target: Target,
    activity: Activity,
    totals: Totals,
    layers: Sequence[LayerCost],
    unpriced: Sequence[str] = (),
    baseline: Baseline | None = None,
) -> EnergyReport:
    """Return the report of a target on an activity.

    Args:
        target: What priced it.
        activity: What it priced.
        totals: The figures of a whole inference.
        layers: The figures of each layer.
        unpriced: What this target has no figure for, beside the activity's own ``unpriced``.
        baseline: The conventional network of the same shape.
    """
    return EnergyReport(
        target=target.name,
        fingerprint=target.fingerprint,
        samples=activity.samples,
        synops=activity.synops,
        spikes_per_synapse=activity.spikes_per_synapse,
        layers=tuple(layers),
        unpriced=(*activity.unpriced, *unpriced),
        statement=target.statement,
        baseline=baseline,
        **{f.name: getattr(totals, f.name) for f in fields(Totals)},
    )
