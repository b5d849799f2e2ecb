"""The layer is nn.Conv2d in everything but the time it takes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from snnplug.hardware.counting import measure
from snnplug.kernels import spike_conv
from snnplug.layers.sequential import SpikingSequential
from snnplug.layers.spike_conv2d import SpikeConv2d
from snnplug.neurons.leaky import Leaky


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


class Twice(SpikeConv2d):
    """Does something else than its base class."""

    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


POOLS: dict[str, nn.Module] = {
    "square": nn.MaxPool2d(2),
    "with a step": nn.MaxPool2d((3, 2), stride=(1, 2)),
    "padded": nn.MaxPool2d(2, padding=1),
    "ceil": nn.MaxPool2d(2, ceil_mode=True),
    "average": nn.AvgPool2d(2),
}


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("kind", [SpikeConv2d, Twice])
def test_a_pool_behind_it_changes_nothing(
    pool: str, kind: type[SpikeConv2d], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spike_conv, "_LEAST_WORK", 0)
    fused: list[bool] = []
    take = SpikeConv2d.max_pooled

    def record(self: SpikeConv2d, *args: Any) -> Tensor:
        fused.append(True)
        return take(self, *args)

    monkeypatch.setattr(SpikeConv2d, "max_pooled", record)
    torch.manual_seed(0)
    net = SpikingSequential(kind(2, 5, 3, padding="same"), POOLS[pool], Leaky(beta=0.9))
    frames = (torch.rand(6, 3, 2, 11, 12) < 0.2).float().requires_grad_()
    results = []
    for _ in range(2):
        out = net(frames)
        weight = torch.rand(out.shape, generator=torch.Generator().manual_seed(1))
        grads = torch.autograd.grad((out * weight).sum(), [frames, *net.parameters()])
        results.append((out, grads))
        # A hook has to see the convolution itself.
        net[0].register_forward_hook(lambda module, given, result: None)
    assert fused == [True] * (kind is SpikeConv2d and pool in ("square", "with a step"))
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][0].any()
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-5, atol=1e-5)


def test_a_pool_behind_it_is_counted() -> None:
    torch.manual_seed(0)
    frames = (torch.rand(6, 3, 2, 11, 12) < 0.2).float()
    bills = []
    for kind in (nn.Conv2d, SpikeConv2d):
        torch.manual_seed(0)
        net = SpikingSequential(kind(2, 5, 3), nn.MaxPool2d(2), Leaky(beta=0.9))
        with measure(net) as meter:
            net(frames)
        bills.append(meter.activity())
    assert bills[0] == bills[1]
