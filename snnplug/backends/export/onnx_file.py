"""A network as an ONNX file, for ONNX Runtime and whatever else reads that format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from snnplug.backends.export.program import suffixed, traced_program
from snnplug.backends.export.quiet import quietly
from snnplug.backends.export.written import Written, compared
from snnplug.errors import ArgumentError, needs
from snnplug.files import replacing

_OUTPUTS = ("spikes", "currents")


def write_onnx(path: str | Path, network: nn.Module, frames: Tensor) -> Written:
    """Write a network as one ONNX file, and compare it in ONNX Runtime.

    The graph is that of :func:`~snnplug.backends.export.program.to_program`: the input ``frames``
    of shape ``(T, B, *)`` with T fixed and B free, the outputs ``spikes`` and, of a network that
    returns them, ``currents``.

    Args:
        path: The file, ``.onnx``.
        network: As in :func:`~snnplug.backends.export.program.to_program`.
        frames: Likewise.

    Returns:
        How many outputs of the example differ in ONNX Runtime. Its sums may be taken in another
        order, so that a membrane within rounding of its threshold may decide otherwise.

    Raises:
        ArgumentError: The network cannot be traced, has an operation that ONNX does not have, or
            the file cannot be written.
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
    """
    path = suffixed(path, ".onnx")
    runtime = needs("onnxruntime", "onnx", "an ONNX file")
    with replacing(path) as partial:
        expected = save_onnx(partial, network, frames)
        session = runtime.InferenceSession(str(partial), providers=["CPUExecutionProvider"])
        found = session.run(["spikes"], {"frames": np.asarray(frames)})[0]
    return compared(path, expected, torch.from_numpy(found))


def save_onnx(path: Path, network: nn.Module, frames: Tensor) -> Tensor:
    """Write the file, and return the network's first output on the example."""
    needs("onnx", "onnx", "an ONNX file")
    needs("onnxscript", "onnx", "an ONNX file")
    program, expected = traced_program(network, frames)
    outputs = len(program.graph_signature.user_outputs)
    names = [*_OUTPUTS, *(f"output_{k}" for k in range(2, outputs))][:outputs]
    with quietly():
        try:
            graph = torch.onnx.export(
                program,
                dynamo=True,
                input_names=["frames"],
                output_names=names,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            raise ArgumentError(
                f"{type(network).__name__} has no ONNX form: {reason}; export it as pt2"
            ) from error
        if graph is not None:
            graph.save(str(path))
    return expected
