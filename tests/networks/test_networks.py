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
from snnplug.networks.leaky import LeakySNN, spread_decays

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


@pytest.mark.parametrize("recurrent", [False, True])
def test_leaky_network_learns_everywhere_and_spikes(recurrent: bool) -> None:
    torch.manual_seed(0)
    net = LeakySNN((100,), 5, hidden=(60, 50), recurrent=recurrent, tau_steps=(2.0, 50.0))
    spk = net((torch.rand(40, 8, 100) < 0.5).float())
    assert spk.shape == (40, 8, 5)
    assert set(spk.unique().tolist()) == {0.0, 1.0}
    spk.square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert ("3.recurrent.weight" in net.state_dict()) == recurrent
    assert [round(b, 3) for b in net[3].beta.tolist()][:1] == [0.5]
    assert net[3].beta.max().item() == pytest.approx(1 - 1 / 50)


def test_leaky_network_is_the_loop_over_time() -> None:
    torch.manual_seed(0)
    net = LeakySNN((20,), 5, hidden=(30,), recurrent=True).eval()
    frames = (torch.rand(12, 8, 20) < 0.5).float()
    spk, mem, mem_out = torch.zeros(8, 30), torch.zeros(8, 30), torch.zeros(8, 5)
    for step, frame in enumerate(frames):
        spk, mem = net[3](net[2](frame), spk, mem)
        out, mem_out = net[6](net[5](spk), mem_out)
        assert torch.equal(out, net(frames[: step + 1])[-1])


@pytest.mark.parametrize("tau", [(1.0, 5.0), (5.0, 2.0), (2.0,), (float("nan"), 3.0)])
def test_impossible_time_constants_are_refused(tau: Any) -> None:
    with pytest.raises(ArgumentError, match="time constant"):
        spread_decays(tau, 4)
