"""One page about one or several runs: a single HTML file that asks the network for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import snnplug
from snnplug.cli.report_beside import side_by_side, title_of
from snnplug.cli.report_bill import cards, pictures, tables
from snnplug.cli.report_curves import by_num_steps, curves
from snnplug.cli.report_html import Bar, bars, figure, panels, table
from snnplug.cli.report_run import Run
from snnplug.cli.report_style import STYLE
from snnplug.cli.svg import raster

# The browser itself refuses whatever would be loaded, and every script.
_NOTHING = "default-src 'none'; style-src 'unsafe-inline'"


def page(runs: Sequence[Run]) -> str:
    """Return the page."""
    title = title_of(runs)
    if len(runs) == 1:
        body = _run(runs[0])
    else:
        body = side_by_side(runs) + "".join(
            f'<details class="run"><summary>{escape(run.name)}</summary>{_run(run)}</details>'
            for run in runs
        )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_NOTHING}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title} - snnplug</title><style>{STYLE}</style></head>"
        f"<body><h1>{title}</h1>{body}"
        f"<footer>snnplug {escape(snnplug.__version__)}</footer></body></html>\n"
    )


def _run(run: Run) -> str:
    r = run.report
    unpriced = escape(", ".join(r.unpriced))
    blocks = [
        f'<p class="sub">{r.samples:,} samples of the {run.data}, priced on {escape(r.target)}</p>',
        cards(run),
        f'<p class="note">{escape(r.statement)}</p>',
        f"<p><b>Not priced:</b> {unpriced}</p>" if unpriced else "",
        curves([run]),
        pictures(r),
        f"<h2>Spikes of one sample of the {run.data}</h2>{raster(run.spikes)}"
        if run.spikes
        else "",
        _activity(run),
        _num_steps(run),
        tables(r),
    ]
    if run.recipe:
        recipe = f"<pre>{escape(run.recipe)}</pre>"
        blocks.append(f"<details><summary>Recipe</summary>{recipe}</details>")
    return "".join(blocks)


_NUM_STEPS = {
    "T": "num_steps",
    "test/acc": "test_acc",
    "nJ": "energy_nj",
    "from": "energy_nj_low",
    "to": "energy_nj_high",
    "µs": "latency_us",
}


def _num_steps(run: Run) -> str:
    if not run.num_steps:
        return ""
    rows = [
        ["-" if row.get(name) is None else figure(row[name]) for name in _NUM_STEPS.values()]
        for row in run.num_steps
    ]
    return "<h2>Time steps</h2>" + panels(
        {"Accuracy and energy": by_num_steps(run), "In figures": table([*_NUM_STEPS], rows)}
    )


def _activity(run: Run) -> str:
    if run.activity is None:
        return ""
    density = {
        layer.name: layer.events / (layer.inputs * layer.presentations)
        for layer in run.activity.synaptic
        if layer.inputs and layer.presentations
    }
    shown = panels(
        {
            "Spikes per neuron and time step": _shares(run.activity.firing_rates()),
            "Share of inputs that are not zero": _shares(density),
        }
    )
    return f"<h2>Activity</h2>{shown}" if shown else ""


def _shares(shares: Mapping[str, float]) -> str:
    every = [Bar(name, {"": value}) for name, value in shares.items()]
    return bars(every, "") if every else ""
