"""``snnplug estimate``: run a trained network on data, count, and price."""

from __future__ import annotations

import argparse
import contextlib
import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import torch
import yaml
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from snnplug.cli.pricing import DEFAULT_TARGET, add_price_arguments, show_prices
from snnplug.cli.recipes import resolve_configs
from snnplug.errors import ArgumentError, DataNotFoundError, MeasurementError
from snnplug.hardware.activity import Activity
from snnplug.hardware.activity_file import save_activity
from snnplug.hardware.counting import measure
from snnplug.hardware.target import load_target

_BEST = Path("checkpoints", "best.ckpt")


def estimate_command(args: Sequence[str]) -> int:
    """Run ``snnplug estimate CKPT|RUN|MODULE:NAME --data … --target …``."""
    given = _parser().parse_args(args)
    targets = given.target or [DEFAULT_TARGET]
    for target in targets:
        load_target(target)  # a misspelt name is found before the network runs
    activity = _measured(given)
    if given.save_activity is not None:
        print(save_activity(activity, given.save_activity))
    show_prices(activity, targets, given.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "snnplug estimate",
        description="Run a trained network on data, count what it does, and price it.",
    )
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
    parser.add_argument("--batch-dim", type=int, default=1, help="axis of samples (default: 1)")
    parser.add_argument("--max-batches", type=int, metavar="N", help="count at most so many")
    add_price_arguments(parser)
    parser.add_argument("--save-activity", metavar="FILE", help="write the counts, to price again")
    return parser


def _measured(given: argparse.Namespace) -> Activity:
    if given.batch_size < 1 or (given.max_batches is not None and given.max_batches < 1):
        raise ArgumentError("--batch-size and --max-batches have to be at least 1")
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
        cli = _from_recipe(recipe)
        model: nn.Module = cli.model
        _load(model, subject)
        network = cast(nn.Module, cli.model.network)
        data = _batches(given) if given.data else _test_set(cli)
        return _count(model, network, data, given.max_batches, given.batch_dim)
    model = _imported(given.network)
    if given.weights is not None:
        _load(model, Path(given.weights))
    if given.data is None:
        raise ArgumentError("--data is missing: name a recipe, or a .npy file of frames")
    return _count(model, model, _batches(given), given.max_batches, given.batch_dim)


def _count(
    model: nn.Module,
    network: nn.Module,
    data: tuple[int, Iterator[Tensor]],
    max_batches: int | None,
    batch_dim: int,
) -> Activity:
    total, batches = data
    total = total if max_batches is None else min(total, max_batches)
    progress = Progress(
        TextColumn("counting"),
        *Progress.get_default_columns()[1:2],
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    model.eval()
    with measure(network, batch_dim) as meter, torch.inference_mode(), progress:
        task = progress.add_task("", total=total)
        for _, samples in zip(range(total), batches, strict=False):
            model(samples)
            progress.advance(task)
    return meter.activity()


def _batches(given: argparse.Namespace) -> tuple[int, Iterator[Tensor]]:
    """Return how many batches there are, and the batches."""
    path = Path(given.data)
    if path.suffix == ".npy":
        return _array(path, given.batch_size, given.batch_dim)
    _, config = resolve_configs(["-c", given.data])
    return _test_set(_from_recipe(Path(config)))


def _array(path: Path, batch_size: int, batch_dim: int) -> tuple[int, Iterator[Tensor]]:
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

    def batches() -> Iterator[Tensor]:
        for start in range(0, samples, batch_size):
            part = frames.take(range(start, min(start + batch_size, samples)), axis=batch_dim)
            yield torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32))

    return count, batches()


def _test_set(cli: Any) -> tuple[int, Iterator[Tensor]]:
    data = cli.datamodule
    data.prepare_data()
    data.setup("test")
    loader = data.test_dataloader()

    def batches() -> Iterator[Tensor]:
        from snnplug.training.lengths import same_length

        for batch in loader:
            samples, _, *lengths = data.on_after_batch_transfer(batch, 0)
            # No step that only pads is counted.
            yield from (
                (part for _, part in same_length(samples, *lengths)) if lengths else [samples]
            )

    return len(loader), batches()


def _from_recipe(recipe: Path) -> Any:
    """Build the model and the data of a recipe, and no logger and no folder."""
    from snnplug.cli.training import SnnplugCLI, quieten

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
        return SnnplugCLI(["--config", str(path)], run=False)


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
