"""Counting from the bits that a sparse product has made, in place of the values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from snnplug.hardware.counting import measure
from snnplug.kernels import native, seen_bits
from snnplug.layers.sequential import SpikingSequential
from snnplug.layers.spike_conv2d import SpikeConv2d
from snnplug.layers.spike_linear import SpikeLinear
from snnplug.neurons.continuous_if import ContinuousIF

pytestmark = pytest.mark.skipif(native.library() is None, reason="needs the native kernels")


def spikes(*shape: int, density: float = 0.05) -> Tensor:
    return (torch.rand(*shape) < density).float()


def conv(**options: Any) -> nn.Module:
    return SpikingSequential(
        SpikeConv2d(2, 32, 5, **options),
        nn.MaxPool2d(2),
        ContinuousIF(),
        SpikeConv2d(32, 32, 3),
        ContinuousIF(),
    )


def dense() -> nn.Module:
    return SpikingSequential(
        nn.Flatten(), SpikeLinear(2 * 20 * 20, 512), ContinuousIF(), SpikeLinear(512, 64)
    )


def pruned() -> nn.Module:
    net = conv()
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight[torch.rand_like(layer.weight) < 0.5] = 0
    return net


@pytest.mark.parametrize("density", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize(
    "build", [conv, dense, pruned, lambda: conv(padding=2, padding_mode="circular")]
)
def test_the_activity_is_that_of_reading_every_value(
    build: Callable[[], nn.Module], graded: bool, density: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    net = build()
    batches = [spikes(8, n, 2, 20, 20, density=density) for n in (40, 33)]
    if graded:
        batches[1][3, 2] *= 3
    taken: list[bool] = []
    ask = seen_bits.bits_of

    def noted(x: Tensor) -> seen_bits.SeenBits | None:
        known = ask(x)
        taken.append(known is not None)
        return known

    monkeypatch.setattr("snnplug.hardware.tally.bits_of", noted)
    with measure(net) as meter, torch.no_grad():
        for batch in batches:
            net(batch)
    assert any(taken)
    monkeypatch.setattr("snnplug.hardware.tally.bits_of", lambda x: None)
    with measure(net) as plain, torch.no_grad():
        for batch in batches:
            net(batch)
    assert meter.activity() == plain.activity()
    first = meter.activity().synaptic[0]
    assert first.events == sum(int((batch != 0).sum()) for batch in batches)


@pytest.mark.parametrize("rows", [1, 254, 255, 256, 511, 2000])
@pytest.mark.parametrize("words", [1, 7, 8, 9, 36])
def test_bits_are_counted_by_column(rows: int, words: int) -> None:
    torch.manual_seed(rows)
    bits = torch.randint(-(2**63), 2**63 - 1, (rows, words))
    bits[:, 0] = -1  # a full column
    places = torch.arange(64)
    expected = ((bits[:, :, None] >> places) & 1).sum(0).flatten()
    assert torch.equal(native.count_bits(bits, 64 * words), expected)
    assert torch.equal(native.count_bits(bits, 64 * words - 5), expected[:-5])


def test_bits_are_of_the_values_that_the_product_read() -> None:
    x, layer = spikes(256, 2 * 20 * 20), SpikeLinear(2 * 20 * 20, 512)
    layer(x)
    assert seen_bits.bits_of(x) is None  # nobody has asked
    seen_bits.watch()
    try:
        layer(x)
        known = seen_bits.bits_of(x)
        assert known is not None
        assert known.nonzeros == int(x.sum())
        assert seen_bits.bits_of(x.reshape(-1)) is not None
        assert seen_bits.bits_of(x[1:]) is None
        assert seen_bits.bits_of(x.t()) is None
        assert seen_bits.bits_of(x.clone()) is None
        layer(torch.rand(256, 2 * 20 * 20))  # too dense for bits
        assert seen_bits.bits_of(x) is not None  # still those of x
    finally:
        seen_bits.unwatch()
    assert seen_bits.bits_of(x) is None


def test_hooks_leave_nothing_wanted_behind() -> None:
    net = dense()
    with pytest.raises(ZeroDivisionError), measure(net):
        raise ZeroDivisionError
    assert not seen_bits.is_wanted()
    meter = measure(net)
    with meter:
        assert seen_bits.is_wanted()
        meter.__exit__(None, None, None)  # as a callback that stops early does
        assert not seen_bits.is_wanted()
    assert not seen_bits.is_wanted()


def test_a_conv_network_is_counted_without_reading_what_its_kernels_have_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    net, x = conv(), spikes(8, 40, 2, 20, 20)
    read: list[int] = []
    count = native.count_spikes

    def counted(values: Tensor, sites: int, spike: float) -> tuple[int, Tensor] | None:
        read.append(values.numel())
        return count(values, sites, spike)

    monkeypatch.setattr(native, "count_spikes", counted)
    with measure(net), torch.no_grad():
        out = net(x)
    assert read == [out.numel()]  # the output spikes, which nothing has read
