"""Whole-sequence operators: native kernels where they fit, hand-written torch elsewhere."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from snnplug.backends.base import Backend, Prepared
from snnplug.kernels import native


class Fused(Backend):
    """Run neurons and sparse products in operators over the whole sequence: the default.

    float32 on the CPU takes native kernels; any other dtype and device takes the same operators in
    torch, with a backward pass that keeps no graph.

    Example:
        >>> import torch
        >>> from snnplug import Leaky
        >>> from snnplug.layers.sequential import SpikingSequential
        >>> network = SpikingSequential(nn.Linear(4, 2), Leaky(beta=0.9))
        >>> Fused().prepare(network)(torch.zeros(10, 3, 4)).shape
        torch.Size([10, 3, 2])
    """

    name: ClassVar[str] = "fused"
    precisions: ClassVar[tuple[str, ...]] = ("32-true", "bf16-mixed", "16-mixed", "64-true")

    def available(self) -> tuple[bool, str]:
        """Return True, and whether the native kernels are there."""
        runs, detail = native.available()
        kernels = f"native kernels ({detail})" if runs else f"without native kernels ({detail})"
        return True, f"whole-sequence operators, {kernels}"

    def _prepared(self, network: nn.Module, example: Tensor | None) -> Prepared:
        return Prepared(network, self.name, "fused")
