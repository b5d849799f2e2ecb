"""``snnplug report``: the folder of a run, or of several, as one HTML page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from snnplug.cli.report_page import page
from snnplug.cli.report_run import place_of, read_runs
from snnplug.files import write_whole


def report_command(args: Sequence[str]) -> int:
    """Run ``snnplug report RUN… [-o FILE]``."""
    parser = argparse.ArgumentParser(
        "snnplug report",
        description="Write a page about runs: their curves, the bill per layer and part, accuracy "
        "over energy, and the spikes. One file, which loads nothing from anywhere.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run, or NAME=FOLDER")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="default: report.html in the first run's folder"
    )
    given = parser.parse_args(args)
    runs = read_runs(given.runs)
    print(write_whole(given.output or place_of(given.runs[0])[1] / "report.html", page(runs)))
    return 0
