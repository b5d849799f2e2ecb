"""Train or run a bundle's network on an IPU with PopTorch 3.4, or on request on the CPU.

In the folder of the bundle::

    python -m snn_bundle.run train --frames frames.npy --targets targets.npy --out new.safetensors
    python -m snn_bundle.run infer --frames frames.npy --out counts.npy

Frames are an array ``(T, N, *in_shape)`` of counts, targets ``(N,)`` of classes. Python 3.8, torch
2.0 and numpy are enough; PopTorch comes with the Poplar SDK. Written by snnplug; never run on an
IPU.
"""

from __future__ import annotations

import argparse
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .device import BatchFirst, device_optimizer, device_options
from .portable import Network, TrainingStep
from .tensors import read_tensors, write_tensors

SCHEMA = 1


def read_spec(folder: pathlib.Path) -> dict[str, Any]:
    """Return the description of the bundle."""
    spec: dict[str, Any] = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    if spec.get("schema") != SCHEMA:
        raise SystemExit(
            "spec.json has schema {}; this runner reads {}".format(spec.get("schema"), SCHEMA)
        )
    return spec


def batches(
    frames: Any, targets: Any | None, size: int, seed: int | None, device_steps: int = 1
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield frames ``(T, B, *)`` and classes, without the last, smaller batch: shapes are fixed."""
    order = np.arange(frames.shape[1])
    if seed is not None:
        np.random.RandomState(seed).shuffle(order)
    size *= device_steps
    for start in range(0, len(order) - size + 1, size):
        chosen = np.sort(order[start : start + size])
        x = torch.from_numpy(np.array(frames[:, chosen])).float()
        yield x, None if targets is None else torch.from_numpy(targets[chosen]).long()


def poptorch_or_exit() -> Any:
    """Return PopTorch, or end with what is missing."""
    try:
        import poptorch
    except ImportError as error:
        raise SystemExit(
            f"PopTorch cannot be imported ({error}): enable the Poplar SDK, or give --device cpu. "
            "Nothing was run."
        ) from error
    return poptorch


def train_on_cpu(
    network: Network, spec: dict[str, Any], frames: Any, targets: Any, epochs: int
) -> list[float]:
    """Train, and return the mean loss of every epoch."""
    if network.dtype is torch.float16:
        raise SystemExit(
            "the bundle is in float16, which trains on an IPU only: torch keeps the "
            "optimiser's states in float16 too, where they become NaN. For the CPU, write a "
            "bundle in float32. Nothing was run."
        )
    step = TrainingStep(network, spec["loss"])
    chosen = spec["optimizer"]
    optim = getattr(torch.optim, chosen["kind"])(network.parameters(), **chosen["arguments"])
    means = []
    for epoch in range(epochs):
        losses = []
        for x, y in batches(frames, targets, spec["batch_size"], seed=epoch):
            optim.zero_grad()
            _, loss = step(x, y)
            loss.backward()
            optim.step()
            losses.append(float(loss.detach()))
        means.append(float(np.mean(losses)))
    return means


def train_on_ipu(
    network: Network, spec: dict[str, Any], frames: Any, targets: Any, epochs: int
) -> list[float]:
    """Train with PopTorch, and return the mean loss of every epoch.

    The batch lies on axis 1 of the frames, where PopTorch wants it on axis 0; so the step swaps
    the two, and one call takes ``deviceIterations * replicationFactor * gradientAccumulation``
    micro batches.
    """
    poptorch = poptorch_or_exit()
    half = network.dtype is torch.float16
    options = device_options(poptorch, spec["options"], spec["seed"], half)
    step = BatchFirst(TrainingStep(network, spec["loss"], poptorch.identity_loss))
    chosen = spec["optimizer"]
    optim = device_optimizer(
        poptorch, chosen["kind"], chosen["arguments"], network.parameters(), half
    )
    model = poptorch.trainingModel(step, options, optim)
    calls = 1
    for factor in spec["options"].values():
        calls *= factor
    means = []
    for epoch in range(epochs):
        losses = []
        for x, y in batches(frames, targets, spec["batch_size"], epoch, calls):
            x = x.transpose(0, 1).contiguous()
            _, loss = model(x, y)
            losses.append(float(loss.float().mean()))
        means.append(float(np.mean(losses)))
    model.copyWeightsToHost()
    return means


def infer(network: Network, spec: dict[str, Any], frames: Any, device: str) -> Any:
    """Return the output spike counts ``(N, C)``."""
    network.eval()
    call: Callable[[Tensor], tuple[Tensor, Tensor]] = network
    if device == "cpu":  # torch 2.0 multiplies no float16 there
        network.convert(torch.float32)
    if device == "ipu":
        call = poptorch_or_exit().inferenceModel(network)
    size, found = spec["batch_size"], []
    for start in range(0, frames.shape[1], size):
        x = torch.from_numpy(np.array(frames[:, start : start + size])).float()
        short = size - x.shape[1]
        if short:  # shapes are fixed: fill up with silence
            x = torch.cat([x, x.new_zeros((x.shape[0], short, *x.shape[2:]))], 1)
        with torch.no_grad():
            found.append(call(x)[0].float().sum(0)[: size - short])
    return torch.cat(found).numpy()


def check_frames(frames: Any, spec: dict[str, Any]) -> None:
    """End with a message if the frames are not what the network takes."""
    wanted = (spec["num_steps"],), tuple(spec["in_shape"])
    if frames.ndim < 2 or (frames.shape[:1], tuple(frames.shape[2:])) != wanted:
        raise SystemExit(
            "frames have shape {}; the network takes ({}, N, {})".format(
                frames.shape, spec["num_steps"], ", ".join(map(str, spec["in_shape"]))
            )
        )


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=["train", "infer"])
    parser.add_argument("--bundle", default=".", help="folder with spec.json; default: here")
    parser.add_argument("--frames", required=True, help="array of (T, N, *in_shape), .npy")
    parser.add_argument("--targets", help="array of (N,) classes, .npy")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--device", choices=["ipu", "cpu"], default="ipu")
    parser.add_argument("--out", required=True, help="safetensors file, or .npy of counts")
    args = parser.parse_args(argv)
    folder = pathlib.Path(args.bundle)
    spec = read_spec(folder)
    torch.manual_seed(spec["seed"])
    network = Network(spec).convert(getattr(torch, spec.get("weights", "float32")))
    network.load(read_tensors(folder / "weights.safetensors"))
    frames = np.load(args.frames, mmap_mode="r", allow_pickle=False)
    check_frames(frames, spec)
    if args.what == "infer":
        np.save(args.out, infer(network, spec, frames, args.device))
        return
    if args.targets is None:
        parser.error("train needs --targets")
    targets = np.load(args.targets, allow_pickle=False)
    if frames.shape[1] < spec["batch_size"]:
        raise SystemExit(
            "{} samples are less than one batch of {}".format(frames.shape[1], spec["batch_size"])
        )
    if args.device == "cpu":
        means = train_on_cpu(network, spec, frames, targets, args.epochs)
    else:
        means = train_on_ipu(network, spec, frames, targets, args.epochs)
    for epoch, mean in enumerate(means):
        print(f"epoch {epoch} loss {mean:.4f}")
    write_tensors(pathlib.Path(args.out), network.tensors())


if __name__ == "__main__":
    main()
