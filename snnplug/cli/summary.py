"""What a run ends with on the terminal."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from snnplug.callbacks.hardware_target import HardwareTarget
from snnplug.callbacks.run_folder import run_folder
from snnplug.training.logger import RunLogger


@rank_zero_only
def print_summary(trainer: pl.Trainer, best: str) -> None:
    """Print accuracy, energy with its band, the bill per layer, and where the run lies."""
    console = Console(highlight=False)
    accuracy = {key: float(value) for key, value in trainer.callback_metrics.items()}
    console.print()
    if "test/acc" in accuracy:
        console.print(f"[bold]test accuracy    [/] {100 * accuracy['test/acc']:.2f} %")
    elif "val/acc" in accuracy:
        console.print(f"[bold]val accuracy     [/] {100 * accuracy['val/acc']:.2f} %")
    for stage in ("test", "val"):
        if f"{stage}/wer" in accuracy:
            wer = 100 * accuracy[f"{stage}/wer"]
            console.print(f"[bold]{f'{stage} word errors':<17}[/] {wer:.2f} %")
            break
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # Trainer lacks the annotation
        if isinstance(callback, HardwareTarget) and callback.report is not None:
            console.print(callback.report)
    for logger in trainer.loggers:
        folder = run_folder(logger)
        if folder is not None:
            console.print(f"[bold]run              [/] {_short(folder)}", soft_wrap=True)
        if isinstance(logger, RunLogger):
            _print_wandb(console, logger)
    if best:
        console.print(f"[bold]best checkpoint  [/] {_short(best)}", soft_wrap=True)


def _print_wandb(console: Console, logger: RunLogger) -> None:
    offline, online = logger.offline_dir, logger.online_dir
    if online is not None:
        sync = f"{_wandb()} sync {_short(online)}"
        console.print(f"[bold]if wandb lacks it[/] {sync}", soft_wrap=True)
    if offline is not None:
        wandb, folder = _wandb(), _short(offline)
        console.print(f"[bold]look at it here  [/] {wandb} leet {folder}", soft_wrap=True)
        # A resumed run has a folder for each of its parts.
        parts = f"{Path(folder).parent}/offline-run-*" if logger.is_resumed else folder
        console.print(
            f"[bold]put it on wandb  [/] {wandb} login && {wandb} sync {parts}", soft_wrap=True
        )


def _wandb() -> str:
    """Return how to call wandb from here: by its name, or from an environment not activated."""
    return "wandb" if shutil.which("wandb") else _short(Path(sys.executable).with_name("wandb"))


def _short(path: str | Path) -> str:
    """Return the path from the current folder, when it lies below it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
