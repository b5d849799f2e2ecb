"""The layer is nn.Linear in everything but the time it takes."""

from __future__ import annotations

import torch
from torch import nn

from snnplug.hardware.counting import measure
from snnplug.layers.sequential import SpikingSequential
from snnplug.layers.spike_linear import SpikeLinear


def test_takes_over_the_weights_and_gives_the_numbers_and_gradients_of_linear() -> None:
    torch.manual_seed(0)
    theirs, ours = nn.Linear(400, 300), SpikeLinear(400, 300)
    ours.load_state_dict(theirs.state_dict())
    x = (torch.rand(10, 80, 400) < 0.1).float()
    weight = torch.randn(10, 80, 300)
    for layer in (theirs, ours):
        (layer(x) * weight).sum().backward()
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-4)


def test_is_counted_as_linear() -> None:
    x = (torch.rand(10, 80, 400) < 0.1).float()
    activities = []
    for kind in (nn.Linear, SpikeLinear):
        net = SpikingSequential(kind(400, 300))
        with measure(net) as meter, torch.no_grad():
            net(x)
        activities.append(meter.activity())
    assert activities[0] == activities[1]
    assert activities[0].layers[0].kind == "Linear"
