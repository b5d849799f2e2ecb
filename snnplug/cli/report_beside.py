"""Several runs in one picture each: what a report says about them together."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import yaml

from snnplug.cli.report_bill import band_of, layer_bars, part_names, rival_bars
from snnplug.cli.report_curves import curves
from snnplug.cli.report_html import Bar, bars, legend, panels, percent, table
from snnplug.cli.report_run import Run
from snnplug.cli.resume import NOT_COMPARED, leaves
from snnplug.cli.svg import raster
from snnplug.hardware.report_table import amount

_COLUMNS = (
    "run",
    "target",
    "bill of",
    "val/acc",
    "test/acc",
    "nJ",
    "band",
    "dense nJ",
    "synops",
    "µs",
    "mm²",
)


def side_by_side(runs: Sequence[Run]) -> str:
    """Return what sets runs beside one another."""
    return "".join(
        [
            table(_COLUMNS, [_figures(run) for run in runs], has_swatches=True),
            _caution(runs),
            _differing(runs),
            curves(runs),
            _bills(runs),
            "<h2>Spikes of one sample</h2>" if any(run.spikes for run in runs) else "",
            panels(
                {run.name: raster(run.spikes, place) for place, run in enumerate(runs)},
                has_swatches=True,
            ),
        ]
    )


def _figures(run: Run) -> list[str]:
    r = run.report
    band = band_of(r)
    return [
        run.name,
        r.target,
        run.data,
        percent(run.best_accuracy),
        percent(run.test_accuracy),
        amount(r.energy_nj),
        f"{amount(band[0])} … {amount(band[1])}" if band else "-",
        amount(r.dense_nj),
        f"{r.synops:,.0f}",
        amount(r.latency_us),
        amount(r.area_mm2),
    ]


def _caution(runs: Sequence[Run]) -> str:
    """Return what keeps the figures from being compared, if anything does."""
    notes = []
    if len({run.report.fingerprint for run in runs}) > 1:
        notes.append(
            "These bills are of different targets, or of different versions of one; their figures "
            "need not hold the same terms."
        )
    if len({run.is_test for run in runs}) > 1:
        notes.append("Some bills are of a test set, others of a validation set.")
    return "".join(f'<p class="note">{note}</p>' for note in notes)


def _bills(runs: Sequence[Run]) -> str:
    """Return the energy of each run: by part, by layer, and beside its rivals, on one scale."""
    priced = [run for run in runs if run.report.parts_nj]
    if not priced:
        return ""
    parts = part_names(run.report for run in priced)
    totals = [Bar(run.name, run.report.parts_nj, band_of(run.report)) for run in priced]
    layers = {run.name: layer_bars(run.report) for run in runs}
    rivals = {run.name: rival_bars(run.report, place) for place, run in enumerate(runs)}
    longest_layer, longest_rival = (
        max(bar.reach for every in groups.values() for bar in every) for groups in (layers, rivals)
    )
    return "".join(
        [
            "<h2>Energy per inference</h2>",
            bars(totals, "nJ", parts),
            legend(parts),
            '<p class="note">The line over each bar is the band that the calibration of its target '
            "leaves open.</p>",
            "<h3>Of each layer</h3>",
            panels(
                {n: bars(v, "nJ", parts, longest_layer) if v else "" for n, v in layers.items()},
                has_swatches=True,
            ),
            "<h3>Beside the dense machine and the conventional network</h3>",
            panels(
                {n: bars(v, "nJ", longest=longest_rival) if v else "" for n, v in rivals.items()},
                has_swatches=True,
            ),
        ]
    )


def _differing(runs: Sequence[Run]) -> str:
    """Return the fields in which the recipes differ."""
    recipes = [_fields(run.recipe) for run in runs]
    if not all(recipes):
        return ""
    keys = dict.fromkeys(key for fields in recipes for key in fields)
    rows = [
        [key, *(fields.get(key, "-") for fields in recipes)]
        for key in keys
        if len({fields.get(key) for fields in recipes}) > 1 and not key.startswith(NOT_COMPARED)
    ]
    if not rows:
        return '<p class="note">The recipes do not differ.</p>'
    head = ["", *(run.name for run in runs)]
    return f"<h3>Where the recipes differ</h3>{table(head, rows, of='fields')}"


def _fields(recipe: str) -> dict[str, str]:
    try:
        content = yaml.safe_load(recipe)
    except yaml.YAMLError:
        return {}
    return {key: _value(value) for key, value in leaves(content)} if content else {}


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def title_of(runs: Sequence[Run]) -> str:
    """Return what a page about them is called."""
    return escape(runs[0].name if len(runs) == 1 else f"{len(runs)} runs compared")
