"""A wandb logger that never prompts, crashes or hangs for want of an account."""

from __future__ import annotations

import os
import secrets
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import wandb
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn
from wandb.errors import CommError, UsageError

from snnplug.errors import ArgumentError
from snnplug.files import lock

_LOCK_WAIT_S = 10.0


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
    digits, so that folders sort by time. A folder belongs to one process at a time.

    When wandb does not answer at the start, or refuses the key, the run is written offline and says
    so. When it is lost later, training goes on, and ``wandb sync`` uploads from the folder what is
    missing.

    Args:
        project: wandb project.
        save_dir: Folder of all runs; made if it is not there.
        name: Display name in wandb; None lets wandb choose.
        id: Run id; None makes a new one, or takes that of the environment (``WANDB_RUN_ID``, which
            an agent of a sweep sets).
        mode: ``"online"``, ``"offline"``, ``"disabled"``, or None: online when ``wandb login`` was
            done, else offline. The environment variable ``WANDB_MODE`` decides before it.
        tags: wandb tags.
        init_timeout_s: How long to wait for wandb before the run begins; offline after it.
        finish_timeout_s: How long to upload after the run has ended.
        **kwargs: Anything else that WandbLogger or ``wandb.init`` takes; ``settings`` in place of
            the two times.

    Raises:
        ArgumentError: The folder cannot be written, or another process is writing the run.

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
        init_timeout_s: float = 30.0,
        finish_timeout_s: float = 120.0,
        **kwargs: Any,
    ) -> None:
        run_id = (
            id
            or os.environ.get("WANDB_RUN_ID")
            or f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        )
        self.run_dir = Path(save_dir, project, run_id)
        self._release: Callable[[], Any] | None = None
        super().__init__(
            project=project, save_dir=save_dir, name=name, id=run_id, tags=tags, **kwargs
        )
        self._wandb_init.pop("anonymous", None)  # Lightning always passes it, wandb warns about it
        if os.environ.get("WANDB_SWEEP_ID"):  # the agent decides, and wandb warns about ours
            for name in ("project", "entity", "id"):
                self._wandb_init.pop(name, None)
        self._wandb_init["dir"] = str(self.run_dir.resolve())
        if mode is None and "WANDB_MODE" not in os.environ and not logged_in():
            mode = "offline"
        if mode is not None:
            self._wandb_init["mode"] = mode
        if self._wandb_init.get("settings") is None:
            # Without wandb's charts in letters at the end: they bury the bill.
            settings = wandb.Settings(
                quiet=True, init_timeout=init_timeout_s, finish_timeout=finish_timeout_s
            )
            if mode == "offline":  # nor its advice at the start, which the summary gives better
                settings.silent = True
            self._wandb_init["settings"] = settings

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The wandb run, begun when it is first asked for."""
        if self._experiment is not None:
            return self._experiment
        self._occupy()
        try:
            return super().experiment
        except (CommError, UsageError) as error:
            if self._wandb_init.get("mode") == "offline":
                raise
            reason = str(error).splitlines()[0]
            rank_zero_warn(
                f"wandb cannot be reached ({reason}): the run is written offline; `wandb sync` "
                "uploads it later"
            )
            self._wandb_init["mode"] = "offline"
            wandb.teardown()  # its service still holds the id
            return super().experiment

    def _occupy(self) -> None:
        """Make the run's folder, and keep other processes out of it."""
        if self._release is not None:
            return
        try:
            self.run_dir.mkdir(parents=True, exist_ok=True)  # wandb warns about a missing folder
            # Workers of a run that was killed hold its lock for a moment longer.
            held = lock(self.run_dir / ".lock", wait_s=_LOCK_WAIT_S)
            self._release = weakref.finalize(self, os.close, held)
            for place in ("", "checkpoints", "plots"):  # what a process was killed while writing
                for partial in (self.run_dir / place).glob("*.partial"):
                    partial.unlink(missing_ok=True)
        except BlockingIOError:
            raise ArgumentError(
                f"another process is writing the run {self.run_dir}; wait for it, or leave the id "
                "out to begin a run of its own"
            ) from None
        except OSError as error:
            raise ArgumentError(
                f"cannot write the run {self.run_dir}: {error.strerror}; name a folder that can be "
                "written with --trainer.logger.save_dir"
            ) from error

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

    def finish(self, exit_code: int = 0) -> None:
        """Write out what wandb still holds, and close the run.

        Args:
            exit_code: What the process ends with; wandb calls a run failed unless it is 0.
        """
        if self._experiment is not None:
            self._experiment.finish(exit_code=exit_code)
            self._experiment = None
        if self._release is not None:
            self._release()
            self._release = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy in another process writes the run through this one."""
        state: dict[str, Any] = super().__getstate__()
        return {**state, "_release": None}

    @property
    def offline_dir(self) -> Path | None:
        """The folder that ``wandb leet`` shows and ``wandb sync`` uploads; None when online."""
        found = self._offline_dirs()
        return found[-1] if found else None

    @property
    def online_dir(self) -> Path | None:
        """The folder that ``wandb sync`` uploads what is missing from; None when offline."""
        found = sorted(self.run_dir.glob("wandb/run-*/run-*.wandb"))
        return found[-1].parent if found and self.offline_dir is None else None

    @property
    def is_resumed(self) -> bool:
        """Whether the run was written offline in several parts."""
        return len(self._offline_dirs()) > 1

    def _offline_dirs(self) -> list[Path]:
        return sorted(self.run_dir.glob("wandb/offline-run-*"))
