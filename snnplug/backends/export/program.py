"""A network as a graph of torch's own operations: ``torch.export``, and files of it."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from snnplug.backends.export.quiet import quietly
from snnplug.backends.export.written import Written, compared
from snnplug.errors import ArgumentError
from snnplug.files import replacing
from snnplug.kernels import execution
from snnplug.kernels.time_loop import scans
from snnplug.layers.convert import convert
from snnplug.layers.sequential import SpikingSequential
from snnplug.layers.tracing import untouched
from snnplug.neurons.base import reset


def to_program(network: nn.Module, frames: Tensor) -> torch.export.ExportedProgram:
    """Return a network as one graph of torch's operations, for any batch size.

    The loop over time is one ``scan`` of the graph, which does not grow with the time steps; their
    number is fixed. Every call begins at rest. Dropout and batch normalisation act as in
    evaluation. A chain of layers with snnTorch's neurons goes through
    :func:`~snnplug.layers.convert.convert`; a network that is no chain is traced as it stands, its
    own loop unrolled, and may then take the example's batch size only.

    The graph is run on the frames and has to give what the network gives.

    Args:
        network: Takes ``(T, B, *)``, or is a ``nn.Sequential`` that takes one step per call.
        frames: Example, ``(T, B, *)`` with the T that the graph is for.

    Returns:
        The program; ``program.module()(frames)`` runs it.

    Raises:
        ArgumentError: The network cannot be traced, or the graph gives something else, as that of
            a network whose hidden state outlives a call does.

    Example:
        >>> from snnplug import Leaky
        >>> network = SpikingSequential(nn.Linear(4, 3), Leaky(beta=0.9))
        >>> program = to_program(network, torch.zeros(5, 2, 4))
        >>> program.module()(torch.zeros(5, 7, 4)).shape
        torch.Size([5, 7, 3])
    """
    return traced_program(network, frames)[0]


def write_program(path: str | Path, network: nn.Module, frames: Tensor) -> Written:
    """Write :func:`to_program` as a ``.pt2`` file, which ``torch.export.load`` reads.

    Reading it needs torch 2.7 or later, and no snnplug.

    Args:
        path: The file.
        network: As in :func:`to_program`.
        frames: Likewise.

    Raises:
        ArgumentError: As :func:`to_program`; or the file cannot be written.
    """
    path = suffixed(path, ".pt2")
    program, expected = traced_program(network, frames)
    with replacing(path) as partial, quietly():
        with partial.open("wb") as file:
            torch.export.save(program, file)
        with partial.open("rb") as file, torch.no_grad():
            found = first(torch.export.load(file).module()(frames))
    return compared(path, expected, found)


def traced_program(
    network: nn.Module, frames: Tensor
) -> tuple[torch.export.ExportedProgram, Tensor]:
    """Return the program, and the network's first output on the example."""
    if frames.dim() < 2 or 0 in frames.shape:
        raise ArgumentError(f"the example has the shape {tuple(frames.shape)}; give (T, B, *)")
    scanned, _ = scans()
    with untouched(network), quietly(), torch.no_grad():
        network.eval()
        network = over_time(network, frames)
        with execution.running("eager"):
            reset(network)
            expected = first(network(frames))
        with execution.running("scan" if scanned else "eager"):
            program = _traced(network, frames)
            found = first(program.module()(frames))
    if expected.shape != found.shape or not torch.equal(expected, found):
        raise ArgumentError(
            f"the graph of {type(network).__name__} gives other outputs than the network: state "
            "that outlives a call is not part of a graph; use a SpikingSequential, or neurons "
            "with init_hidden=False whose state begins in forward"
        )
    return program, expected


def _traced(network: nn.Module, frames: Tensor) -> torch.export.ExportedProgram:
    """Return the graph for any batch size, or where a network has its own loop for that of frames.

    snnTorch's neurons compare their state with the size of the batch.
    """
    # torch makes a constant of an axis of size 1.
    example = frames if frames.shape[1] > 1 else frames.repeat_interleave(2, 1)
    free = {1: torch.export.Dim.DYNAMIC}
    # The tracer marks the example that it is given.
    for some, shapes in ((example.clone(), (free,)), (frames.clone(), None)):
        reset(network)
        try:
            return torch.export.export(network, (some,), dynamic_shapes=shapes, strict=False)
        except Exception as error:  # whatever a forward, or torch's tracer, may raise
            failure = error
    reason = f"{type(failure).__name__}: {(str(failure) or '?').strip().splitlines()[0]}"
    raise ArgumentError(
        f"{type(network).__name__} cannot be traced: {reason}; build it as a SpikingSequential, or "
        "without branches on values"
    ) from failure


def over_time(network: nn.Module, frames: Tensor) -> nn.Module:
    """Return the form of a network that takes ``(T, B, *)`` at once, if it is a chain of layers."""
    if isinstance(network, SpikingSequential) or callable(getattr(network, "chain", None)):
        return network
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "never fired in the example")
            return convert(network, frames).eval()
    except ArgumentError:
        if isinstance(network, nn.Sequential):
            raise
        return network


def first(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Return the first output of a network: its spikes."""
    return output[0] if isinstance(output, tuple | list) else output


def suffixed(path: str | Path, suffix: str) -> Path:
    """Return a path that ends in the suffix of its format; others would not find the file."""
    path = Path(path)
    if path.suffix != suffix:
        raise ArgumentError(f"{path} has to end in {suffix}")
    return path
