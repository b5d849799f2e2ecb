"""NVIDIA (and ROCm) devices: the network compiled where Triton is there, else in torch."""

from __future__ import annotations

from importlib.util import find_spec
from typing import ClassVar

import torch
from torch import Tensor, nn

from snnplug.backends.base import Backend, Prepared
from snnplug.backends.compiled import compiled


class Cuda(Backend):
    """Run on a CUDA device: compiled through Triton, or without it by the fused operators in torch.

    With Triton, neurons in float32 take kernels of our own, one launch per layer and sequence;
    where spikes pass a dense map back to their layer, and in other precisions, the loop over time
    is compiled. Written for a GPU and never run on one: the kernels are tested by Triton's
    interpreter and compiled for devices that are not here; tests that need a GPU say so and are
    skipped.
    """

    name: ClassVar[str] = "cuda"
    precisions: ClassVar[tuple[str, ...]] = ("32-true", "bf16-mixed", "16-mixed", "64-true")
    accelerator: ClassVar[str | None] = "cuda"

    def available(self) -> tuple[bool, str]:
        """Return whether torch sees a device, and how it would be used."""
        if torch.version.cuda is None and torch.version.hip is None:
            return (
                False,
                f"torch {torch.__version__} is built without CUDA; install a build with it",
            )
        if not torch.cuda.is_available():
            return False, "torch sees no CUDA device; look at the driver"
        how = "compiled through Triton" if _triton() else "operators in torch: triton is missing"
        return True, f"{torch.cuda.get_device_name(0)}, {how}"

    def _prepared(self, network: nn.Module, example: Tensor | None) -> Prepared:
        network.to("cuda")
        if not _triton():
            return Prepared(network, self.name, "fused")
        example = None if example is None else example.to("cuda")
        return compiled(network, example, self.name, "inductor")


def _triton() -> bool:
    return find_spec("triton") is not None
