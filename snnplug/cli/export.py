"""``snnplug export``: a trained network as a file for another tool."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snnplug.backends import export
from snnplug.backends.export.written import Written
from snnplug.cli.trained import Built, add_network_arguments, built, data_of
from snnplug.errors import ArgumentError, did_you_mean
from snnplug.files import replacing

#: Suffix of what is written; a format without one is a folder.
FORMATS = {
    "nir": ".nir",
    "onnx": ".onnx",
    "pt2": ".pt2",
    "openvino": ".xml",
    "ipu": "",
    "sanafe": "",
}
_WRITERS: dict[str, Callable[..., Written]] = {
    "onnx": export.write_onnx,
    "pt2": export.write_program,
    "openvino": export.write_openvino,
}
#: Samples that a file is compared on as it is written.
_EXAMPLES = 8


def export_command(args: Sequence[str]) -> int:
    """Run ``snnplug export CKPT|RUN|MODULE:NAME --to FORMAT --out PATH``."""
    given = _parser().parse_args(args)
    if given.to not in FORMATS:
        raise ArgumentError(f"no format {given.to!r}. {did_you_mean(given.to, FORMATS)}")
    if given.out is None:
        stem = given.network.rstrip("/").rpartition("/")[2].rpartition(":")[2].split(".")[0]
        given.out = f"{stem}{FORMATS[given.to]}" if FORMATS[given.to] else f"{stem}_{given.to}"
    subject = built(given)
    subject.model.eval()
    frames = example_of(subject, given)
    print(write(subject, frames, given))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "snnplug export",
        description="Write a trained network as a file for another tool, and compare it there, "
        "where that tool is installed, on samples of the data.",
    )
    add_network_arguments(parser)
    parser.add_argument(
        "--to", required=True, metavar="FORMAT", help=f"one of {', '.join(FORMATS)}"
    )
    parser.add_argument(
        "--out", metavar="PATH", help="file, or folder for ipu and sanafe (default: by the name)"
    )
    parser.add_argument(
        "--in-shape", metavar="N,...", help="of a frame: random spikes stand for the data"
    )
    parser.add_argument("--num-steps", type=int, metavar="T", help="with --in-shape; of ipu too")
    parser.add_argument(
        "--strict", action="store_true", help="nir: refuse resets that other readers do not know"
    )
    parser.add_argument(
        "--sample", type=int, default=0, metavar="N", help="sanafe: whose spikes go in (default: 0)"
    )
    return parser


def example_of(subject: Built, given: argparse.Namespace) -> Tensor:
    """Return some frames ``(T, B, *)``: of the data, or random spikes of the shape that is given.

    Raises:
        ArgumentError: The shape is none, or there are no data.
    """
    if given.in_shape is not None:
        try:
            shape = [int(n) for n in given.in_shape.split(",")]
        except ValueError:
            shape = []
        if not shape or min(shape) < 1 or given.num_steps is None or given.num_steps < 1:
            raise ArgumentError(
                f"--in-shape {given.in_shape} with --num-steps {given.num_steps}; give sizes as "
                "2,34,34 and a number of time steps"
            )
        generator = torch.Generator().manual_seed(0)
        return (torch.rand(given.num_steps, 2, *shape, generator=generator) < 0.3).float()
    _, batches = data_of(subject, given)
    samples, _ = next(batches, (None, None))
    if samples is None:
        raise ArgumentError("the data hold no sample; name others with --data")
    encoder: Any = getattr(subject.model, "encoder", None)
    with torch.no_grad():
        frames: Tensor = samples if encoder is None else encoder(samples)
    fewest = _EXAMPLES if given.to != "sanafe" else max(given.sample + 1, _EXAMPLES)
    return frames[:, :fewest].contiguous()


def write(subject: Built, frames: Tensor, given: argparse.Namespace) -> Written:
    """Write the network in the format that is asked for."""
    network, out = subject.network, Path(given.out)
    if given.to == "nir":
        return export.write_nir(out, network, frames, strict=given.strict)
    if given.to == "sanafe":
        return export.write_sana_fe(out, network, frames, given.sample)
    if given.to == "ipu":
        return _write_bundle(subject, frames, out)
    return _WRITERS[given.to](out, network, frames)


def _write_bundle(subject: Built, frames: Tensor, out: Path) -> Written:
    """Write the bundle of a run; its loss, optimiser and batches are those of the recipe."""
    from snnplug.backends.ipu import write_bundle

    model: Any = subject.model
    if subject.cli is None:
        raise ArgumentError(
            "a bundle trains: give a run or a checkpoint, whose recipe has a loss and an "
            "optimiser, or call snnplug.backends.ipu.write_bundle"
        )
    kind, lr = optimizer_of(model)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ArgumentError(f"{out} is not empty; name a new folder")
    with replacing(out) as partial:
        report = write_bundle(
            partial,
            subject.network,
            model.loss,
            tuple(frames.shape[2:]),
            len(frames),
            batch_size=batch_size_of(subject),
            optimizer=kind,
            lr=lr,
        )
    return Written(out, note=str(report))


def optimizer_of(model: Any) -> tuple[str, float]:
    """Return the name of a model's optimiser, and its learning rate."""
    optimizer = model.optimizer([nn.Parameter(torch.zeros(1))])
    return type(optimizer).__name__, float(optimizer.param_groups[0].get("lr", 0.0))


def batch_size_of(subject: Built) -> int:
    """Return the batch size of a recipe's data."""
    return int(getattr(subject.cli.datamodule, "batch_size", 32))
