"""A trained network and the data to run it on, as commands name them."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import torch
import yaml
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from snnplug.cli.recipes import resolve_configs
from snnplug.errors import ArgumentError, DataNotFoundError, MeasurementError

_BEST = Path("checkpoints", "best.ckpt")

#: Samples, and the class of each where the data say it.
Batch = tuple[Tensor, Tensor | None]


@dataclass(frozen=True)
class Trained:
    """What there is to run.

    Attributes:
        model: Takes the samples.
        network: What is counted of it: its network, or the model itself.
        batches: What to run it on, one after the other.
        total: How many batches there are.
    """

    model: nn.Module
    network: nn.Module
    batches: Iterator[Batch]
    total: int


@dataclass(frozen=True)
class Built:
    """A network without data.

    Attributes:
        model: Takes the samples.
        network: Its network, or the model itself.
        cli: What a recipe is built by; None without a recipe.
    """

    model: nn.Module
    network: nn.Module
    cli: Any = None


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every command that runs a trained network takes."""
    parser.add_argument(
        "network",
        metavar="CKPT|RUN|MODULE:NAME",
        help="a checkpoint in its run, the folder of a run, or a torch module to import",
    )
    parser.add_argument(
        "--data",
        metavar="RECIPE|FILE.npy",
        help="test set of a recipe, or an array of frames, time first (default: that of the run)",
    )
    parser.add_argument("--weights", metavar="FILE", help="state dict for MODULE:NAME")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="for FILE.npy")


def load_trained(given: argparse.Namespace, batch_dim: int = 1) -> Trained:
    """Return what :func:`add_network_arguments` names, in evaluation mode.

    Args:
        given: The parsed arguments.
        batch_dim: The axis of samples of an array.

    Raises:
        ArgumentError: It is no network, or the data are not given or of no use.
        DataNotFoundError: A file is not there.
        MeasurementError: The weights do not fit.
    """
    if given.batch_size < 1:
        raise ArgumentError(f"--batch-size is {given.batch_size}; it has to be at least 1")
    subject = built(given)
    total, batches = data_of(subject, given, batch_dim)
    return Trained(subject.model.eval(), subject.network, batches, total)


def built(given: argparse.Namespace) -> Built:
    """Return the network that ``given.network`` names, with its weights, and no data.

    Raises:
        ArgumentError: It is no network.
        DataNotFoundError: A file is not there.
        MeasurementError: The weights do not fit.
    """
    subject = Path(given.network)
    if subject.is_dir():
        subject = subject / _BEST
    if subject.is_file():
        recipe = subject.resolve().parent.parent / "recipe.yaml"
        if not recipe.is_file():
            raise ArgumentError(
                f"{subject} has no {recipe} beside it to build the network from; give "
                "MODULE:NAME with --weights"
            )
        found = built_from(recipe)
        _load(found.model, subject)
        return found
    model = _imported(given.network)
    if given.weights is not None:
        _load(model, Path(given.weights))
    return Built(model, model)


def built_from(recipe: Path) -> Built:
    """Return the network of a recipe, with fresh weights."""
    cli = _from_recipe(recipe)
    return Built(cli.model, cast(nn.Module, cli.model.network), cli)


def data_of(
    subject: Built, given: argparse.Namespace, batch_dim: int = 1
) -> tuple[int, Iterator[Batch]]:
    """Return how many batches there are to run a network on, and the batches.

    Raises:
        ArgumentError: The data are not given or of no use.
        DataNotFoundError: A file is not there.
    """
    if given.data is not None:
        return _batches(given, batch_dim)
    if subject.cli is None:
        raise ArgumentError("--data is missing: name a recipe, or a .npy file of frames")
    return _test_set(subject.cli)


def progress_of(doing: str) -> Progress:
    """Return a progress bar on the error stream that is gone when it is done."""
    return Progress(
        TextColumn(doing),
        *Progress.get_default_columns()[1:2],
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _batches(given: argparse.Namespace, batch_dim: int) -> tuple[int, Iterator[Batch]]:
    """Return how many batches there are, and the batches."""
    path = Path(given.data)
    if path.suffix == ".npy":
        return _array(path, given.batch_size, batch_dim)
    _, config = resolve_configs(["-c", given.data])
    return _test_set(_from_recipe(Path(config)))


def _array(path: Path, batch_size: int, batch_dim: int) -> tuple[int, Iterator[Batch]]:
    if not path.is_file():
        raise DataNotFoundError(f"there is no file {path}")
    try:
        frames = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ArgumentError(f"{path} is no array that numpy can map: {error}") from error
    if not 0 <= batch_dim < frames.ndim or frames.dtype.kind not in "biuf" or not frames.size:
        raise ArgumentError(
            f"{path} holds {frames.dtype} of shape {frames.shape}; it has to hold numbers and have "
            f"an axis {batch_dim} of samples"
        )
    samples = frames.shape[batch_dim]
    count = -(-samples // batch_size)

    def batches() -> Iterator[Batch]:
        for start in range(0, samples, batch_size):
            part = frames.take(range(start, min(start + batch_size, samples)), axis=batch_dim)
            yield torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32)), None

    return count, batches()


def _test_set(cli: Any) -> tuple[int, Iterator[Batch]]:
    data = cli.datamodule
    data.prepare_data()
    data.setup("test")
    loader = data.test_dataloader()

    def batches() -> Iterator[Batch]:
        from snnplug.training.lengths import same_length

        for batch in loader:
            samples, targets, *lengths = data.on_after_batch_transfer(batch, 0)
            if lengths:  # no step that only pads is counted
                yield from ((part, targets[who]) for who, part in same_length(samples, lengths[0]))
            else:
                yield samples, targets

    return len(loader), batches()


def _from_recipe(recipe: Path) -> Any:
    """Build the model and the data of a recipe, and no logger and no folder."""
    from snnplug.cli.quiet import quieten
    from snnplug.cli.training import SnnplugCLI

    quieten()
    content = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ArgumentError(f"{recipe} is no recipe")
    for key in ("ckpt_path", "weights_only", "test_after_fit"):
        content.pop(key, None)
    trainer = content.get("trainer") or {}
    content["trainer"] = trainer | {"logger": False, "callbacks": None, "accelerator": "cpu"}
    with TemporaryDirectory() as folder:
        path = Path(folder, "recipe.yaml")
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        with _without_news():
            return SnnplugCLI(["--config", str(path)], run=False)


@contextlib.contextmanager
def _without_news() -> Iterator[None]:
    """Keep back what Lightning says about seeds and devices: no training begins here."""
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("fabric", "pytorch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _imported(name: str) -> nn.Module:
    module_name, colon, attribute = name.partition(":")
    if not colon:
        raise ArgumentError(
            f"{name} is no checkpoint, no folder of a run and no MODULE:NAME (my_package:Net)"
        )
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ArgumentError(f"cannot import {name}: {error}") from error
    if callable(found) and not isinstance(found, nn.Module):
        try:
            found = found()
        except TypeError as error:
            raise ArgumentError(f"{name} cannot be called without arguments: {error}") from error
    if not isinstance(found, nn.Module):
        raise ArgumentError(f"{name} is {found!r}; it has to be a torch module, or to return one")
    return found


def _load(model: nn.Module, path: Path) -> None:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(content.get("state_dict", content))
    except FileNotFoundError as error:
        raise DataNotFoundError(f"there is no file {path}") from error
    except Exception as error:  # torch has no error of its own for files that are not its
        with contextlib.suppress(IndexError):
            first = str(error).splitlines()[0]
            raise MeasurementError(f"the weights in {path} do not fit: {first}") from error
        raise
