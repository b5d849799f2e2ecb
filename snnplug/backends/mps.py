"""Apple's GPUs, through torch: the operators in torch, float32."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from snnplug.backends.base import Backend, Prepared


class Mps(Backend):
    """Run on Apple's GPU by the fused operators in torch. Tested on none."""

    name: ClassVar[str] = "mps"
    precisions: ClassVar[tuple[str, ...]] = ("32-true",)
    accelerator: ClassVar[str | None] = "mps"

    def available(self) -> tuple[bool, str]:
        """Return whether torch can use the device."""
        if not torch.backends.mps.is_built():
            return False, "this build of torch has no MPS; it is part of those for macOS"
        if not torch.backends.mps.is_available():
            return False, "there is no Apple GPU, or macOS is older than 12.3"
        return True, "operators in torch"

    def _prepared(self, network: nn.Module, example: Tensor | None) -> Prepared:
        return Prepared(network.to("mps"), self.name, "fused")
