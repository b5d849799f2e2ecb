"""The recipe as launched, in the folder of its run and in the loggers' configs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_only

from snnplug.callbacks.run_folder import run_folder, write_text
from snnplug.cli import resume
from snnplug.errors import RecipeError


class SaveRecipe(SaveConfigCallback):
    """Write the recipe as launched into the run's folder and the loggers' configs.

    Lightning's own callback writes into the folder of all runs and refuses the second one.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["save_to_log_dir"] = False
        super().__init__(*args, **kwargs)

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write the recipe, once per fit, on the first process."""
        if is_dry(trainer) or stage != "fit":
            return
        config = self.config.clone()
        is_new = config["ckpt_path"] is None
        config["ckpt_path"] = None  # launching a resumed run's recipe again starts a new run
        text = self.parser.dump(config, skip_none=False)
        for logger in trainer.loggers:
            folder = run_folder(logger)
            if folder is not None and is_new and (folder / resume.LAST).exists():
                raise RecipeError(
                    f"the run {folder} is there already; add --ckpt_path {folder} to go on with "
                    "it, or leave the logger's id out to begin another"
                )
            logger.log_hyperparams({"recipe": yaml.safe_load(text)})
            if folder is not None:
                _keep_earlier(folder / "recipe.yaml", text)
                write_text(folder / "recipe.yaml", text)


@rank_zero_only
def _keep_earlier(recipe: Path, text: str) -> None:
    """A run that goes on with another recipe keeps the one it began with."""
    if recipe.exists() and recipe.read_text(encoding="utf-8") != text:
        number = len(list(recipe.parent.glob("recipe-*.yaml"))) + 1
        recipe.rename(recipe.with_name(f"recipe-{number}.yaml"))


def is_dry(trainer: pl.Trainer) -> bool:
    """Whether this is a ``fast_dev_run``, which leaves nothing behind."""
    return bool(trainer.fast_dev_run)  # type: ignore[attr-defined]  # Trainer lacks the annotation
