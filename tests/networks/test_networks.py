"""The packaged networks: shapes, start, gradient everywhere."""

from __future__ import annotations

from math import sqrt
from typing import Any

import pytest
import torch

from snnplug.errors import ArgumentError
from snnplug.networks.base import SpikingNetwork, make_neuron
from snnplug.networks.conv import ConvSNN
from snnplug.networks.dense import DenseSNN

BUILD: dict[str, Any] = {
    "dense": lambda neuron: DenseSNN((2, 14, 14), 10, hidden=(40, 30), neuron=neuron),
    "conv": lambda neuron: ConvSNN(
        (2, 14, 14), 10, channels=(4,), hidden=(20,), kernel_size=3, neuron=neuron
    ),
}


@pytest.mark.parametrize("build", BUILD.values(), ids=BUILD)
@pytest.mark.parametrize("neuron", ["continuous", "discontinuous"])
def test_every_weight_gets_a_gradient_at_the_start(build: Any, neuron: str) -> None:
    torch.manual_seed(0)
    net: SpikingNetwork = build(neuron)
    frames = (torch.rand(6, 8, 2, 14, 14) < 0.2).float()
    spk, cur = net(frames)
    assert spk.shape == cur.shape == (6, 8, 10)
    assert set(spk.unique().tolist()) <= {0.0, 1.0}
    cur.square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_weights_start_as_the_authors_do() -> None:
    torch.manual_seed(0)
    net = DenseSNN((400,), 10, hidden=(300,))
    weight = net.layers[2].weight
    assert weight.abs().max().item() == pytest.approx(sqrt(6 / 400), rel=1e-3)
    assert net.layers[2].bias.abs().sum() == 0


def test_output_spikes_are_those_of_the_rule() -> None:
    torch.manual_seed(0)
    net = BUILD["dense"]("discontinuous")
    spk, cur = net((torch.rand(6, 8, 2, 14, 14) < 0.2).float())
    assert torch.equal(spk, (cur >= 0).float())
    net = BUILD["dense"]("continuous")
    spk, cur = net((torch.rand(6, 8, 2, 14, 14) < 0.2).float())
    assert torch.equal(spk, make_neuron("continuous").run(cur)[0])


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    net = DenseSNN((50,), 10, hidden=(30,), dropout_input=0.5, dropout_hidden=0.5)
    frames = torch.ones(3, 2, 50)
    assert not torch.equal(net(frames)[1], net(frames)[1])
    net.eval()
    assert torch.equal(net(frames)[1], net(frames)[1])


def test_unknown_neuron_is_refused() -> None:
    with pytest.raises(ArgumentError, match="Did you mean continuous"):
        DenseSNN((4,), 2, neuron="continous")  # type: ignore[arg-type]
