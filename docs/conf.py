"""Sphinx configuration.

What the pages say in figures is written into ``docs/_generated`` from the package itself before
each build, so that a page cannot drift from the code.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import snnplug
from snnplug.cli.main import HELP
from snnplug.cli.recipes import header, packaged_recipes
from snnplug.data.registry import DATASETS
from snnplug.hardware.target import load_target, packaged_targets

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "snnplug"
author = "The snnplug developers"
copyright = "The snnplug developers"
version = release = snnplug.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "_generated", "benchmarks", "jupyter_execute"]
nitpicky = False

html_theme = "furo"
html_title = "snnplug"

# Markdown. Tutorials are executed and show what came out; other code is run by the tests.
nb_execution_mode = "auto"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
nb_output_stderr = "remove"
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Prompts and doctest output are not copied.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
# A base class's docstring says nothing about ours.
autodoc_inherit_docstrings = False

napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Shape", "Reference"]

_GENERATED = Path(__file__).parent / "_generated"


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines
    )


def _numbers(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the dotted key and the value of every number of a target's description."""
    for key, value in table.items():
        if key == "provenance":
            continue
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + key, value


def _constants(name: str) -> str:
    """Return every number of a target with where it comes from."""
    target = load_target(name)
    rows = [
        [
            f"`{key}`",
            f"{value:.4g}",
            target.provenance[key]["evidence"],
            target.provenance[key]["source"],
        ]
        for key, value in _numbers(target.describe())
    ]
    return _table(["key", "value", "evidence", "source"], rows)


def _targets() -> str:
    targets = [load_target(name) for name in packaged_targets()]
    rows = [
        [f"`{t.name}`", str(t.technology_nm or "-"), t.family, t.scope, t.summary] for t in targets
    ]
    return _table(["name", "nm", "family", "scope", "summary"], rows)


def _sram(node_nm: int) -> str:
    """Return read energy by capacity and port width, and leakage and area at the widest port."""
    source = files("snnplug.hardware").joinpath("sram_28nm_45nm.csv")
    with source.open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if float(row["node_nm"]) == node_nm]
    widths = sorted({int(row["width"]) for row in rows})
    capacities = sorted({int(row["kB"]) for row in rows})
    known = {(int(row["kB"]), int(row["width"])): row for row in rows}
    body = []
    for kb in capacities:
        reads = [
            f"{float(known[kb, w]['read_pJ']):.3g}" if (kb, w) in known else "-" for w in widths
        ]
        widest = known[kb, max(w for w in widths if (kb, w) in known)]
        body.append(
            [
                str(kb),
                *reads,
                f"{float(widest['leak_uW']):.3g}",
                f"{float(widest['area_mm2']):.2g}",
            ]
        )
    columns = ["kB", *(f"{w} bit, pJ" for w in widths), "leakage, µW", "area, mm²"]
    return _table(columns, body)


def _bill(name: str) -> str:
    """Return the bill of the network that the target's calibration assumes."""
    from snnplug.hardware.activity import Activity, Layer, NeuronLayer, SynapticLayer
    from snnplug.hardware.operand import BINARY

    sizes, spikes, samples = [784, 256, 256, 10], [103.879325, 59.001575, 66.66215], 1_000_000
    layers: list[Layer] = []
    for i, (fan_in, fan_out, mean) in enumerate(zip(sizes, sizes[1:], spikes, strict=False)):
        events, synapses = round(mean * samples), fan_in * fan_out
        layers += [
            SynapticLayer(
                name=f"fc{i}",
                kind="Linear",
                inputs=fan_in,
                outputs=fan_out,
                weights=synapses,
                fan_out=synapses,
                presentations=samples,
                events=events,
                synops=events * fan_out,
                operand=BINARY,
            ),
            NeuronLayer(f"n{i}", "DiscontinuousIF", fan_out, samples, 0, False, "none", False),
        ]
    report = load_target(name).price(Activity(samples, tuple(layers)))
    rows = [
        [f"`{part}`", f"{value:.3f}", f"{100 * value / report.energy_nj:.1f} %"]
        for part, value in report.parts_nj.items()
    ]
    rows.append(["**total**", f"**{report.energy_nj:.1f}**", ""])
    return _table(["part", "nJ/inference", "share"], rows)


def _names() -> str:
    rows = [
        [f"`snnplug.{name}`", f"{{py:obj}}`snnplug.{home}.{name}`"]
        for name, home in sorted(snnplug._HOME.items())
    ]
    return _table(["name", "defined in"], rows)


def _recipes() -> str:
    pages = []
    for name, path in packaged_recipes().items():
        text = path.read_text(encoding="utf-8")
        pages.append(f"### {name}\n\n{header(path)[0]}\n\n```yaml\n{text}```\n")
    return "\n".join(pages)


def _datasets() -> str:
    rows = [
        [
            f"`{info.name}`",
            f"`{info.data_module}`",
            info.count,
            "x".join(map(str, info.shape)),
            str(info.num_classes),
            info.download,
            info.licence,
            info.source,
        ]
        for info in DATASETS.values()
    ]
    columns = ["name", "in a recipe", "samples", "one step", "classes", "download", "licence"]
    return _table([*columns, "source"], rows)


def _write_generated(app: Sphinx, config: object) -> None:
    """Write what the pages include; a file that has not changed is left alone."""
    content = {
        "names.md": _names(),
        "targets.md": _targets(),
        "datasets.md": _datasets(),
        "sram-28nm.md": _sram(28),
        "bill-yin2017-28nm.md": _bill("yin2017-28nm"),
        "command-line.txt": HELP,
        "recipes.md": _recipes(),
        "constants-per-event.md": "".join(
            f"### {name}\n\n{load_target(name).statement}\n\n{_constants(name)}\n"
            for name in packaged_targets()
            if load_target(name).family not in ("sparse_digital", "dense_digital")
        ),
        **{f"constants-{name}.md": _constants(name) for name in packaged_targets()},
    }
    _GENERATED.mkdir(exist_ok=True)
    for name, text in content.items():
        path = _GENERATED / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Register the writer of the generated pages."""
    app.connect("config-inited", _write_generated)
