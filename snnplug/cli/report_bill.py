"""The bill of one run: cards, bars and tables."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from snnplug.cli.report_html import Bar, bars, figure, legend, panels, percent, table
from snnplug.cli.report_run import Run
from snnplug.hardware.report import EnergyReport
from snnplug.hardware.report_plot import GREY, rivals
from snnplug.hardware.report_table import amount


def part_names(reports: Iterable[EnergyReport]) -> list[str]:
    """Return the parts of all bills, in their order; their places are their colours."""
    return list(dict.fromkeys(part for report in reports for part in report.parts_nj))


def band_of(report: EnergyReport) -> tuple[float, float] | None:
    """Return the ends of the energy's band."""
    if report.energy_nj_low is None or report.energy_nj_high is None:
        return None
    return report.energy_nj_low, report.energy_nj_high


def layer_bars(report: EnergyReport) -> list[Bar]:
    """Return the energy of each layer, its parts stacked."""
    return [
        Bar(layer.name, {part: nj for part, nj in layer.parts_nj.items() if nj})
        for layer in report.layers
        if layer.parts_nj
    ]


def rival_bars(report: EnergyReport, colour: int = 0) -> list[Bar]:
    """Return the energy with its band, and that of the dense machine and conventional networks."""
    if not report.parts_nj:
        return []
    (_, own), *others = rivals(report)
    return [
        Bar("this network", {"": own}, band_of(report), colour),
        *(Bar(_RIVALS.get(name, name), {"": nj}, colour=GREY) for name, nj in others),
    ]


_RIVALS = {"dense": "dense machine"}


def cards(run: Run) -> str:
    """Return the figures that a person looks for first."""
    r = run.report
    band = band_of(r)
    entries = [
        ("test accuracy", percent(run.test_accuracy), ""),
        ("best validation accuracy", percent(run.best_accuracy), ""),
        (
            "nJ per inference",
            figure(r.energy_nj) if r.energy_nj is not None else "-",
            f"band {figure(band[0])} … {figure(band[1])}" if band else "",
        ),
        (
            "less than without skipping zeros",
            f"{r.sparsity_gain:.1f}x" if r.sparsity_gain else "-",
            "",
        ),
        ("µs per inference", figure(r.latency_us) if r.latency_us is not None else "-", ""),
        ("mm²", figure(r.area_mm2) if r.area_mm2 is not None else "-", ""),
        (
            "synops per inference",
            figure(r.synops),
            f"{figure(r.spikes_per_synapse)} spikes per synapse",
        ),
    ]
    shown = "".join(
        f"<div><b>{escape(value)}</b>{escape(name)}<small>{escape(more)}</small></div>"
        for name, value, more in entries
        if value != "-"
    )
    return f'<div class="cards">{shown}</div>'


def pictures(report: EnergyReport) -> str:
    """Return the energy of each layer, and that of the network beside its rivals."""
    if not report.parts_nj:
        return ""
    parts = part_names([report])
    return "<h2>Energy per inference</h2>" + panels(
        {
            "Of each layer": bars(layer_bars(report), "nJ", parts) + legend(parts),
            "Beside the dense machine and the conventional network": bars(rival_bars(report), "nJ")
            + _baseline(report),
        }
    )


def _baseline(report: EnergyReport) -> str:
    b = report.baseline
    if b is None:
        return ""
    return (
        f'<p class="note">The conventional network of the same shape (ANN) takes one pass. The '
        f"spiking network takes less up to {b.break_even_num_steps:.1f} time steps; this one has "
        f"{b.num_steps:g}. QNN: with {b.matched_bits}-bit activations, as much as "
        f"{b.num_steps:g} binary spikes can count.</p>"
    )


def tables(report: EnergyReport) -> str:
    """Return the bill in figures: layers, then parts."""
    layers = [
        [
            layer.name,
            layer.kind,
            f"{layer.synops:,.0f}",
            amount(layer.energy_nj, 3),
            amount(layer.latency_us),
        ]
        for layer in report.layers
    ]
    parts = [
        [part, amount(nj, 3), f"{100 * nj / report.energy_nj:.1f} %" if report.energy_nj else "-"]
        for part, nj in report.parts_nj.items()
    ]
    return "<h2>The bill in figures</h2>" + panels(
        {
            "Layers": table(["layer", "kind", "synops", "nJ", "µs"], layers),
            "Parts": table(["part", "nJ", "share"], parts) if parts else "",
        }
    )
