"""Every neuron of the package, ready to be built, and the loop that ``run`` replaces."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from snnplug.neurons.base import SequenceNeuron
from snnplug.neurons.continuous_if import ContinuousIF
from snnplug.neurons.discontinuous_if import DiscontinuousIF
from snnplug.neurons.leaky import Leaky
from snnplug.neurons.learnable_lif import LearnableLIF
from snnplug.neurons.rleaky import RLeaky
from snnplug.neurons.rsynaptic import RSynaptic
from snnplug.neurons.synaptic import Synaptic

Maker = Callable[..., SequenceNeuron]

STATELESS: list[Maker] = [DiscontinuousIF]
STATEFUL: list[Maker] = [
    ContinuousIF,
    partial(Leaky, beta=0.9),
    partial(Leaky, beta=0.9, reset_mechanism="zero", detach_reset=False),
    partial(Synaptic, alpha=0.7, beta=0.9),
    partial(Synaptic, alpha=0.7, beta=0.9, reset_delay=False),
    partial(RLeaky, beta=0.9, V=0.3, all_to_all=False),
    partial(RLeaky, beta=0.9, linear_features=3),
    partial(RSynaptic, alpha=0.7, beta=0.9, V=0.3, all_to_all=False, detach_reset=False),
    partial(RSynaptic, alpha=0.7, beta=0.9, linear_features=3, reset_delay=False),
    partial(LearnableLIF, beta=0.9, threshold=0.75),
    partial(LearnableLIF, beta=0.9, threshold=0.7, reset_delay=True),
]
NEURONS = STATELESS + STATEFUL


def label(maker: Maker) -> str:
    if not isinstance(maker, partial):
        return maker.__name__
    return "-".join([maker.func.__name__, *map(str, list(maker.keywords.items())[-1])])


def flat(spk: Tensor, state: tuple[Tensor, ...]) -> list[Tensor]:
    return [spk, *state]


def stepped(neuron: SequenceNeuron, cur: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The sequence through snnTorch's call, one step at a time, from rest."""
    state = tuple(torch.zeros_like(cur[0]) for _ in neuron.state_names)
    spikes = []
    for now in cur.unbind(0):
        spk, *after = neuron(now, *state)
        state = (spk, *after) if neuron.state_names[0] == "spk" else tuple(after)
        spikes.append(spk)
    return torch.stack(spikes), state
