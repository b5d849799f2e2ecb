"""``snnplug doctor``: what is installed, which kernels and backends run, and why not."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from snnplug.errors import ArgumentError

_PACKAGES = ("snnplug", "torch", "snntorch", "lightning", "torchmetrics", "tonic", "wandb", "numpy")
# Of the formats that networks are exported to, and of devices.
_FORMATS = ("nir", "onnx", "onnxscript", "onnxruntime", "openvino", "triton", "poptorch")


def doctor_command(args: Sequence[str]) -> int:
    """Run ``snnplug doctor``."""
    if args:
        raise ArgumentError(f"doctor {' '.join(args)}: doctor takes no argument")
    import torch

    from snnplug import backends
    from snnplug.kernels import native

    print(f"{'python':<16} {platform.python_version()} on {platform.platform()}")
    for package in _PACKAGES + _FORMATS:
        print(f"{package:<16} {_version(package)}")
    runs, detail = native.available()
    print(f"{'native kernels':<16} {detail if runs else f'no: {detail}'}")
    print(f"{'threads':<16} {torch.get_num_threads()}")
    for name in backends.names():
        backend = backends.get(name)
        runs, reason = backend.available()
        takes = f" [{', '.join(backend.precisions)}]" if runs else ""
        print(f"{f'backend {name}':<16} {'' if runs else 'no: '}{reason}{takes}")
    return 0


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
