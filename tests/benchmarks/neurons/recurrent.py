"""64-R256-11 on 300 time steps of 32, 5 % input and 7 % hidden spikes: a training step."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import snntorch as snn
import torch
from torch import Tensor, nn

import snnplug as sp
from tests.benchmarks.neurons import in_jax
from tests.benchmarks.neurons.libraries import BETA, TAU, Loop, OverTime, SnnTorch
from tests.benchmarks.neurons.task import (
    OURS,
    Task,
    random_spikes,
    scale_to_rate,
    training_step,
)
from tests.benchmarks.neurons.timing import Step

_LOOP = "snnTorch, loop"
_DENSITY, _HIDDEN_RATE = 0.05, 0.07
_FULL, _QUICK = (300, 32, 64, 256, 11), (3, 2, 16, 8, 11)
Chain = Callable[[nn.Linear, nn.Linear, nn.Linear], nn.Module]


def task() -> Task:
    """Return the task."""
    networks: dict[str, Chain] = {
        OURS: _ours,
        _LOOP: _loop,
        "snnTorch, hoisted": lambda a, r, b: OverTime(a, _SnnTorch(r), b, SnnTorch()),
        "spikingjelly, multi-step": _spikingjelly,
        "norse": _norse,
        "sinabs": _sinabs,
    }
    build: dict[str, Callable[[bool], Step]] = {
        name: partial(_step, chain) for name, chain in networks.items()
    }
    build[in_jax.NAME] = _in_jax
    floor = "dense float32 products, step by step"
    build[floor] = _products
    return Task("recurrent 64-R256-11 (T 300, B 32)", _LOOP, build, (floor,))


def _ours(first: nn.Linear, recurrent: nn.Linear, second: nn.Linear) -> nn.Module:
    hidden = sp.RLeaky(beta=BETA, linear_features=recurrent.in_features)
    hidden.recurrent.load_state_dict(recurrent.state_dict())
    layers: list[nn.Module] = []
    for linear, neuron in ((first, hidden), (second, sp.Leaky(beta=BETA))):
        layer = sp.SpikeLinear(linear.in_features, linear.out_features)
        layer.load_state_dict(linear.state_dict())
        layers += [layer, neuron]
    return sp.SpikingSequential(*layers)


def _rleaky(recurrent: nn.Linear) -> Any:
    neuron = snn.RLeaky(beta=BETA, linear_features=recurrent.in_features)
    neuron.recurrent = recurrent
    return neuron


def _loop(first: nn.Linear, recurrent: nn.Linear, second: nn.Linear) -> nn.Module:
    return Loop(first, _rleaky(recurrent), second, snn.Leaky(beta=BETA))


class _SnnTorch(nn.Module):
    def __init__(self, recurrent: nn.Linear) -> None:
        super().__init__()
        self.neuron = _rleaky(recurrent)

    def forward(self, cur: Tensor) -> Tensor:
        spk = mem = torch.zeros_like(cur[0])
        spikes = []
        for now in cur.unbind(0):
            spk, mem = self.neuron(now, spk, mem)
            spikes.append(spk)
        return torch.stack(spikes)


def _spikingjelly(first: nn.Linear, recurrent: nn.Linear, second: nn.Linear) -> nn.Module:
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    from tests.benchmarks.neurons.libraries import Spikingjelly

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            lif = neuron.LIFNode(tau=TAU, v_reset=None, surrogate_function=surrogate.ATan())
            width = recurrent.in_features
            self.container = layer.LinearRecurrentContainer(lif, width, width, step_mode="m")

        def forward(self, cur: Tensor) -> Tensor:
            functional.reset_net(self.container)
            spk: Tensor = self.container(cur)
            return spk

    return OverTime(first, Recurrent(), second, Spikingjelly())


def _norse(first: nn.Linear, recurrent: nn.Linear, second: nn.Linear) -> nn.Module:
    from norse.torch import LIFRecurrentCell

    from tests.benchmarks.neurons.libraries import Norse

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = LIFRecurrentCell(first.in_features, recurrent.in_features)

        def forward(self, frames: Tensor) -> Tensor:
            state: Any = None
            spikes = []
            for now in frames.unbind(0):
                spk, state = self.cell(now, state)
                spikes.append(spk)
            return torch.stack(spikes)

    return OverTime(Recurrent(), second, Norse())


def _sinabs(first: nn.Linear, recurrent: nn.Linear, second: nn.Linear) -> nn.Module:
    from sinabs.layers import LIFRecurrent

    from tests.benchmarks.neurons.libraries import Sinabs

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neuron = LIFRecurrent(tau_mem=TAU, rec_connect=deepcopy(recurrent))

        def forward(self, cur: Tensor) -> Tensor:
            self.neuron.reset_states()
            spk: Tensor = self.neuron(cur.transpose(0, 1))
            return spk.transpose(0, 1)

    return OverTime(first, Recurrent(), second, Sinabs())


def _problem(quick: bool) -> tuple[Tensor, Tensor, nn.Linear, nn.Linear, nn.Linear]:
    torch.manual_seed(0)
    num_steps, batch, features, hidden, classes = _QUICK if quick else _FULL
    frames = random_spikes(_DENSITY, num_steps, batch, features)
    labels = torch.randint(classes, (batch,))
    first, recurrent = nn.Linear(features, hidden), nn.Linear(hidden, hidden)
    chain = sp.RLeaky(beta=BETA, linear_features=hidden)
    chain.recurrent = recurrent
    scale_to_rate(first, lambda: chain.run(first(frames))[0], _HIDDEN_RATE)
    return frames, labels, first, recurrent, nn.Linear(hidden, classes)


def _in_jax(quick: bool) -> Step:
    frames, labels, first, recurrent, second = _problem(quick)
    return in_jax.network_step(frames, labels, (first, second), recurrent)


def _step(chain: Chain, quick: bool) -> Step:
    frames, labels, first, recurrent, second = _problem(quick)
    return training_step(chain(first, recurrent, second), frames, labels)


def _products(quick: bool) -> Step:
    """Return the matrix products of a step; those of the recurrent weight wait for each other."""
    frames, _, first, recurrent, second = _problem(quick)
    num_steps, batch, _ = frames.shape
    x = frames.flatten(0, 1)
    w1, r, w2 = (linear.weight.detach() for linear in (first, recurrent, second))
    hidden, out = torch.randn(len(x), len(w1)), torch.randn(len(x), len(w2))
    results = [torch.empty_like(t) for t in (hidden, out, w1, r, w2, hidden)]
    one = torch.empty(batch, len(w1))
    per_step = hidden.view(num_steps, batch, -1)

    def once() -> None:
        torch.mm(x, w1.t(), out=results[0])
        for now in per_step:
            torch.mm(now, r.t(), out=one)
        torch.mm(hidden, w2.t(), out=results[1])
        torch.mm(hidden.t(), x, out=results[2])
        torch.mm(hidden.t(), hidden, out=results[3])
        torch.mm(out.t(), hidden, out=results[4])
        torch.mm(out, w2, out=results[5])
        for now in per_step:
            torch.mm(now, r, out=one)

    return once
