"""A wandb logger that never prompts, crashes or hangs for want of an account."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import wandb
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only


def logged_in() -> bool:
    """Whether wandb knows an API key; asks neither the user nor the network."""
    try:
        return bool(wandb.login(prompt=False, verify=False))
    except TypeError:  # wandb before `prompt` existed
        return bool(os.environ.get("WANDB_API_KEY"))


class RunLogger(WandbLogger):
    """Lightning's WandbLogger with one folder per run, offline when nobody is logged in.

    Everything of a run lies in ``<save_dir>/<project>/<id>``: wandb's own files, the checkpoints,
    the recipe as launched and the hardware bill. The id is the time of the start and four random
    digits, so that folders sort by time.

    Args:
        project: wandb project.
        save_dir: Folder of all runs; made if it is not there.
        name: Display name in wandb; None lets wandb choose.
        id: Run id; None makes a new one.
        mode: ``"online"``, ``"offline"``, ``"disabled"``, or None: online when ``wandb login`` was
            done, else offline. The environment variable ``WANDB_MODE`` decides before it.
        tags: wandb tags.
        **kwargs: Anything else that WandbLogger or ``wandb.init`` takes.

    Example:
        >>> logger = RunLogger(project="nmnist", save_dir="runs", id="first")   # doctest: +SKIP
        >>> logger.run_dir                                                      # doctest: +SKIP
        PosixPath('runs/nmnist/first')
    """

    def __init__(
        self,
        project: str = "snnplug",
        save_dir: str = "runs",
        name: str | None = None,
        id: str | None = None,
        mode: str | None = None,
        tags: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        run_id = id or f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        self.run_dir = Path(save_dir, project, run_id)
        super().__init__(
            project=project, save_dir=save_dir, name=name, id=run_id, tags=tags, **kwargs
        )
        self._wandb_init.pop("anonymous", None)  # Lightning always passes it, wandb warns about it
        self._wandb_init["dir"] = str(self.run_dir.resolve())
        if self._wandb_init.get("settings") is None:
            # Without wandb's charts in letters at the end: they bury the bill.
            self._wandb_init["settings"] = wandb.Settings(quiet=True)
        if mode is None and "WANDB_MODE" not in os.environ and not logged_in():
            mode = "offline"
        if mode is not None:
            self._wandb_init["mode"] = mode

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The wandb run, begun when it is first asked for."""
        self.run_dir.mkdir(parents=True, exist_ok=True)  # wandb warns about a missing folder
        return super().experiment

    @rank_zero_only
    def log_histogram(
        self, key: str, values: npt.NDArray[np.floating[Any]], step: int | None = None
    ) -> None:
        """Show how values are distributed."""
        counted = wandb.Histogram(np_histogram=np.histogram(values, bins=64))
        self.log_metrics(cast(Any, {key: counted}), step)

    @rank_zero_only
    def log_summary(self, figures: dict[str, float]) -> None:
        """Write figures into the run's summary, which wandb's table of runs shows."""
        self.experiment.summary.update(figures)

    def finish(self) -> None:
        """Write out what wandb still holds, and close the run."""
        if self._experiment is not None:
            self._experiment.finish()
            self._experiment = None

    @property
    def offline_dir(self) -> Path | None:
        """The folder that ``wandb leet`` shows and ``wandb sync`` uploads; None when online."""
        found = self._offline_dirs()
        return found[-1] if found else None

    @property
    def is_resumed(self) -> bool:
        """Whether the run was written offline in several parts."""
        return len(self._offline_dirs()) > 1

    def _offline_dirs(self) -> list[Path]:
        return sorted(self.run_dir.glob("wandb/offline-run-*"))
