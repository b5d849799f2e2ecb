"""The bill as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from snnplug.hardware.exploration import Exploration
    from snnplug.hardware.report import EnergyReport


def amount(value: float | None, digits: int = 2) -> str:
    """Return a figure for a table; ``-`` for one that a target does not have.

    Example:
        >>> amount(1234.5), amount(None)
        ('1,234.50', '-')
    """
    return "-" if value is None else f"{value:,.{digits}f}"


def report_table(report: EnergyReport) -> Group:
    """Return totals, the bill per layer and per part, and what the target says about itself."""
    blocks: list[Text | Table] = [_totals(report), _layers(report)]
    if report.parts_nj:
        blocks.append(_parts(report))
    if report.unpriced:
        blocks.append(Text(f"not priced: {', '.join(report.unpriced)}", style="bold"))
    return Group(*blocks, Text(report.statement, style="dim"))


def _totals(report: EnergyReport) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column()
    if report.energy_nj is None:
        grid.add_row("energy", Text(f"no figure on {report.target}"))
    else:
        grid.add_row(
            "energy",
            Text(
                f"{report.energy_nj:,.1f} nJ/inference "
                f"[{amount(report.energy_nj_low, 1)} … {amount(report.energy_nj_high, 1)}] "
                f"on {report.target}"
            ),
        )
        grid.add_row(
            "dense",
            f"{amount(report.dense_nj, 1)} nJ on the same datapath: sparsity saves "
            f"{report.sparsity_gain:.1f}x",
        )
    if report.baseline is not None:
        for name, text in _baseline_rows(report):
            grid.add_row(name, text)
    if report.latency_us is not None:
        pipelined = report.latency_pipelined_us
        beside = "" if pipelined is None else f", {pipelined:,.1f} µs with all layers at once"
        grid.add_row("latency", f"{report.latency_us:,.1f} µs{beside}")
    if report.area_mm2 is not None:
        grid.add_row("area", f"{report.area_mm2:.2f} mm²")
    grid.add_row(
        "activity",
        f"{report.synops:,.0f} synops, {report.spikes_per_synapse:.3g} spikes per synapse",
    )
    return grid


def _baseline_rows(report: EnergyReport) -> list[tuple[str, str]]:
    b = report.baseline
    if b is None:
        return []
    return [
        (
            "ANN",
            f"{b.ann_nj:,.1f} nJ in one pass, {b.ann_bits}-bit activations; break-even at "
            f"{b.break_even_num_steps:.1f} time steps, here {b.num_steps:g}",
        ),
        (
            "QNN",
            f"{b.matched_nj:,.1f} nJ, {b.matched_bits}-bit activations, as much as "
            f"{b.num_steps:g} time steps can count",
        ),
    ]


def _layers(report: EnergyReport) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("layer", "kind"):
        table.add_column(name)
    for name in ("synops", "nJ", "share", "µs"):
        table.add_column(name, justify="right")
    for layer in report.layers:
        energy_nj, total = layer.energy_nj, report.energy_nj
        share = f"{100 * energy_nj / total:.1f} %" if energy_nj is not None and total else "-"
        table.add_row(
            Text(layer.name),
            layer.kind,
            f"{layer.synops:,.0f}",
            amount(energy_nj),
            share,
            amount(layer.latency_us),
        )
    return table


def _parts(report: EnergyReport) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("part")
    for name in ("nJ", "share"):
        table.add_column(name, justify="right")
    for part, value in report.parts_nj.items():
        share = f"{100 * value / report.energy_nj:.1f} %" if report.energy_nj else "-"
        table.add_row(part, amount(value), share)
    return table


def _short(value: float | None) -> str:
    """Return a figure for a table whose rows have to fit into 80 columns."""
    return amount(value, 2 if value is None or value < 100 else 1 if value < 10_000 else 0)


def comparison_table(reports: Sequence[EnergyReport]) -> Group:
    """Return one row per target, and each one's statement.

    ``saves``: how many times more the same machine takes without skipping zeros.
    """
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("target", no_wrap=True)
    for name in ("nJ", "band", "dense nJ", "saves", "µs", "mm²"):
        table.add_column(name, justify="right", no_wrap=True)
    for r in reports:
        has_energy = r.energy_nj is not None
        table.add_row(
            r.target,
            _short(r.energy_nj),
            f"{_short(r.energy_nj_low)} … {_short(r.energy_nj_high)}" if has_energy else "-",
            _short(r.dense_nj),
            f"{r.sparsity_gain:.1f}x" if has_energy else "-",
            _short(r.latency_us),
            amount(r.area_mm2),
        )
    notes = [Text(f"{r.target}: {r.statement}", style="dim") for r in reports]
    missing = [
        Text(f"{r.target} does not price {', '.join(r.unpriced)}", style="bold")
        for r in reports
        if r.unpriced
    ]
    return Group(table, *missing, *notes)


def front_table(exploration: Exploration, limit: int) -> Group:
    """Return the front of a sweep, at most ``limit`` rows spread over it."""
    columns, rows = exploration.rows(front_only=True)
    figures = list(exploration.objectives)
    shown = [*exploration.points, *figures]
    places = [columns.index(name) for name in shown]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in shown:
        table.add_column(name, justify="right")
    step = max(1, -(-len(rows) // max(1, limit)))
    for row in rows[::step]:
        table.add_row(*(f"{row[place]:,.6g}" for place in places))
    spread = f", every {step}th shown" if step > 1 else ""
    return Group(
        table,
        Text(
            f"{len(rows):,} of {len(exploration):,} points of {exploration.target} are on the "
            f"front of {', '.join(figures)}{spread}",
            style="dim",
        ),
    )
