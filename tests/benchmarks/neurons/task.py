"""What a task is: a name, sizes, and ways to do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.benchmarks.neurons.timing import Step

OURS = "snnplug"


@dataclass(frozen=True)
class Task:
    """One row group of the table.

    Attributes:
        title: As the table shows it.
        loop: Name of snnTorch's plain loop among the implementations.
        build: From a name to a function that makes the step; it raises ImportError where a library
            is not there. It takes ``quick``: sizes of a few milliseconds, for tests.
        floors: Names of those that are no implementation but a limit of the machine.
        compiled: Names of those that need torch.compile.
    """

    title: str
    loop: str
    build: Mapping[str, Callable[[bool], Step]]
    floors: tuple[str, ...] = ()
    compiled: tuple[str, ...] = ()


def training_step(net: nn.Module, frames: Tensor, labels: Tensor, bf16: bool = False) -> Step:
    """Return a whole step: spikes are counted, cross entropy, Adam.

    The rate is so small that the weights, and with them the spikes, stay what they are.
    """
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-8, fused=True)

    def once() -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            spk = net(frames)
        loss = functional.cross_entropy(spk.float().sum(0), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return once


def random_spikes(density: float, *shape: int) -> Tensor:
    """Return zeros and ones."""
    return (torch.rand(shape) < density).float()


@torch.no_grad()
def scale_to_rate(layer: nn.Module, fire: Callable[[], Tensor], rate: float) -> None:
    """Scale the weight of a layer until ``fire`` returns this share of ones, by bisection."""
    weight: Tensor = layer.get_parameter("weight")
    start = weight.clone()
    low, high = 0.0, 64.0
    for _ in range(20):
        middle = (low + high) / 2
        weight.copy_(start * middle)
        low, high = (middle, high) if fire().mean().item() < rate else (low, middle)
