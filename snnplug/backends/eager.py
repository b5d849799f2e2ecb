"""Elementary torch operations, step by step: slow, but everywhere; the others are held to it."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from snnplug.backends.base import Backend, Prepared


class Eager(Backend):
    """Run every time step in torch's own operations, with autograd's own backward pass.

    Example:
        >>> import torch
        >>> from snnplug import Leaky
        >>> from snnplug.layers.sequential import SpikingSequential
        >>> network = SpikingSequential(nn.Linear(4, 2), Leaky(beta=0.9))
        >>> Eager().prepare(network)(torch.zeros(10, 3, 4)).shape
        torch.Size([10, 3, 2])
    """

    name: ClassVar[str] = "eager"
    precisions: ClassVar[tuple[str, ...]] = ("32-true", "bf16-mixed", "16-mixed", "64-true")

    def available(self) -> tuple[bool, str]:
        """Return True: it needs torch alone."""
        return True, "torch operations, step by step; any device"

    def _prepared(self, network: nn.Module, example: Tensor | None) -> Prepared:
        return Prepared(network, self.name, "eager")
