"""What a training step needs at least of an IPU's memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

#: Tiles of a Mk2 IPU, and the bytes of each (graphcore/popart, tests of the device).
CAPACITY_BYTES = 1472 * 638_976


@dataclass(frozen=True)
class MemoryBound:
    """A lower bound: code, exchange buffers, vertices and temporary memory come on top.

    Attributes:
        weights_bytes: Parameters, their gradients, and the optimiser's states.
        activations_bytes: What the forward pass keeps for the backward pass.
        inputs_bytes: One micro batch.
    """

    weights_bytes: int
    activations_bytes: int
    inputs_bytes: int

    @property
    def total_bytes(self) -> int:
        """The sum."""
        return self.weights_bytes + self.activations_bytes + self.inputs_bytes

    @property
    def may_fit(self) -> bool:
        """Whether the bound is below one IPU's memory; True shows nothing."""
        return self.total_bytes <= CAPACITY_BYTES

    def __str__(self) -> str:
        def mib(size: int) -> str:
            return f"{size / 2**20:,.1f}"

        return (
            f"at least {mib(self.total_bytes)} of {mib(CAPACITY_BYTES)} MiB of one IPU: weights, "
            f"gradients and optimiser {mib(self.weights_bytes)}, kept for the backward pass "
            f"{mib(self.activations_bytes)}, inputs {mib(self.inputs_bytes)}"
        )


def memory_bound(step: nn.Module, example: tuple[Tensor, ...], states: int) -> MemoryBound:
    """Run the forward pass once and add up what it keeps.

    Args:
        step: The training step.
        example: One micro batch.
        states: Values that the optimiser keeps per parameter.
    """
    held = {(p.data_ptr(), p.numel()) for p in (*step.parameters(), *step.buffers())}
    held |= {(x.data_ptr(), x.numel()) for x in example}
    kept: dict[tuple[int, int], Tensor] = {}  # holding them keeps their addresses apart

    def pack(x: Tensor) -> Tensor:
        place = (x.data_ptr(), x.numel())
        if place not in held and x.numel():
            kept[place] = x
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x), torch.random.fork_rng([]):
        # Held until its tensors are counted.
        result = step(*example)
    activations = sum(x.numel() * x.element_size() for x in kept.values())
    del result
    return MemoryBound(
        sum(p.numel() * (p.element_size() * 2 + 4 * states) for p in step.parameters()),
        activations,
        sum(x.numel() * x.element_size() for x in example),
    )
