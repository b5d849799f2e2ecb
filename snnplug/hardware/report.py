"""What an inference costs on a target: totals, parts and layers, each figure with its band."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from io import StringIO
from typing import TYPE_CHECKING, Any, cast

from snnplug.errors import MeasurementError, MissingExtraError
from snnplug.hardware.elementwise import Number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import RenderableType

    from snnplug.hardware.activity import Activity
    from snnplug.hardware.target import Target


@dataclass(frozen=True)
class Totals:
    """What a target gives for a whole inference; None where it has no figure.

    Numbers, or numpy arrays of them when a grid of targets is priced at once.

    Attributes:
        energy_nj: Energy, in nJ.
        energy_nj_low: Lower end of its band.
        energy_nj_high: Upper end of its band.
        dense_nj: The same machine without skipping zeros, in nJ.
        latency_us: From the first input spike to the decision, in µs.
        latency_pipelined_us: The same with every layer on hardware of its own.
        area_mm2: Silicon area, in mm².
    """

    energy_nj: Number | None
    energy_nj_low: Number | None
    energy_nj_high: Number | None
    dense_nj: Number | None
    latency_us: Number | None = None
    latency_pipelined_us: Number | None = None
    area_mm2: Number | None = None


@dataclass(frozen=True)
class Baseline:
    """The conventional network of the same shape on the same memories, computed in one pass.

    Attributes:
        num_steps: Time steps of the spiking network.
        ann_nj: Energy of the conventional network, in nJ, leakage not included.
        ann_bits: Bits of its activations.
        matched_nj: The same with as many bits as the spikes of ``num_steps`` steps can count.
        matched_bits: Those bits.
        break_even_num_steps: Time steps up to which the spiking network takes less energy than
            the conventional one; it need not be whole.
    """

    num_steps: float
    ann_nj: float
    ann_bits: int
    matched_nj: float
    matched_bits: int
    break_even_num_steps: float


@dataclass(frozen=True)
class LayerCost:
    """Cost of one layer per inference.

    Attributes:
        name: Its name in the network.
        kind: Class of the module.
        parts_nj: Energy by part, in nJ, control overhead and leakage included.
        latency_us: Time that the layer takes, in µs; None if the target has no figure.
        synops: Synaptic operations.
    """

    name: str
    kind: str
    parts_nj: Mapping[str, float]
    latency_us: float | None
    synops: float

    @property
    def energy_nj(self) -> float | None:
        """All parts together; None if the target has no figure."""
        return sum(self.parts_nj.values()) if self.parts_nj else None


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
            return cls(**known)
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
