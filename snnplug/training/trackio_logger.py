"""A run in trackio, a dashboard on one's own computer."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from snnplug.errors import needs


class TrackioLogger(Logger):
    """Logs a run to trackio: figures, pictures, tables and histograms, without account or network.

    ``trackio show --project NAME`` opens the dashboard. trackio keeps its data in a folder of its
    own (``TRACKIO_DIR``, or the user's cache); the run's folder, ``<save_dir>/<project>/<id>``,
    holds what snnplug writes: checkpoints, recipe, bill and ``metrics.jsonl``.

    Args:
        project: trackio project.
        save_dir: Folder of all runs.
        id: Name of the run, in trackio as well; None makes one of the time and four random digits.
            A run that is there is gone on with.
        **kwargs: Anything else that ``trackio.init`` takes, such as ``space_id`` for a dashboard
            elsewhere.

    Raises:
        MissingExtraError: trackio is not installed, when the first figure is logged.

    Example:
        >>> logger = TrackioLogger(project="digits", id="first")
        >>> logger.run_dir.as_posix()
        'runs/digits/first'
    """

    def __init__(
        self,
        project: str = "snnplug",
        save_dir: str = "runs",
        id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self._project = project
        self._save_dir = save_dir
        self._id = id or f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        self._init = kwargs
        self._experiment: Any = None
        self._trackio: Any = None

    @property
    def name(self) -> str:
        """The project."""
        return self._project

    @property
    def version(self) -> str:
        """The run's name."""
        return self._id

    @property
    def save_dir(self) -> str:
        """The folder of all runs."""
        return self._save_dir

    @property
    def run_dir(self) -> Path:
        """The run's folder."""
        return Path(self._save_dir, self._project, self._id)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The trackio run, begun when it is first asked for."""
        if self._experiment is None:
            self._trackio = needs("trackio", "trackio", "TrackioLogger")
            begin = {"resume": "allow", "embed": False, **self._init}
            self._experiment = self._trackio.init(project=self._project, name=self._id, **begin)
        return self._experiment

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Enter the recipe into the run's configuration, which is written with the first row."""
        self.experiment.config.update(params if isinstance(params, Mapping) else vars(params))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log figures."""
        self.experiment.log(dict(metrics), step=step)

    @rank_zero_only
    def log_image(
        self, key: str, images: Sequence[npt.NDArray[np.uint8]], step: int | None = None
    ) -> None:
        """Show pictures, each ``(H, W, 3 or 4)``."""
        run = self.experiment
        for image in images:
            run.log({key: self._trackio.Image(image)}, step=step)

    @rank_zero_only
    def log_table(
        self,
        key: str,
        columns: Sequence[str],
        data: Sequence[Sequence[Any]],
        step: int | None = None,
    ) -> None:
        """Show a table."""
        run = self.experiment
        rows = [list(row) for row in data]
        run.log({key: self._trackio.Table(columns=list(columns), data=rows)}, step=step)

    @rank_zero_only
    def log_histogram(
        self, key: str, values: npt.NDArray[np.floating[Any]], step: int | None = None
    ) -> None:
        """Show how values are distributed."""
        run = self.experiment
        counted = np.histogram(values, bins=64)
        run.log({key: self._trackio.Histogram(np_histogram=counted)}, step=step)

    @rank_zero_only
    def finish(self, exit_code: int = 0) -> None:
        """Write out what is still held, and end the run; trackio does it at the process's end."""
        if self._experiment is not None:
            self._trackio.finish()
            self._experiment = None
