"""12C5-P2-64C5-P2-10 on N-MNIST's 34 x 34 x 2, 25 time steps of 32: a training step.

6 % of the input and 15 % of the hidden values are spikes, drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import snntorch as snn
import torch
from torch import Tensor, nn

import snnplug as sp
from tests.benchmarks.neurons.libraries import BETA, NEURONS, Loop, OverTime
from tests.benchmarks.neurons.task import (
    OURS,
    Task,
    random_spikes,
    scale_to_rate,
    training_step,
)
from tests.benchmarks.neurons.timing import Step

_LOOP = "snnTorch, loop"
_DENSITY, _HIDDEN_RATE = 0.06, 0.15
_FULL, _QUICK = (25, 32, 34), (3, 2, 16)
Weights = tuple[nn.Conv2d, nn.Conv2d, nn.Linear]
Chain = Callable[[nn.Conv2d, nn.Conv2d, nn.Linear], nn.Module]


def task() -> Task:
    """Return the task."""
    tuned = _over_time(NEURONS["snnTorch, hoisted"], channels_last=True)
    networks: dict[str, Chain] = {
        OURS: _ours,
        _LOOP: lambda a, b, c: Loop(*_interleave(a, b, c, lambda: snn.Leaky(beta=BETA))),
        **{name: _over_time(neuron) for name, neuron in NEURONS.items()},
        "snnTorch, hoisted, channels last": tuned,
    }
    build: dict[str, Callable[[bool], Step]] = {
        name: partial(_step, chain) for name, chain in networks.items()
    }
    build["snnTorch, hoisted, channels last, bf16"] = partial(_step, tuned, bf16=True)
    floor = "dense float32 convolutions and pools, channels last"
    build[floor] = _dense
    return Task("conv 12C5-P2-64C5-P2-10 (T 25, B 32)", _LOOP, build, (floor,))


def _interleave(
    one: nn.Conv2d, two: nn.Conv2d, last: nn.Linear, neuron: Callable[[], nn.Module]
) -> list[nn.Module]:
    """Return the layers in order; a pool chooses the largest current."""
    blocks = [part for conv in (one, two) for part in (conv, nn.MaxPool2d(2), neuron())]
    return [*blocks, nn.Flatten(), last, neuron()]


def _ours(*weights: nn.Module) -> nn.Module:
    layers: list[nn.Module] = []
    for old in weights:
        new: nn.Module
        if isinstance(old, nn.Conv2d):
            new = sp.SpikeConv2d(old.in_channels, old.out_channels, 5)
        else:
            assert isinstance(old, nn.Linear)
            new = sp.SpikeLinear(old.in_features, old.out_features)
        new.load_state_dict(old.state_dict())
        layers.append(new)
    return sp.SpikingSequential(*_interleave(*layers, lambda: sp.Leaky(beta=BETA)))


def _over_time(neuron: Callable[[], nn.Module], channels_last: bool = False) -> Chain:
    return lambda a, b, c: OverTime(*_interleave(a, b, c, neuron), channels_last=channels_last)


def _problem(quick: bool) -> tuple[Tensor, Tensor, Weights]:
    torch.manual_seed(0)
    num_steps, batch, side = _QUICK if quick else _FULL
    frames = random_spikes(_DENSITY, num_steps, batch, 2, side, side)
    labels = torch.randint(10, (batch,))
    pooled = ((side - 4) // 2 - 4) // 2
    one, two = nn.Conv2d(2, 12, 5), nn.Conv2d(12, 64, 5)
    pool, neuron = nn.MaxPool2d(2), sp.Leaky(beta=BETA)
    x = frames
    for conv in (one, two):

        def fire(conv: nn.Conv2d = conv, x: Tensor = x) -> Tensor:
            cur = pool(conv(x.flatten(0, 1))).unflatten(0, (num_steps, batch))
            spk: Tensor = neuron.run(cur)[0]
            return spk

        scale_to_rate(conv, fire, _HIDDEN_RATE)
        x = fire().detach()
    return frames, labels, (one, two, nn.Linear(64 * pooled**2, 10))


def _step(chain: Chain, quick: bool, bf16: bool = False) -> Step:
    frames, labels, weights = _problem(quick)
    return training_step(chain(*weights), frames, labels, bf16)


def _dense(quick: bool) -> Step:
    """Return convolutions and pools alone, forward and backward, on inputs of their own."""
    frames, _, (one, two, _) = _problem(quick)
    images = frames.flatten(0, 1).to(memory_format=torch.channels_last)
    pool = nn.MaxPool2d(2)
    hidden = torch.rand_like(pool(one(images)))
    for conv in (one, two):
        conv.to(memory_format=torch.channels_last)
    grads = [torch.rand_like(hidden), torch.rand_like(pool(two(hidden)))]
    hidden = hidden.to(memory_format=torch.channels_last).requires_grad_()

    def once() -> None:
        for conv, x, grad in zip((one, two), (images, hidden), grads, strict=True):
            conv.zero_grad()
            pool(conv(x)).backward(grad)
        hidden.grad = None

    return once
