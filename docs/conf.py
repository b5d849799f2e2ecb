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


def _logged_runs() -> dict[str, list[dict[str, str]]]:
    """Return the logged runs of each recipe, as ``log_runs.py`` has entered them."""
    with (Path(__file__).parent / "runs.csv").open(encoding="utf-8", newline="") as lines:
        runs: dict[str, list[dict[str, str]]] = {name: [] for name in packaged_recipes()}
        for row in csv.DictReader(lines):
            runs[row["recipe"]].append(row)
    return runs


def _range(values: list[str], digits: int) -> str:
    """Return the lowest and the highest, or the one if all are the same."""
    if not values:
        return ""
    ends = [f"{end:,.{digits}f}" for end in (min(map(float, values)), max(map(float, values)))]
    return " to ".join(dict.fromkeys(ends))


def _gallery() -> str:
    """Return a row for each recipe, and what it is."""
    rows = []
    for name, runs in _logged_runs().items():
        accuracy, energy, seconds = (
            _range([run[column] for run in runs], digits)
            for column, digits in (("test_accuracy", 1), ("energy_nj", 0), ("seconds", 0))
        )
        measured = ["-", "-", "-"]
        if runs:
            clock = _CPU[runs[0]["clock"]]
            measured = [f"{accuracy} %", f"{energy} nJ", f"{seconds} s{clock}"]
        what = header(packaged_recipes()[name])[0]
        link = f"[`{name}`](#{name.replace('_', '-')})"
        rows.append([link, what, *measured, ", ".join(run["seed"] for run in runs) or "-"])
    columns = ["recipe", "what it trains", "test accuracy", "energy per inference", "time", "seeds"]
    return _table(columns, rows)


_CPU = {"CPU": " of CPU time", "wall": ""}


def _runs_of(runs: list[dict[str, str]]) -> str:
    """Return the command of each logged run of a recipe, and what came out."""
    commands = "".join(
        f"$ snnplug fit -c {run['recipe']}{_DATA.get(run['recipe'].split('_')[0], '')}"
        f"{' ' + run['options'] if run['options'] else ''} --seed_everything {run['seed']}\n"
        for run in runs
    )
    rows = [
        [
            run["seed"],
            f"{float(run['test_accuracy']):g} %",
            f"{float(run['energy_nj']):,.1f} nJ [{float(run['energy_nj_low']):,.1f} … "
            f"{float(run['energy_nj_high']):,.1f}]",
            f"{run['seconds']} s{_CPU[run['clock']]}",
        ]
        for run in runs
    ]
    table = _table(["seed", "test accuracy", "energy per inference", "time"], rows)
    return f"```console\n{commands}```\n\n{table}"


def _picture_of(recipe: str) -> str:
    """Return the picture of a recipe's run, if one was entered."""
    if not (Path(__file__).parent / "gallery" / f"{recipe}.png").is_file():
        return ""
    alt = f"Which neuron spikes at which time step, for one test sample of {recipe}."
    return f"```{{image}} gallery/{recipe}.png\n:alt: {alt}\n:width: 60%\n```\n"


# Recipes of recordings and of MNIST are told where these lie.
_DATA = dict.fromkeys(("mnist", "nmnist", "ntidigits", "saccade"), " --data.root FOLDER")


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
        "gallery.md": _gallery(),
        **{f"runs-{name}.md": _runs_of(runs) for name, runs in _logged_runs().items()},
        **{f"picture-{name}.md": _picture_of(name) for name in packaged_recipes()},
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
