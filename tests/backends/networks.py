"""Small networks of every neuron, and what a training step of them gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import snnplug as sp
from tests.neurons.makers import Maker

FEATURES, HIDDEN, CLASSES = 6, 3, 4  # makers.py has recurrent layers of 3


def network(maker: Maker) -> sp.SpikingSequential:
    torch.manual_seed(1)
    net = sp.SpikingSequential(
        nn.Linear(FEATURES, HIDDEN), maker(), nn.Linear(HIDDEN, CLASSES), maker_of_readout()
    )
    with torch.no_grad():
        for p in net.parameters():
            if p.dim() == 2:
                p.mul_(2)  # enough current to spike
    return net


def maker_of_readout() -> nn.Module:
    return sp.Leaky(beta=0.8, spike_grad=sp.FastSigmoid(5.0))


def frames(num_steps: int = 7, batch: int = 5, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(num_steps, batch, FEATURES, generator=generator) < 0.5).float()


def training_step(
    net: nn.Module, run: Callable[[Tensor], Any], x: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Return the spikes, and the gradients of a loss that weighs every output differently."""
    spk = run(x)
    weights = torch.linspace(-1, 1, spk.numel()).view_as(spk)
    learned = [p for p in net.parameters() if p.requires_grad]
    grads = torch.autograd.grad((spk.float() * weights).sum(), learned, allow_unused=True)
    return spk, [
        torch.zeros_like(p) if g is None else g for p, g in zip(learned, grads, strict=True)
    ]
