"""A network as OpenVINO's pair of files, for Intel's processors."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from snnplug.backends.export.onnx_file import save_onnx
from snnplug.backends.export.program import suffixed
from snnplug.backends.export.written import Written, compared
from snnplug.errors import ArgumentError, needs


def write_openvino(path: str | Path, network: nn.Module, frames: Tensor) -> Written:
    """Write a network as ``.xml`` and ``.bin`` of OpenVINO, in float32, and compare it there.

    The way leads through ONNX: OpenVINO reads ``scan`` from there only.

    Args:
        path: The ``.xml``; the ``.bin`` lies beside it.
        network: As in :func:`~snnplug.backends.export.program.to_program`.
        frames: Likewise.

    Returns:
        How many outputs of the example differ on OpenVINO's CPU, asked for float32: on a processor
        with bfloat16 it would round to that.

    Raises:
        ArgumentError: The network cannot be exported, or the files cannot be written.
        MissingExtraError: openvino, or what writes ONNX, is not installed.
    """
    path = suffixed(path, ".xml")
    openvino = needs("openvino", "openvino,onnx", "OpenVINO's files")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent, prefix=f"{path.stem}.") as folder:
            onnx = Path(folder, "network.onnx")
            expected = save_onnx(onnx, network, frames)
            try:
                model = openvino.convert_model(onnx)
            except openvino.frontend.OpConversionFailure as error:
                raise ArgumentError(
                    f"OpenVINO {openvino.__version__} cannot read the ONNX file of "
                    f"{type(network).__name__}; export it as onnx"
                ) from error
            # Else the weights would be rounded to half precision.
            openvino.save_model(model, Path(folder, path.name), compress_to_fp16=False)
            run = openvino.compile_model(
                Path(folder, path.name), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
            )
            found = torch.from_numpy(run(np.asarray(frames))["spikes"].copy())
            del run, model
            path.unlink(missing_ok=True)  # an old one would name the new weights
            for suffix in (".bin", ".xml"):
                os.replace(Path(folder, path.name).with_suffix(suffix), path.with_suffix(suffix))
    except OSError as error:
        raise ArgumentError(f"cannot write {path}: {error.strerror}") from error
    return compared(path, expected, found)
