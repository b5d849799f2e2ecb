"""What a logger can show besides numbers: tables, figures, histograms, a run's best epoch.

wandb is not imported here. A logger that has the method (``log_table``, ``log_image``,
``log_histogram``, ``log_summary``) is asked; TensorBoard and MLflow have adaptors; one that can
show nothing, such as ``CSVLogger``, is left alone.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def shows_pictures(loggers: Iterable[Logger]) -> bool:
    """Whether any of the loggers can show a figure or a histogram."""
    adapted = (TensorBoardLogger, MLFlowLogger)
    return any(isinstance(logger, adapted) or hasattr(logger, "log_image") for logger in loggers)


@rank_zero_only
def log_table(
    loggers: Iterable[Logger],
    key: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    step: int | None = None,
) -> None:
    """Show a table: an artifact of CSV text in MLflow, a text in TensorBoard.

    Args:
        loggers: Those of the trainer.
        key: Its name, ``section/name``.
        columns: Headings.
        rows: A row each, as long as ``columns``.
        step: The optimiser step it belongs to.
    """
    for logger in loggers:
        if hasattr(logger, "log_table"):
            at = {} if step is None else {"step": step}
            logger.log_table(key, columns=list(columns), data=[list(row) for row in rows], **at)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_text(key, _markdown([columns, *rows]), step)
        elif isinstance(logger, MLFlowLogger):
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([columns, *rows])
            logger.experiment.log_text(logger.run_id, text.getvalue(), f"{key}.csv")


def log_figure(loggers: Iterable[Logger], key: str, figure: Figure, step: int) -> None:
    """Show a matplotlib figure, as :func:`log_pixels` does.

    Args:
        loggers: Those of the trainer.
        key: Its name, ``section/name``.
        figure: Drawn without pyplot, so that nothing has to be closed.
        step: The optimiser step it belongs to.
    """
    log_pixels(loggers, key, pixels(figure)[..., :3], step)


@rank_zero_only
def log_pixels(
    loggers: Iterable[Logger], key: str, picture: npt.NDArray[np.uint8], step: int
) -> None:
    """Show a picture: an image, in MLflow an artifact per step.

    Args:
        loggers: Those of the trainer.
        key: Its name, ``section/name``.
        picture: ``(H, W, 3)``.
        step: The optimiser step it belongs to.
    """
    for logger in loggers:
        if hasattr(logger, "log_image") and not isinstance(logger, MLFlowLogger):
            logger.log_image(key, images=[picture], step=step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(key, picture, step, dataformats="HWC")
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_image(logger.run_id, picture, f"{key}/{step:08d}.png")


@rank_zero_only
def log_histogram(
    loggers: Iterable[Logger], key: str, values: npt.NDArray[np.floating[Any]], step: int
) -> None:
    """Show how values are distributed; MLflow has no histograms.

    Args:
        loggers: Those of the trainer.
        key: Its name, ``section/name``.
        values: Any shape; what is not finite is left out.
        step: The optimiser step they belong to.
    """
    values = values[np.isfinite(values)]
    if not values.size:
        return
    for logger in loggers:
        if hasattr(logger, "log_histogram"):
            logger.log_histogram(key, values, step=step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_histogram(key, values, step)


@rank_zero_only
def log_summary(loggers: Iterable[Logger], figures: Mapping[str, float], step: int) -> None:
    """Write what a run is compared by: into the summary, or as numbers where there is none.

    Args:
        loggers: Those of the trainer.
        figures: Name and number.
        step: The optimiser step they belong to.
    """
    for logger in loggers:
        if hasattr(logger, "log_summary"):
            logger.log_summary(dict(figures))
        else:
            logger.log_metrics(dict(figures), step)


def pixels(figure: Figure) -> npt.NDArray[np.uint8]:
    """Return a figure as drawn, ``(H, W, 4)``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba(), dtype=np.uint8)


def _markdown(rows: Sequence[Sequence[Any]]) -> str:
    """Return rows, the first of them the headings, as TensorBoard's text panel wants them."""
    heads, *rest = [[str(cell) for cell in row] for row in rows]
    return "\n".join("|".join(["", *row, ""]) for row in (heads, ["---"] * len(heads), *rest))
