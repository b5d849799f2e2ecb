"""The results as text: a Markdown table, and bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.neurons.task import OURS, Task


@dataclass
class Result:
    """What was measured of one task.

    Attributes:
        milliseconds: Median of each implementation that ran.
        megabytes: Growth of the peak memory of each that was measured.
        absent: Implementations that were left out, and why.
    """

    milliseconds: dict[str, float]
    megabytes: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


def markdown(results: Mapping[str, Result], tasks: Mapping[str, Task], header: list[str]) -> str:
    """Return everything as Markdown: a table per task, quickest first."""
    lines = [*header, ""]
    for key, result in results.items():
        task, times = tasks[key], result.milliseconds
        lines += [
            f"### {task.title}",
            "",
            "| | ms | times ours | peak memory |",
            "|---|--:|--:|--:|",
        ]
        for name in sorted(times, key=times.__getitem__):
            label = f"*{name}*" if name in task.floors else f"**{name}**" if name == OURS else name
            grown = result.megabytes.get(name)
            memory = "" if grown is None else f"{grown:.0f} MB"
            ratio = times[name] / times[OURS]
            lines.append(f"| {label} | {times[name]:.2f} | {ratio:.2f} | {memory} |")
        for name, why in result.absent.items():
            lines.append(f"| {name} | absent: {why} | | |")
        lines.append("")
    return "\n".join(lines)


def plot(results: Mapping[str, Result], tasks: Mapping[str, Task], path: Path) -> None:
    """Draw the times as bars on a logarithmic axis, one panel per task, as SVG."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "snnplug"
    from matplotlib import pyplot as plt

    heights = [len(result.milliseconds) + 1.5 for result in results.values()]
    figure, axes = plt.subplots(
        len(results),
        figsize=(7.5, 0.24 * sum(heights)),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for axis, (key, result) in zip(axes.flat, results.items(), strict=True):
        task, times = tasks[key], result.milliseconds
        names = sorted(times, key=times.__getitem__, reverse=True)
        colors = {OURS: "C0", **dict.fromkeys(task.floors, "0.3")}
        bars = axis.barh(
            names, [times[n] for n in names], color=[colors.get(n, "0.7") for n in names]
        )
        axis.bar_label(bars, [f"{times[n]:.3g}" for n in names], padding=2, fontsize=7)
        axis.set_xscale("log")
        axis.margins(x=0.12, y=0.02)
        axis.tick_params(labelsize=7)
        axis.set_title(f"{task.title}, ms", fontsize=8, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)
