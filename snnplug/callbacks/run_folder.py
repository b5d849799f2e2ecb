"""The folder of a run, and files in it that are whole or not there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import Logger, MLFlowLogger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from snnplug.errors import ArgumentError, MissingExtraError
from snnplug.files import write_whole
from snnplug.hardware.report_plot import png

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def run_folder(logger: Logger) -> Path | None:
    """Return the folder of the run that a logger writes, if it has one."""
    for name in ("run_dir", "log_dir"):
        folder = getattr(logger, name, None)
        if isinstance(folder, str | Path):
            return Path(folder)
    if isinstance(logger, MLFlowLogger) and logger.version is not None:
        # Where Lightning puts the checkpoints.
        return Path(logger.save_dir or ".", str(logger.name), str(logger.version))
    return None


@rank_zero_only
def write_text(path: Path, text: str | bytes) -> None:
    """Write a file so that it is whole or not there, on the first process only.

    Where that fails, on a full disk for example, the file that was there stays, and the run goes on
    with a warning.
    """
    try:
        write_whole(path, text)
    except ArgumentError as error:
        rank_zero_warn(f"{error}; the run goes on")


def write_json(path: Path, content: Any, indent: int | None = 2) -> None:
    """Write JSON, as :func:`write_text` does."""
    write_text(path, json.dumps(content, indent=indent) + "\n")


@rank_zero_only
def write_plots(folder: Path, of: str, draw: Callable[[], Mapping[str, Axes | bytes]]) -> None:
    """Write pictures into the run's ``plots/``, where what draws them is installed.

    Args:
        folder: The run's.
        of: What their names end with, as ``"_test"``.
        draw: Draws them: name and axes of matplotlib, or a PNG file.
    """
    try:
        drawn = draw()
    except MissingExtraError:  # Pictures has said what to install
        return
    for name, picture in drawn.items():
        file = picture if isinstance(picture, bytes) else png(picture)
        write_text(folder / "plots" / f"{name}{of}.png", file)
