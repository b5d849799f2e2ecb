"""The layer is nn.Conv2d in everything but the time it takes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from snnplug.hardware.counting import measure
from snnplug.kernels import spike_conv
from snnplug.layers.sequential import SpikingSequential
from snnplug.layers.spike_conv2d import SpikeConv2d


# torch tells that it pads a copy for an even kernel.
@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3},
        {"kernel_size": (5, 2), "stride": (2, 1), "padding": (1, 3), "dilation": (1, 2)},
        {"kernel_size": 4, "padding": "same"},
        {"kernel_size": (2, 3), "padding": "valid", "bias": False},
        {"kernel_size": 3, "padding": (1, 2), "padding_mode": "circular", "groups": 2},
        {"kernel_size": (4, 3), "padding": "same", "padding_mode": "replicate"},
        {"kernel_size": 3, "padding": 1, "padding_mode": "reflect", "stride": 2},
    ],
)
def test_gives_the_numbers_and_gradients_of_conv2d(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spike_conv, "_LEAST_WORK", 0)
    torch.manual_seed(0)
    theirs, ours = nn.Conv2d(4, 6, **options), SpikeConv2d(4, 6, **options)
    ours.load_state_dict(theirs.state_dict())
    x = (torch.rand(20, 4, 12, 11) < 0.05).float()
    grads = []
    for layer in (theirs, ours):
        leaf = x.clone().requires_grad_()
        out = layer(leaf)
        weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
        grads.append(torch.autograd.grad((out * weight).sum(), [leaf, *layer.parameters()]))
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours(x[0]), theirs(x[0]), rtol=1e-5, atol=1e-5)


def test_is_counted_as_conv2d() -> None:
    torch.manual_seed(0)
    x = (torch.rand(10, 8, 2, 34, 34) < 0.05).float()
    activities = []
    for kind in (nn.Conv2d, SpikeConv2d):
        net = SpikingSequential(kind(2, 12, 5), nn.MaxPool2d(2))
        with measure(net) as meter, torch.no_grad():
            net(x)
        activities.append(meter.activity())
    assert activities[0] == activities[1]
    assert activities[0].layers[0].kind == "Conv2d"
