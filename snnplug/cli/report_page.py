"""One page about one or several runs: a single HTML file that asks the network for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from snnplug.cli import svg
from snnplug.hardware.activity import Activity
from snnplug.hardware.report import EnergyReport
from snnplug.hardware.report_plot import rivals
from snnplug.hardware.report_table import amount

_STYLE = """
:root{color-scheme:light dark;--ink:#1a1a1a;--dim:#666;--rule:#ccc;--paper:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e6e6e6;--dim:#a0a0a0;--rule:#444;--paper:#16181c}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);
max-width:56rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.25rem;border-bottom:1px solid var(--rule);margin-top:2.5rem}
h3{font-size:1.05rem;margin-bottom:.3rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.15rem .8rem .15rem 0;text-align:right;border-bottom:1px solid var(--rule)}
th:first-child,td:first-child{text-align:left}
svg{width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:var(--ink)}
.frame{fill:none;stroke:var(--rule)}.rule{stroke:var(--rule);stroke-width:.5}
.route{fill:none;stroke:var(--dim);stroke-width:1}
.figures{display:flex;flex-wrap:wrap;gap:1rem 2.5rem}.figures b{display:block;font-size:1.3rem}
.figures span,.note,.legend{color:var(--dim);font-size:.85rem}
.legend span{margin-right:1rem}
.legend i{display:inline-block;width:.8em;height:.8em;margin-right:.3em}
.wide{overflow-x:auto}pre{overflow-x:auto;font-size:.8rem}
"""


@dataclass(frozen=True)
class Run:
    """What a run's folder says.

    Attributes:
        name: The folder's name.
        report: Its bill.
        activity: What was counted for it, if it was kept.
        epochs: What was logged in each epoch.
        num_steps: Accuracy and energy by number of time steps.
        recipe: The recipe as launched.
        is_test: Whether the bill is of the test set.
    """

    name: str
    report: EnergyReport
    activity: Activity | None = None
    epochs: Sequence[dict[str, Any]] = ()
    num_steps: Sequence[dict[str, Any]] = ()
    recipe: str = ""
    is_test: bool = False


def page(runs: Sequence[Run]) -> str:
    """Return the page."""
    title = "snnplug: " + ", ".join(run.name for run in runs)
    body = "".join(_run(run) for run in runs)
    beside = _side_by_side(runs) if len(runs) > 1 else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>What the network costs</h1>{beside}{body}</body></html>\n"
    )


def _side_by_side(runs: Sequence[Run]) -> str:
    rows = [
        [
            run.name,
            run.report.target,
            _accuracy(run),
            amount(run.report.energy_nj),
            f"{amount(run.report.energy_nj_low)} … {amount(run.report.energy_nj_high)}",
            amount(run.report.dense_nj),
            amount(run.report.latency_us),
        ]
        for run in runs
    ]
    columns = ["run", "target", "best val/acc", "nJ", "band", "dense nJ", "µs"]
    return f"<h2>Side by side</h2>{_table(columns, rows)}"


def _accuracy(run: Run) -> str:
    seen = [row["val/acc"] for row in run.epochs if "val/acc" in row]
    return f"{100 * max(seen):.2f} %" if seen else "-"


def _run(run: Run) -> str:
    r = run.report
    blocks = [
        f"<h2>{escape(run.name)}</h2>",
        _figures(run),
        f'<p class="note">{escape(r.statement)}</p>',
    ]
    if r.unpriced:
        blocks.append(f"<p><b>Not priced:</b> {escape(', '.join(r.unpriced))}</p>")
    if r.parts_nj:
        names = [layer.name for layer in r.layers]
        parts = {
            part: [layer.parts_nj.get(part, 0.0) for layer in r.layers]
            for part, total in r.parts_nj.items()
            if total
        }
        blocks += ["<h3>Energy of each layer</h3>", svg.bars(names, parts, "nJ")]
        beside = rivals(r)
        blocks += [
            "<h3>Beside the dense machine and the conventional network</h3>",
            svg.bars([name for name, _ in beside], {"energy": [nj for _, nj in beside]}, "nJ"),
            _baseline(r),
            "<h3>Parts</h3>",
            _parts(r),
        ]
    blocks += ["<h3>Layers</h3>", _layers(r), _epochs(run), _num_steps(run), _activity(run)]
    if run.recipe:
        blocks.append(
            f"<details><summary>Recipe</summary><pre>{escape(run.recipe)}</pre></details>"
        )
    return "".join(blocks)


def _figures(run: Run) -> str:
    r = run.report
    of = "test set" if run.is_test else "validation set"
    entries = [
        (amount(r.energy_nj), f"nJ per inference on {r.target}, {of}"),
        (f"{amount(r.energy_nj_low)} … {amount(r.energy_nj_high)}", "nJ, band of the calibration"),
        (f"{r.sparsity_gain:.1f}x", "less than without skipping zeros"),
        (amount(r.latency_us), "µs"),
        (amount(r.area_mm2), "mm²"),
        (f"{r.synops:,.0f}", "synaptic operations"),
        (f"{r.spikes_per_synapse:.3g}", "spikes per synapse"),
        (_accuracy(run), "best validation accuracy"),
    ]
    cells = (
        f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for value, name in entries
    )
    return f'<div class="figures">{"".join(cells)}</div>'


def _baseline(r: EnergyReport) -> str:
    if r.baseline is None:
        return ""
    b = r.baseline
    return (
        f'<p class="note">The conventional network of the same shape (ANN) takes one pass. The '
        f"spiking network takes less up to {b.break_even_num_steps:.1f} time steps; this one has "
        f"{b.num_steps:g}. QNN: with {b.matched_bits}-bit activations, as much as "
        f"{b.num_steps:g} binary spikes can count.</p>"
    )


def _parts(r: EnergyReport) -> str:
    rows = [
        [part, amount(nj, 3), f"{100 * nj / r.energy_nj:.1f} %" if r.energy_nj else "-"]
        for part, nj in r.parts_nj.items()
    ]
    return _table(["part", "nJ", "share"], rows)


def _layers(r: EnergyReport) -> str:
    rows = [
        [
            layer.name,
            layer.kind,
            f"{layer.synops:,.0f}",
            amount(layer.energy_nj, 3),
            amount(layer.latency_us),
        ]
        for layer in r.layers
    ]
    return _table(["layer", "kind", "synops", "nJ", "µs"], rows)


def _epochs(run: Run) -> str:
    key = "hardware/" + run.report.target.replace("-", "_").replace(".", "_") + "/energy_nj"
    seen = [row for row in run.epochs if key in row and "val/acc" in row]
    if not seen:
        return ""
    data = [
        (row[key], row["val/acc"], f"epoch {row['epoch']}: {row[key]:.4g} nJ, {row['val/acc']:.4f}")
        for row in seen
    ]
    marked = [
        not any(
            (x <= energy and y >= accuracy) and (x, y) != (energy, accuracy) for x, y, _ in data
        )
        for energy, accuracy, _ in data
    ]
    return (
        "<h3>Accuracy and energy over the epochs</h3>"
        + svg.points(data, "nJ per inference", "accuracy", marked)
        + '<p class="note">Filled: no other epoch is as accurate for less.</p>'
    )


def _num_steps(run: Run) -> str:
    if not run.num_steps:
        return ""
    columns = [
        "num_steps",
        "test_acc",
        "energy_nj",
        "energy_nj_low",
        "energy_nj_high",
        "latency_us",
    ]
    rows = [
        ["-" if row.get(name) is None else svg.figure(row[name]) for name in columns]
        for row in run.num_steps
    ]
    return f"<h3>Time steps</h3>{_table(columns, rows)}"


def _activity(run: Run) -> str:
    if run.activity is None:
        return ""
    rates = run.activity.firing_rates()
    density = {
        layer.name: layer.events / (layer.inputs * layer.presentations)
        for layer in run.activity.synaptic
        if layer.inputs and layer.presentations
    }
    return "".join(
        f"<h3>{title}</h3>" + svg.bars(list(shares), {"": [*shares.values()]}, unit)
        for title, shares, unit in (
            ("Spikes per neuron and time step", rates, ""),
            ("Share of inputs that are not zero", density, ""),
        )
        if shares
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'
