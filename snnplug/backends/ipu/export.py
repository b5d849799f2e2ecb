"""The folder that takes a network to where PopTorch is, and brings its weights back."""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor, nn

from snnplug.backends.ipu.bundle.device import SMALLEST_EPS
from snnplug.backends.ipu.bundle.portable import Network, TrainingStep
from snnplug.backends.ipu.bundle.tensors import read_tensors, write_tensors
from snnplug.backends.ipu.readiness import OPTIMIZERS, Readiness, check_ipu
from snnplug.backends.ipu.spec import SCHEMA, Spec, describe_network, neuron_tensors
from snnplug.errors import ArgumentError
from snnplug.files import write_whole
from snnplug.neurons.base import SequenceNeuron

_LOSSES = ("SquaredHinge", "CountCrossEntropy")
_README = """\
# {name}, for an IPU

A spiking network in plain PyTorch, written by snnplug. It needs Python 3.8 or later, torch 2.0 or
later and numpy; on an IPU host PopTorch 3.4 of the Poplar SDK, which pins torch 2.0.1. It was never
run on an IPU. The verdict of the static checks is below.

    python -m snn_bundle.run train --frames frames.npy --targets targets.npy --epochs 10 \\
        --out trained.safetensors
    python -m snn_bundle.run infer --frames frames.npy --out counts.npy

Frames: array ({num_steps}, N, {in_shape}) of counts or spikes; targets: (N,) classes. Batches of
{batch_size}; shapes are fixed, so the last, smaller batch of an epoch is left out. `--device cpu`
runs the same step without PopTorch. `spec.json` is the description, `weights.safetensors` the
weights; what `train` writes loads back with
`snnplug.backends.ipu.load_weights(network, "trained.safetensors")`.

{report}
"""


def training_step(network: nn.Module, loss: nn.Module, half: bool = False) -> TrainingStep:
    """Return the step that a bundle trains: the portable form of a network with its loss.

    Args:
        network: A chain of layers.
        loss: ``SquaredHinge`` or ``CountCrossEntropy``.
        half: Weights of products, and spikes between layers, in float16; membranes, decays,
            thresholds, counts and the loss stay in float32.

    Shape:
        - the step: frames ``(T, B, *)`` and targets ``(B,)`` → spike counts ``(B, C)`` and the loss

    Raises:
        ArgumentError: There is no portable form of a layer, or of the loss.

    Example:
        >>> from snnplug.networks.leaky import LeakySNN
        >>> from snnplug.training.losses import CountCrossEntropy
        >>> step = training_step(LeakySNN((4,), 3, hidden=(8,)), CountCrossEntropy())
        >>> counts, loss = step(torch.zeros(5, 2, 4), torch.tensor([0, 1]))
        >>> counts.shape, loss.shape
        (torch.Size([2, 3]), torch.Size([]))
    """
    portable = Network(describe_network(network)).convert(torch.float16 if half else torch.float32)
    portable.load(tensors_of(network))
    portable.train(network.training)
    return TrainingStep(portable, _described(loss))


