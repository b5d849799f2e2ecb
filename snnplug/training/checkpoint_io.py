"""Checkpoints that are whole or not there, and never stop a run."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_warn

from snnplug.errors import ArgumentError, RecipeError
from snnplug.files import write_whole


class RunCheckpointIO(TorchCheckpointIO):
    """Writes local checkpoints whole or not at all, and reads only tensors and plain values.

    A checkpoint that cannot be written, on a full disk for example, is a warning: the one that was
    there stays, and training goes on. Lightning's own plugin stops the run, or says nothing where
    the folder is read-only.

    Example:
        >>> import lightning.pytorch as pl
        >>> trainer = pl.Trainer(plugins=[RunCheckpointIO()], logger=False, accelerator="cpu",
        ...                      enable_checkpointing=False, enable_progress_bar=False,
        ...                      enable_model_summary=False)
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint, or warn."""
        if "://" in str(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        content = io.BytesIO()
        torch.save(checkpoint, content)
        try:
            write_whole(path, content.getvalue())
        except ArgumentError as error:
            kept = (
                "the one there is of an earlier epoch" if Path(path).exists() else "there is none"
            )
            rank_zero_warn(f"no checkpoint of this epoch ({kept}): {error}. Training goes on")

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, loc: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint; code in it runs only with ``weights_only=False``."""
        only = True if weights_only is None else weights_only
        return super().load_checkpoint(path, map_location, only)


def check_checkpoint(path: str | Path) -> None:
    """Read a checkpoint to the end before a run begins with it; no code in it runs.

    Args:
        path: The file.

    Raises:
        RecipeError: There is no such file, it is damaged, holds more than tensors and plain values,
            or is no checkpoint.
    """
    if not Path(path).is_file():
        raise RecipeError(
            f"--ckpt_path {path}: there is no such file; give a checkpoint, the folder of a run, "
            "or last"
        )
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as records:
                if records.testzip() is not None:  # torch compares no checksums
                    raise zipfile.BadZipFile("a checksum differs")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds
        if "weights only load failed" in str(error).lower() and "GLOBAL" in str(error):
            raise RecipeError(
                f"--ckpt_path {path}: it holds more than tensors and plain values, which could run "
                "code when it is read, and is refused; write it again with its weights only"
            ) from None
        raise RecipeError(
            f"--ckpt_path {path}: it is damaged or no checkpoint; take another one, such as "
            "best.ckpt beside it"
        ) from None
    if not isinstance(content, dict) or "state_dict" not in content:
        raise RecipeError(
            f"--ckpt_path {path}: it holds no state_dict; give a checkpoint that a run has written"
        )
