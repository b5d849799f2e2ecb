"""Pictures of bills, with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

from snnplug.errors import MeasurementError, MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from snnplug.hardware.report import EnergyReport


#: Colours that stay apart for colour-blind readers (Okabe and Ito 2008, the yellow darkened).
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c8c", "#b8a800")
#: Which of them is for what a bill is only compared with.
GREY = 6


def axes(ax: Axes | None, rows: int = 10) -> Axes:
    """Return ``ax``, or new axes.

    Args:
        ax: Where to draw; None makes new axes.
        rows: Of what is drawn below one another; more than ten make the picture higher.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    if ax is not None:
        return ax
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtraError("plots need matplotlib; run pip install 'snnplug[viz]'") from error
    # No pyplot: nothing to close, no window system, safe in any thread.
    new = Figure(figsize=(6.4, max(4.8, 0.36 * rows + 1.2)), layout="constrained").add_subplot()
    new.spines[["top", "right"]].set_visible(False)
    return new


def png(ax: Axes) -> bytes:
    """Return the picture that ``ax`` is part of, as a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    file = BytesIO()
    canvas: Any = FigureCanvasAgg(cast(Any, ax.figure))  # no window system, whatever is set
    canvas.print_png(file)
    return file.getvalue()


def bill_plots(report: EnergyReport) -> dict[str, Axes]:
    """Return the pictures of one bill, by name; none if the target has no figure for energy.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    if report.energy_nj is None:
        return {}
    return {"layers": plot_layers(report), "rivals": plot_rivals(report)}


def plot_layers(report: EnergyReport, ax: Axes | None = None) -> Axes:
    """Draw the energy of each layer, its parts stacked.

    Args:
        report: The bill.
        ax: Where to draw; None makes new axes.

    Raises:
        MissingExtraError: matplotlib is not installed.
        MeasurementError: The report has no energy.
    """
    _require_energy(report)
    names = [layer.name for layer in report.layers]
    ax = axes(ax, len(names))
    left = [0.0] * len(names)
    for place, part in enumerate(report.parts_nj):
        widths = [layer.parts_nj.get(part, 0.0) for layer in report.layers]
        if any(widths):
            shade = COLOURS[place % len(COLOURS)]
            ax.barh(range(len(names)), widths, left=left, label=part, color=shade)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for place, total in enumerate(left):
        _say(ax, total, place, total)
    _name_rows(ax, names)
    ax.set(xlabel="nJ/inference", title=report.target, xlim=(0, 1.18 * max(left)))
    ax.legend(frameon=False)
    return ax


def plot_rivals(report: EnergyReport, ax: Axes | None = None) -> Axes:
    """Draw the sparse machine with its band, the dense one, and the conventional network.

    Args:
        report: The bill.
        ax: Where to draw; None makes new axes.

    Raises:
        MissingExtraError: matplotlib is not installed.
        MeasurementError: The report has no energy.
    """
    _require_energy(report)
    bars = rivals(report)
    ax = axes(ax, len(bars))
    shades = [COLOURS[0]] + [COLOURS[GREY]] * (len(bars) - 1)
    ax.barh(range(len(bars)), [value for _, value in bars], color=shades)
    low, high = report.energy_nj_low, report.energy_nj_high
    farthest = [value for _, value in bars]
    if report.energy_nj is not None and low is not None and high is not None:
        reach = [[report.energy_nj - low], [high - report.energy_nj]]
        ax.errorbar([report.energy_nj], [0], xerr=reach, color="black", capsize=4)
        farthest[0] = high
    for place, (end, (_, value)) in enumerate(zip(farthest, bars, strict=True)):
        _say(ax, end, place, value)
    _name_rows(ax, [name for name, _ in bars])
    ax.set(xlabel="nJ/inference", title=report.target, xlim=(0, 1.18 * max(farthest)))
    return ax


def rivals(report: EnergyReport) -> list[tuple[str, float]]:
    """Return what a bill is compared with: names and nJ, the bill itself first."""
    figures: list[tuple[str, float | None]] = [
        ("sparse", report.energy_nj),
        ("dense", report.dense_nj),
    ]
    if report.baseline is not None:
        b = report.baseline
        figures.append((f"ANN {b.ann_bits} bit", b.ann_nj))
        figures.append((f"QNN {b.matched_bits} bit", b.matched_nj))
    return [(name, value) for name, value in figures if value is not None]


def plot_comparison(reports: Sequence[EnergyReport], ax: Axes | None = None) -> Axes:
    """Draw the energy of each target with its band, and its dense machine, on a log scale.

    Targets without energy are left out.

    Args:
        reports: The bills of one activity.
        ax: Where to draw; None makes new axes.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    shown = [r for r in reports if r.energy_nj]
    ax = axes(ax, len(shown))
    for place, r in enumerate(shown):
        low, high = r.energy_nj_low or 0.0, r.energy_nj_high or 0.0
        energy = r.energy_nj or 0.0
        ax.errorbar(
            [energy],
            [place],
            xerr=[[energy - low], [high - energy]],
            fmt="o",
            color=COLOURS[0],
            capsize=3,
        )
        ax.plot([r.dense_nj or energy], [place], "x", color=COLOURS[1])
    ax.plot([], [], "o", color=COLOURS[0], label="energy and its band")
    ax.plot([], [], "x", color=COLOURS[1], label="dense")
    _name_rows(ax, [r.target for r in shown])
    ax.set(xscale="log", xlabel="nJ/inference")
    ax.legend(frameon=False)
    return ax


def plot_epochs(epochs: Sequence[Mapping[str, float]], ax: Axes | None = None) -> Axes:
    """Draw accuracy over energy, one point per epoch, in their order.

    Args:
        epochs: One mapping per epoch with ``epoch``, ``energy_nj`` and ``acc``.
        ax: Where to draw; None makes new axes.

    Raises:
        MissingExtraError: matplotlib is not installed.
        MeasurementError: There is no epoch.
    """
    if not epochs:
        raise MeasurementError("there is no epoch to draw")
    ax = axes(ax)
    energy, accuracy = [e["energy_nj"] for e in epochs], [e["acc"] for e in epochs]
    ax.plot(energy, accuracy, color="0.8", zorder=1)
    points = ax.scatter(energy, accuracy, c=[e["epoch"] for e in epochs], zorder=2)
    if ax.figure is not None:
        ax.figure.colorbar(points, ax=ax, label="epoch")
    ax.set(xlabel="nJ/inference", ylabel="accuracy")
    return ax


def _name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Name what lies below one another, the first above."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)


def _say(ax: Axes, x: float, y: float, nj: float) -> None:
    """Write an energy at the end of its bar."""
    said = f" {nj:,.0f}" if nj >= 999.5 else f" {nj:.3g}"
    ax.text(x, y, said, va="center")


def _require_energy(report: EnergyReport) -> None:
    if report.energy_nj is None:
        raise MeasurementError(
            f"{report.target} has no figure for energy; there is nothing to draw"
        )
