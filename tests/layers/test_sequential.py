"""A chain over time equals snnTorch's loop."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import snntorch as snn
import torch
from torch import nn

from snnplug.errors import ArgumentError
from snnplug.layers.sequential import SpikingSequential
from snnplug.neurons.continuous_if import ContinuousIF
from snnplug.neurons.discontinuous_if import DiscontinuousIF

MAKERS: list[Callable[[], nn.Module]] = [
    ContinuousIF,
    DiscontinuousIF,
    lambda: ContinuousIF(init_hidden=True),
    lambda: snn.Leaky(beta=0.9),
    lambda: snn.Leaky(beta=0.9, init_hidden=True),
    lambda: snn.Leaky(beta=0.9, init_hidden=True, output=True),
    lambda: snn.Synaptic(alpha=0.8, beta=0.9),
    lambda: snn.RLeaky(beta=0.9, V=0.5, all_to_all=False),
    lambda: snn.RLeaky(beta=0.9, linear_features=5),
    lambda: snn.RSynaptic(alpha=0.8, beta=0.9, V=0.5, all_to_all=False),
]


@pytest.mark.parametrize("make", MAKERS)
def test_equals_the_loop_over_time(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    conv, fc, neuron = nn.Conv2d(2, 3, 3), nn.Linear(48, 5), make()
    net = SpikingSequential(conv, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 48), fc, neuron)
    frames = torch.randn(6, 4, 2, 6, 6)
    out = net(frames)
    assert out.shape == (6, 4, 5)
    neuron.reset_mem()  # type: ignore[operator]
    state = [] if neuron.init_hidden else _rest(neuron)
    for t, frame in enumerate(frames):
        cur = nn.Sequential(*net[:5])(frame)
        stepped = neuron(cur, *state)
        spk, *after = stepped if isinstance(stepped, tuple) else (stepped,)
        recurrent = isinstance(neuron, snn.RLeaky | snn.RSynaptic)
        state = [] if neuron.init_hidden else [spk, *after] if recurrent else after
        torch.testing.assert_close(out[t], spk)


def _rest(neuron: nn.Module) -> list[torch.Tensor]:
    state = neuron.reset_mem()  # type: ignore[operator]
    return list(state) if isinstance(state, tuple) else [state]


@pytest.mark.parametrize("make", MAKERS)
def test_calls_do_not_depend_on_each_other(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    net = SpikingSequential(nn.Linear(4, 5), make())
    frames = torch.randn(6, 4, 4)
    first = net(frames)
    torch.testing.assert_close(net(frames), first)


def test_nests() -> None:
    torch.manual_seed(0)
    inner = [nn.Linear(4, 5), ContinuousIF(), nn.Linear(5, 2)]
    frames = torch.randn(6, 3, 4)
    assert torch.equal(
        SpikingSequential(SpikingSequential(*inner[:2]), inner[2])(frames),
        SpikingSequential(*inner)(frames),
    )


@pytest.mark.parametrize("shape", [(3,), (0, 2, 4)])
def test_refuses_what_is_no_sequence(shape: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match="SpikingSequential takes"):
        SpikingSequential(nn.Linear(4, 5))(torch.zeros(shape))
