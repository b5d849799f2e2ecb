"""``snnplug price`` and ``snnplug explore``: a stored activity, priced without torch."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from snnplug.errors import ArgumentError
from snnplug.files import write_whole
from snnplug.hardware.activity import Activity
from snnplug.hardware.activity_file import load_activity
from snnplug.hardware.report_plot import bill_plots, plot_comparison, png

DEFAULT_TARGET = "yin2017-28nm"


def show_prices(activity: Activity, targets: Sequence[str], given: argparse.Namespace) -> None:
    """Print the bill on one target, or several targets side by side; write and draw it if asked."""
    from rich.console import Console

    from snnplug.hardware.comparison import compare

    comparison = compare(activity, targets)
    single = len(comparison.reports) == 1
    shown = comparison.reports[0] if single else comparison
    Console(highlight=False).print(shown)
    if given.json is not None:
        print(write_whole(given.json, json.dumps(shown.to_dict(), indent=2) + "\n"))
    if given.plots is not None:
        drawn = bill_plots(comparison.reports[0]) if single else {}
        if not single:
            drawn = {"comparison": plot_comparison(comparison.reports)}
        for name, ax in drawn.items():
            print(write_whole(Path(given.plots, f"{name}.png"), png(ax)))


def add_price_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every command that prices takes."""
    parser.add_argument(
        "--target",
        action="append",
        metavar="NAME|FILE",
        help=f"hardware target; give it several times to compare (default: {DEFAULT_TARGET})",
    )
    parser.add_argument("--json", metavar="FILE", help="write the bill as JSON")
    parser.add_argument(
        "--plots",
        metavar="FOLDER",
        help="draw the bill: energy per layer, sparse against dense and conventional; or targets",
    )


def price_command(args: Sequence[str]) -> int:
    """Run ``snnplug price ACTIVITY --target NAME``."""
    parser = argparse.ArgumentParser(
        "snnplug price", description="Price a stored activity; needs no torch."
    )
    parser.add_argument("activity", help="JSON file of a run or of `snnplug estimate`")
    add_price_arguments(parser)
    given = parser.parse_args(args)
    show_prices(load_activity(given.activity), given.target or [DEFAULT_TARGET], given)
    return 0


def explore_command(args: Sequence[str]) -> int:
    """Run ``snnplug explore ACTIVITY --target NAME --grid FIELD=VALUES …``."""
    from rich.console import Console

    from snnplug.hardware.exploration import explore

    parser = argparse.ArgumentParser(
        "snnplug explore",
        description="Price a stored activity over a grid of target fields, and show the Pareto "
        "front of energy, latency and area; needs no torch.",
    )
    parser.add_argument("activity", help="JSON file of a run or of `snnplug estimate`")
    parser.add_argument("--target", default=DEFAULT_TARGET, metavar="NAME|FILE")
    parser.add_argument(
        "--grid",
        action="append",
        required=True,
        metavar="FIELD=VALUES",
        help="a number of the target and its values: datapath.lanes=16,32,64 or supply_v=0.6:0.9:7 "
        "for 7 values from 0.6 to 0.9; give it once per field",
    )
    parser.add_argument("--csv", metavar="FILE", help="write every point")
    parser.add_argument("--png", metavar="FILE", help="draw every point and the front")
    parser.add_argument("--limit", type=int, default=20, help="rows of the front to print")
    given = parser.parse_args(args)
    grid = dict(map(_axis, given.grid))
    if len(grid) < len(given.grid):
        raise ArgumentError("--grid names a field twice; give all its values at once")
    found = explore(load_activity(given.activity), given.target, grid)
    Console(highlight=False).print(found.table(given.limit))
    if given.csv is not None:
        print(found.to_csv(given.csv))
    if given.png is not None:
        print(write_whole(given.png, png(found.plot())))
    return 0


def _axis(text: str) -> tuple[str, list[float]]:
    """Read ``FIELD=a,b,c`` or ``FIELD=from:to:count``.

    Example:
        >>> _axis("lanes=16,32"), _axis("supply_v=0.6:0.9:3")[1]
        (('lanes', [16.0, 32.0]), [0.6, 0.75, 0.9])
    """
    name, equals, values = text.partition("=")
    try:
        if not equals or not name:
            raise ValueError
        if ":" in values:
            start, stop, count = values.split(":")
            number, low, high = int(count), float(start), float(stop)
            if number < 2:
                raise ValueError
            step = (high - low) / (number - 1)
            return name, [low + step * place for place in range(number - 1)] + [high]
        return name, [float(value) for value in values.split(",")]
    except ValueError as error:
        raise ArgumentError(
            f"--grid {text}: write FIELD=16,32,64, or FIELD=from:to:count with at least 2 values"
        ) from error
