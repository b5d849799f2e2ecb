"""``snnplug fit|validate|test|predict``: LightningCLI with snnplug's sections and traps closed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import yaml
from jsonargparse import set_parsing_settings
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar, WeightAveraging
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

# Imported for their short names in recipes: `class_path: DenseSNN`; `accelerator: ipu`.
import snnplug.backends.ipu.strategy
import snnplug.callbacks.num_steps_sweep
import snnplug.callbacks.sample_boosting
import snnplug.callbacks.spike_metrics
import snnplug.data.dvs_gesture
import snnplug.data.heidelberg
import snnplug.data.mnist
import snnplug.data.neuromorse
import snnplug.data.nmnist
import snnplug.data.ntidigits
import snnplug.data.saccade_digits
import snnplug.data.saccade_mnist
import snnplug.networks.conv
import snnplug.networks.dense
import snnplug.networks.leaky
import snnplug.networks.spike_train
import snnplug.training.ctc
import snnplug.training.encoding
import snnplug.training.losses  # noqa: F401
from snnplug import backends
from snnplug.callbacks.accuracy_energy_score import AccuracyEnergyScore
from snnplug.callbacks.data_time import DataTime
from snnplug.callbacks.energy_front import EnergyFront
from snnplug.callbacks.energy_penalty import EnergyPenalty
from snnplug.callbacks.epoch_metrics import EpochMetrics
from snnplug.callbacks.epoch_seed import EpochSeed
from snnplug.callbacks.hardware_target import HardwareTarget
from snnplug.callbacks.pictures import Pictures
from snnplug.callbacks.run_progress import RunProgress
from snnplug.callbacks.spike_record import SpikeRecord
from snnplug.cli import resume
from snnplug.cli.parser import RecipeParser
from snnplug.cli.quiet import quieten
from snnplug.cli.saved_recipe import SaveRecipe, is_dry
from snnplug.cli.summary import print_summary
from snnplug.errors import BackendError
from snnplug.training.checkpoint_io import RunCheckpointIO, check_checkpoint
from snnplug.training.classifier import SpikingClassifier
from snnplug.training.logger import RunLogger
from snnplug.training.trackio_logger import TrackioLogger

# The generated usage lists three hundred options before an error's one line.
_USAGE = "snnplug %s -c NAME|FILE [--FIELD VALUE ...]"
_NAMES = ("fit", "validate", "test", "predict")


class SnnplugCLI(LightningCLI):
    """LightningCLI for a :class:`SpikingClassifier`, any data module, and a hardware target."""

    def __init__(self, args: Sequence[str], run: bool = True, exit_on_error: bool = True) -> None:
        self._named = [name for name in _NAMES if name in args[:1]] or _NAMES
        super().__init__(
            SpikingClassifier,
            pl.LightningDataModule,
            run=run,
            subclass_mode_data=True,
            save_config_callback=SaveRecipe,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            parser_class=RecipeParser,
            parser_kwargs={
                "prog": "snnplug",
                "exit_on_error": exit_on_error,
                **{
                    name: {"usage": _USAGE % name, "exit_on_error": exit_on_error}
                    for name in self._named
                },
            },
            args=list(args),
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # is static there
        """Return the command that is named: the parsers of the others would take half a second."""
        known: dict[str, set[str]] = LightningCLI.subcommands()
        return {name: known[name] for name in self._named}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the sections, and what follows from the data."""
        parser.add_lightning_class_args(HardwareTarget, "hardware")
        parser.add_lightning_class_args(EnergyPenalty, "energy")
        parser.add_lightning_class_args(AccuracyEnergyScore, "score")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(ModelCheckpoint, "last_checkpoint")
        parser.add_lightning_class_args(EpochMetrics, "epoch_metrics")
        parser.add_lightning_class_args(EpochSeed, "epoch_seed")
        parser.add_lightning_class_args(EnergyFront, "energy_front")
        parser.add_lightning_class_args(Pictures, "pictures")
        parser.add_lightning_class_args(DataTime, "data_time")
        parser.add_lightning_class_args(SpikeRecord, "spike_record")
        parser.set_defaults(
            {
                "checkpoint.monitor": "val/acc",
                "checkpoint.mode": "max",
                "checkpoint.filename": "best",
                "checkpoint.enable_version_counter": False,
                # Lightning's save_last follows the best checkpoint, not the last epoch.
                "last_checkpoint.filename": "last",
                "last_checkpoint.enable_version_counter": False,
            }
        )
        parser.add_argument(
            "--test_after_fit",
            type=bool,
            default=True,
            help="Test the best checkpoint after a fit.",
        )
        parser.add_argument(
            "--backend",
            type=str,
            default="fused",
            help=f"How the network runs: {', '.join(backends.names())}. See snnplug doctor.",
        )
        parser.link_arguments("backend", "model.backend")
        parser.link_arguments("data.num_classes", "model.num_classes", apply_on="instantiate")
        parser.link_arguments(
            "data.num_classes", "model.network.init_args.num_classes", apply_on="instantiate"
        )
        parser.link_arguments(
            "data.in_shape", "model.network.init_args.in_shape", apply_on="instantiate"
        )

    def before_instantiate_classes(self) -> None:
        """Refuse a backend that does not run here or on this accelerator, before anything runs."""
        config = self.config.get(self.config.get("subcommand") or "", self.config)
        needed = backends.trainer_kwargs(config.backend)
        for option, value in needed.items():
            given = config.trainer.get(option)
            if given not in (None, "auto", "gpu" if value == "cuda" else "auto", value):
                raise BackendError(
                    f"backend {config.backend!r} needs trainer.{option} {value!r}, not {given!r}"
                )
            config.trainer[option] = value

    def _parse_ckpt_path(self) -> None:
        """Find the run to continue, and say where the recipe differs from what it began with.

        Lightning merges the checkpoint's hyperparameters over the command line, silently.
        """
        subcommand = self.config.get("subcommand")
        if subcommand is None:
            return
        config = self.config[subcommand]
        if not config.get("ckpt_path"):
            return
        logger = config.trainer.get("logger")
        ours = getattr(logger, "class_path", "").endswith(f".{RunLogger.__name__}")
        if ours and subcommand == "fit":
            place = logger.init_args
            runs = Path(place.save_dir, place.project)
            run: Path | None
            if config.ckpt_path == "auto":
                run, goes_on = resume.run_of_job(place.get("id"), runs)
                place.id = run.name
                if not goes_on:
                    config.ckpt_path = None
                    return
            else:
                run = resume.find_run(config.ckpt_path, runs)
            if run is not None:
                place.save_dir, place.project, place.id = map(
                    str, (run.parent.parent, run.parent.name, run.name)
                )
                config.ckpt_path = str(run / resume.LAST)
        if config.ckpt_path not in _FOUND_BY_LIGHTNING and "://" not in str(config.ckpt_path):
            check_checkpoint(config.ckpt_path)
        _show_differences(
            config.ckpt_path,
            yaml.safe_load(self._subcommand_parsers[subcommand].dump(config, skip_none=False)),
        )

    def _instantiate_trainer(
        self, config: dict[str, Any], callbacks: list[pl.Callback]
    ) -> pl.Trainer:
        """Give the run our progress bar, unless it has another or wants none."""
        given = config.get("callbacks") or []
        given = given if isinstance(given, list) else [given]
        has_one = any(isinstance(callback, ProgressBar) for callback in given)
        if config.get("enable_progress_bar") is not False and not has_one:
            callbacks = [*callbacks, RunProgress()]
        return super()._instantiate_trainer(config, callbacks)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Make the trainer; a checkpoint that cannot be written does not stop it."""
        trainer = super().instantiate_trainer(**kwargs)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = RunCheckpointIO()
        return trainer

    def _run_subcommand(self, subcommand: str) -> None:
        """Run it, and close the loggers' runs however it ends."""
        code = 1
        try:
            super()._run_subcommand(subcommand)
            code = 0
        except SystemExit as exit_:
            # Lightning ends an interrupted run in good order, and then the process with 1.
            if isinstance(exit_.__context__, KeyboardInterrupt):
                code = 130
                _say_how_to_go_on(self.trainer)
                raise KeyboardInterrupt from None
            raise
        finally:
            for logger in self.trainer.loggers:
                if isinstance(logger, RunLogger | TrackioLogger):
                    logger.finish(code)

    def after_fit(self) -> None:
        """Test the best checkpoint, and say where everything is."""
        trainer = self.trainer
        if is_dry(trainer):
            return
        best = self._get(self.config_init, "checkpoint").best_model_path
        best = best if best and Path(best).exists() else ""
        if self.config.fit.test_after_fit and best:
            trainer.test(
                self.model,
                datamodule=self.datamodule,
                ckpt_path=None if load_average(trainer, self.model, best) else best,
                verbose=False,
                weights_only=True,
            )
        print_summary(trainer, best)


