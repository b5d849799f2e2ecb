"""``snnplug doctor``: what is installed, and whether the native kernels run."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from snnplug.errors import ArgumentError

_PACKAGES = ("snnplug", "torch", "snntorch", "lightning", "torchmetrics", "tonic", "wandb", "numpy")


def doctor_command(args: Sequence[str]) -> int:
    """Run ``snnplug doctor``."""
    if args:
        raise ArgumentError(f"doctor {' '.join(args)}: doctor takes no argument")
    import torch

    from snnplug.kernels import native

    print(f"{'python':<16} {platform.python_version()} on {platform.platform()}")
    for package in _PACKAGES:
        print(f"{package:<16} {_version(package)}")
    runs, detail = native.available()
    print(f"{'native kernels':<16} {detail if runs else f'no: {detail}'}")
    print(f"{'threads':<16} {torch.get_num_threads()}")
    cuda = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    print(f"{'CUDA device':<16} {cuda}")
    return 0


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
