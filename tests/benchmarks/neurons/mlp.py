"""784-1000-10 on 25 time steps of 128 samples, 13 % input and hidden spikes: a training step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import snntorch as snn
import torch
from torch import Tensor, nn

import snnplug as sp
from tests.benchmarks.neurons import in_jax
from tests.benchmarks.neurons.libraries import BETA, NEURONS, Loop, OverTime, SnnTorch, Spikingjelly
from tests.benchmarks.neurons.task import (
    OURS,
    Task,
    random_spikes,
    scale_to_rate,
    training_step,
)
from tests.benchmarks.neurons.timing import Step

_LOOP = "snnTorch, loop"
_DENSITY, _HIDDEN_RATE = 0.13, 0.13
_FULL, _QUICK = (25, 128, 784, 1000, 10), (3, 4, 30, 20, 10)
Chain = Callable[[nn.Linear, nn.Linear], nn.Module]


def task() -> Task:
    """Return the task."""
    networks: dict[str, Chain] = {
        OURS: _ours,
        _LOOP: lambda a, b: Loop(a, snn.Leaky(beta=BETA), b, snn.Leaky(beta=BETA)),
        **{name: _over_time(neuron) for name, neuron in NEURONS.items()},
    }
    compiled = {
        "snnTorch, compiled": _over_time(SnnTorch, compiled=True),
        "spikingjelly, compiled": _over_time(Spikingjelly, compiled=True),
    }
    build: dict[str, Callable[[bool], Step]] = {
        name: partial(_step, chain) for name, chain in (networks | compiled).items()
    }
    build[in_jax.NAME] = _in_jax
    floor = "dense float32 products"
    return Task(
        "MLP 784-1000-10 (T 25, B 128)",
        _LOOP,
        {
            **build,
            "snnTorch, hoisted, bf16": partial(_step, networks["snnTorch, hoisted"], bf16=True),
        }
        | {floor: _products},
        (floor,),
        tuple(compiled),
    )


def _ours(first: nn.Linear, second: nn.Linear) -> nn.Module:
    layers = []
    for linear in (first, second):
        layer = sp.SpikeLinear(linear.in_features, linear.out_features)
        layer.load_state_dict(linear.state_dict())
        layers += [layer, sp.Leaky(beta=BETA)]
    return sp.SpikingSequential(*layers)


def _over_time(neuron: Callable[[], nn.Module], compiled: bool = False) -> Chain:
    def build(first: nn.Linear, second: nn.Linear) -> nn.Module:
        net = OverTime(first, neuron(), second, neuron())
        if compiled:
            net.compile()
        return net

    return build


def _problem(quick: bool) -> tuple[Tensor, Tensor, nn.Linear, nn.Linear]:
    torch.manual_seed(0)
    num_steps, batch, features, hidden, classes = _QUICK if quick else _FULL
    frames = random_spikes(_DENSITY, num_steps, batch, features)
    labels = torch.randint(classes, (batch,))
    first, second = nn.Linear(features, hidden), nn.Linear(hidden, classes)
    neuron = sp.Leaky(beta=BETA)
    scale_to_rate(first, lambda: neuron.run(first(frames))[0], _HIDDEN_RATE)
    return frames, labels, first, second


def _in_jax(quick: bool) -> Step:
    frames, labels, *linears = _problem(quick)
    return in_jax.network_step(frames, labels, linears)


def _step(chain: Chain, quick: bool, bf16: bool = False) -> Step:
    frames, labels, first, second = _problem(quick)
    return training_step(chain(first, second), frames, labels, bf16)


def _products(quick: bool) -> Step:
    """Return the matrix products of a step, into memory that is used again."""
    frames, _, first, second = _problem(quick)
    x = frames.flatten(0, 1)
    w1, w2 = first.weight.detach(), second.weight.detach()
    hidden, out = torch.randn(len(x), len(w1)), torch.randn(len(x), len(w2))
    results = [torch.empty_like(t) for t in (hidden, out, w1, w2, hidden)]

    def once() -> None:
        torch.mm(x, w1.t(), out=results[0])
        torch.mm(hidden, w2.t(), out=results[1])
        torch.mm(hidden.t(), x, out=results[2])
        torch.mm(out.t(), hidden, out=results[3])
        torch.mm(out, w2, out=results[4])

    return once