def load_average(trainer: pl.Trainer, model: pl.LightningModule, best: str) -> bool:
    """Load the averaged weights of a checkpoint, if the run averages them.

    What was validated and priced is the average; Lightning's callback would restore what went into
    it.
    """
    if not any(isinstance(c, WeightAveraging) for c in trainer.callbacks):  # type: ignore[attr-defined]
        return False
    model.load_state_dict(torch.load(best, map_location="cpu", weights_only=True)["state_dict"])
    return True


_FOUND_BY_LIGHTNING = ("best", "last", "hpc", "registry")


@rank_zero_only
def _say_how_to_go_on(trainer: pl.Trainer) -> None:
    """Name the run that an interrupt has stopped, if it can be continued."""
    for logger in trainer.loggers:
        if isinstance(logger, RunLogger) and (logger.run_dir / resume.LAST).is_file():
            print(f"to go on, add: --ckpt_path {logger.run_dir}", file=sys.stderr)


@rank_zero_only
def _show_differences(checkpoint: str, recipe: dict[str, Any]) -> None:
    before = resume.recipe_of(Path(checkpoint))
    if before is None:
        return
    rank_zero_info(f"{checkpoint} was trained with the recipe beside it")
    for line in resume.differences(before, recipe):
        rank_zero_info(f"  differs now: {line}")


def run(args: Sequence[str], exit_on_error: bool = True) -> pl.Trainer:
    """Parse ``args`` (``fit --config FILE …``), do it, and return the trainer.

    Args:
        args: The command and its options.
        exit_on_error: End the process on an option that is none; else raise ``ArgumentError`` of
            argparse.
    """
    quieten()
    # A recipe names classes of Python's; jsonargparse knows which are none of its business.
    with suppress(TypeError):  # an older one has no such list
        set_parsing_settings(import_path_denylist=[])
    trainer: pl.Trainer = SnnplugCLI(args, exit_on_error=exit_on_error).trainer
    return trainer
