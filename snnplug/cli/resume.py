"""``--ckpt_path last|auto|RUN``: a run that was stopped goes on in its own folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from snnplug.errors import RecipeError

LAST = Path("checkpoints", "last.ckpt")
# Where a run lies and what it goes on from differ between a run and its resumption.
NOT_COMPARED = ("ckpt_path", "config", "trainer.logger.init_args.id")


def find_run(ckpt_path: str, runs: Path) -> Path | None:
    """Return the folder of the run that ``ckpt_path`` asks to continue.

    Args:
        ckpt_path: ``"last"`` for the newest run that has a checkpoint, a run's folder, or anything
            else, which is a checkpoint that begins a new run.
        runs: The folder of the project's runs.

    Returns:
        The run's folder, or None when a new run begins.

    Raises:
        RecipeError: There is no run to continue, or it has no checkpoint yet.
    """
    if ckpt_path == "last":
        # Their names begin with the time of their start.
        found = sorted(path.parent.parent for path in runs.glob(f"*/{LAST}"))
        if not found:
            raise RecipeError(
                f"--ckpt_path last: no run under {runs} has a checkpoint; leave it out to begin "
                "a run, or give the folder of a run or a checkpoint file"
            )
        return found[-1]
    folder = Path(ckpt_path)
    if not folder.is_dir():
        return None
    if not (folder / LAST).is_file():
        raise RecipeError(
            f"--ckpt_path {ckpt_path}: there is no {LAST} in it; give the folder of a run that "
            "finished an epoch, or a checkpoint file"
        )
    return folder


def run_of_job(run_id: str | None, runs: Path) -> tuple[Path, bool]:
    """Return the folder of the run that this job is, and whether it goes on there.

    For ``--ckpt_path auto``: one line that begins a run when the job starts and goes on with it
    when the job is started again, as torchrun and SLURM do after a failure.

    Args:
        run_id: ``trainer.logger.id``; None takes the job's own.
        runs: The folder of the project's runs.

    Raises:
        RecipeError: There is no id, and no job that has one.
    """
    name = run_id or _job()
    if name is None:
        raise RecipeError(
            "--ckpt_path auto: this is no job of torchrun or SLURM that has an id; give "
            "--trainer.logger.id NAME, torchrun's --rdzv-id, or --ckpt_path last"
        )
    folder = runs / name
    return folder, (folder / LAST).is_file()


def _job() -> str | None:
    """Return the name of the job that all its processes and all its restarts share."""
    for scheduler, variable in (("torchrun", "TORCHELASTIC_RUN_ID"), ("slurm", "SLURM_JOB_ID")):
        value = os.environ.get(variable)
        if value and value != "none":  # torchrun without --rdzv-id
            return f"{scheduler}-{value}"
    return None


def recipe_of(checkpoint: Path) -> dict[str, Any] | None:
    """Return the recipe that the run of a checkpoint was launched with, if it lies beside it."""
    path = checkpoint.resolve().parent.parent / "recipe.yaml"
    if not path.is_file():
        return None
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else None


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return a line for every field in which two recipes differ.

    Example:
        >>> differences({"model": {"lr": 0.1}}, {"model": {"lr": 0.2}})
        ['model.lr: 0.1 -> 0.2']
    """
    old, new = dict(leaves(before)), dict(leaves(now))
    return [
        f"{key}: {old.get(key)} -> {new.get(key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not key.startswith(NOT_COMPARED)
    ]


def leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf with its dotted name."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from leaves(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, tree