def write_bundle(
    folder: str | Path,
    network: nn.Module,
    loss: nn.Module,
    in_shape: Sequence[int],
    num_steps: int,
    batch_size: int = 32,
    optimizer: str = "Adam",
    lr: float = 1e-3,
    seed: int = 0,
    options: Mapping[str, int] | None = None,
    half: bool = False,
) -> Readiness:
    """Write a folder that trains or runs the network where the Poplar SDK is.

    Args:
        folder: Made if it is not there; has to be empty otherwise.
        network: A chain of layers, as :func:`describe_network` takes it.
        loss: ``SquaredHinge`` or ``CountCrossEntropy``.
        in_shape: Shape of one frame.
        num_steps: Time steps :math:`T`; the graph is unrolled over them.
        batch_size: Samples of a micro batch.
        optimizer: One that PopTorch has on the device.
        lr: Its learning rate.
        seed: Of the order of samples, and on the device.
        options: ``device_iterations``, ``replication_factor``, ``gradient_accumulation``; 1 each
            unless given.
        half: As for :func:`training_step`; the optimiser keeps float32 states, scales the loss, and
            has an ``eps`` that float16 can tell from 0.

    Returns:
        The checker's verdict on the step that the bundle trains.

    Raises:
        ArgumentError: The network, the loss or the optimiser has no portable form, an option is
            unknown, or the folder is not empty.

    Example:
        >>> from tempfile import mkdtemp
        >>> from snnplug.networks.leaky import LeakySNN
        >>> from snnplug.training.losses import CountCrossEntropy
        >>> network = LeakySNN((4,), 3, hidden=(8,))
        >>> folder = Path(mkdtemp()) / "bundle"
        >>> write_bundle(folder, network, CountCrossEntropy(), (4,), 5, batch_size=2).verdict
        'passes static checks'
        >>> load_weights(network, folder / "weights.safetensors")
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArgumentError(f"{folder} is not empty; name a new folder")
    if optimizer not in OPTIMIZERS:
        raise ArgumentError(f"optimizer {optimizer}; PopTorch has {', '.join(OPTIMIZERS)}")
    chosen = {"device_iterations": 1, "replication_factor": 1, "gradient_accumulation": 1}
    if unknown := set(options or {}) - set(chosen):
        raise ArgumentError(f"option {', '.join(unknown)}; there are {', '.join(chosen)}")
    chosen |= options or {}
    step = training_step(network, loss, half)
    arguments = {"lr": lr} | ({"eps": SMALLEST_EPS} if half and optimizer != "SGD" else {})
    example = _example(in_shape, num_steps, batch_size)
    report = check_ipu(step, example, optimizer)
    spec = {
        "schema": SCHEMA,
        **describe_network(network),
        "in_shape": list(in_shape),
        "num_steps": num_steps,
        "batch_size": batch_size,
        "loss": _described(loss),
        "optimizer": {"kind": optimizer, "arguments": arguments},
        "weights": "float16" if half else "float32",
        "options": chosen,
        "seed": seed,
    }
    write_whole(folder / "spec.json", json.dumps(spec, indent=1) + "\n")
    write_tensors(folder / "weights.safetensors", step.network.tensors())
    _copy_sources(folder / "snn_bundle")
    text = _README.format(
        name=type(network).__name__,
        num_steps=num_steps,
        in_shape=", ".join(map(str, in_shape)),
        batch_size=batch_size,
        report="\n".join(f"    {line}" for line in str(report).splitlines()),
    )
    write_whole(folder / "README.md", text)
    return report


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Take over the weights that a bundle's ``train`` has written.

    Args:
        network: The network that was exported.
        path: The file.

    Raises:
        ArgumentError: The file is damaged, or of another network.
    """
    try:
        tensors = read_tensors(Path(path))
    except (OSError, ValueError) as error:
        raise ArgumentError(f"cannot read {path}: {error}") from error
    own = tensors_of(network)
    if tensors.keys() != own.keys() or any(tensors[k].shape != own[k].shape for k in own):
        raise ArgumentError(f"{path} holds the weights of another network")
    take_over(network, tensors)


def take_over(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy the tensors of a portable form into the network that it was made of."""
    state = network.state_dict()
    with torch.no_grad():
        for name in state.keys() & tensors.keys():
            state[name].copy_(tensors[name].to(state[name].dtype))


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Return what the portable form of a network needs, by the names that it has there."""
    found: dict[str, Tensor] = {}
    for layer in describe_network(network)["layers"]:
        module = network.get_submodule(layer["name"])
        if isinstance(module, SequenceNeuron):
            held = neuron_tensors(module)
            if layer["recurrent_features"]:
                recurrent = module.get_submodule("recurrent").state_dict()
                held |= {f"recurrent.{key}": value for key, value in recurrent.items()}
        else:
            held = module.state_dict()
        found |= {f"{layer['name']}.{key}": value for key, value in held.items()}
    return found


def _described(loss: nn.Module) -> Spec:
    kind = type(loss).__name__
    if kind not in _LOSSES:
        raise ArgumentError(f"loss {kind}; a bundle has {' and '.join(_LOSSES)}")
    names = inspect.signature(type(loss)).parameters
    return {"kind": kind, "arguments": {name: float(getattr(loss, name)) for name in names}}


def _example(in_shape: Sequence[int], num_steps: int, batch_size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand((num_steps, batch_size, *in_shape), generator=generator)
    return (frames < 0.2).float(), torch.zeros(batch_size, dtype=torch.long)


def _copy_sources(folder: Path) -> None:
    folder.mkdir(parents=True)
    for source in files("snnplug.backends.ipu.bundle").iterdir():
        if source.name.endswith(".py"):
            with source.open("rb") as text, (folder / source.name).open("wb") as out:
                shutil.copyfileobj(text, out)
