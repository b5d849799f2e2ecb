"""RLeaky: traces by hand, recurrent weights, and the gradient through spikes in closed form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from snnplug.errors import ArgumentError
from snnplug.neurons.leaky import Leaky
from snnplug.neurons.rleaky import RLeaky
from snnplug.neurons.rsynaptic import RSynaptic
from tests.neurons.pairs import RLEAKY, RLEAKY_CONV, RLEAKY_ONE, RSYNAPTIC_ONE, drive, stepped


@pytest.mark.parametrize(
    ("arguments", "spikes", "membranes"),
    [
        ({}, [0, 1, 0, 1], [0.8, 1.2, 0.7, 1.15]),
        ({"reset_mechanism": "zero"}, [0, 1, 0, 0], [0.8, 1.2, 0.0, 0.8]),
        ({"reset_mechanism": "none"}, [0, 1, 1, 1], [0.8, 1.2, 1.7, 1.95]),
        ({"reset_delay": False}, [0, 1, 1, 1], [0.8, 0.2, 0.2, 0.2]),
    ],
)
def test_traces_by_hand(
    arguments: dict[str, Any], spikes: list[float], membranes: list[float]
) -> None:
    neuron = RLeaky(0.5, V=0.3, all_to_all=False, **arguments)
    spk, mem = stepped(neuron, torch.full((4, 1, 1), 0.8), RLEAKY_ONE)
    assert spk.flatten().tolist() == spikes
    assert mem.flatten().tolist() == pytest.approx(membranes, abs=1e-6)


@pytest.mark.parametrize("reset", ["subtract", "none"])
def test_without_recurrent_weights_it_is_leaky(reset: str) -> None:
    cur = drive(RLEAKY_ONE, 0, 40)
    spk, (last, mem) = RLeaky(0.9, V=0.0, all_to_all=False, reset_mechanism=reset).run(cur)
    expected, (membrane,) = Leaky(0.9, reset_mechanism=reset).run(cur)
    assert torch.equal(spk, expected)
    assert torch.equal(mem, membrane)
    assert torch.equal(last, spk[-1])


def test_dense_weights_carry_a_spike_from_one_neuron_to_another() -> None:
    neuron = RLeaky(0.0, linear_features=2, reset_mechanism="none")
    with torch.no_grad():
        neuron.recurrent.weight.copy_(torch.tensor([[0.0, 0.0], [2.0, 0.0]]))
        neuron.recurrent.bias.zero_()
    cur = torch.zeros(3, 1, 2)
    cur[0, 0, 0] = 1.5
    assert neuron.run(cur)[0][:, 0].tolist() == [[1, 0], [0, 1], [0, 0]]


def test_one_to_one_weights_equal_a_diagonal_matrix() -> None:
    weights = torch.tensor([-0.4, -0.1, 0.2, 0.3, 0.5])
    one, dense = RLeaky(0.9, V=weights, all_to_all=False), RLeaky(0.9, linear_features=5)
    with torch.no_grad():
        dense.recurrent.weight.copy_(torch.diag(weights))
        dense.recurrent.bias.zero_()
    cur = drive(RLEAKY, 0, 40)
    torch.testing.assert_close(one.run(cur)[0], dense.run(cur)[0])


@pytest.mark.parametrize("kind", [RLeaky, RSynaptic])
def test_weights_are_learned_unless_they_are_not(kind: type[RLeaky]) -> None:
    decays = {"beta": 0.9} | ({"alpha": 0.7} if kind is RSynaptic else {})
    assert isinstance(kind(**decays, all_to_all=False).V, nn.Parameter)
    assert kind(**decays, linear_features=5).recurrent.weight.requires_grad
    fixed = kind(**decays, all_to_all=False, learn_recurrent=False)
    assert not list(fixed.parameters())
    assert fixed.double().V.dtype == torch.float64
    assert list(fixed.state_dict()).count("V") == 1
    assert not any(
        p.requires_grad
        for p in kind(**decays, linear_features=5, learn_recurrent=False).parameters()
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"linear_features": 5, "kernel_size": 3},
        {"linear_features": 5, "conv2d_channels": 2},
        {"conv2d_channels": 2},
        {"kernel_size": 3},
        {"all_to_all": False, "linear_features": 5},
        {"all_to_all": False, "conv2d_channels": 2},
        {"all_to_all": False, "kernel_size": 3},
    ],
)
@pytest.mark.parametrize("kind", [RLeaky, RSynaptic])
def test_takes_exactly_one_kind_of_weights(kind: type[RLeaky], arguments: dict[str, Any]) -> None:
    decays = {"beta": 0.9} | ({"alpha": 0.7} if kind is RSynaptic else {})
    with pytest.raises(ArgumentError, match="either linear_features or both"):
        kind(**decays, **arguments)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_an_even_kernel_keeps_the_size_of_the_map() -> None:
    neuron = RLeaky(0.9, conv2d_channels=2, kernel_size=2)
    assert neuron.run(drive(RLEAKY_CONV, 0))[0].shape == (12, 3, 2, 4, 3)


@pytest.mark.parametrize("kind", [RLEAKY_ONE, RSYNAPTIC_ONE])
def test_the_weight_is_saved_once_and_taken_from_snntorch(kind: Any) -> None:
    ours, theirs = kind.pair(V=torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5]))
    assert {"V", "recurrent.V"} <= theirs.state_dict().keys()
    assert [name for name in ours.state_dict() if name.endswith("V")] == ["V"]
    nested, saved = nn.Sequential(kind.make(V=torch.zeros(5))), nn.Sequential(theirs).state_dict()
    nested.load_state_dict(saved)
    assert torch.equal(nested[0].V, theirs.V)
    assert "0.recurrent.V" in saved


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_gradient_through_spikes_and_reset_is_the_closed_form(reset: str) -> None:
    steps = 10
    cur = drive(RLEAKY_ONE, 0, steps, torch.float64)
    neuron = RLeaky(
        0.8, V=-0.4, all_to_all=False, reset_mechanism=reset, detach_reset=False
    ).double()
    spk, mem = (x.detach() for x in stepped(neuron, cur, RLEAKY_ONE))
    g = neuron.spike_grad.derivative(mem - neuron.threshold)
    # How the membrane of step k + 1 depends on the one of step k.
    update = neuron.beta * mem[:-1] + cur[1:] + neuron.V * spk[:-1]
    kept = neuron.beta + neuron.V * g[:-1]
    if reset == "subtract":
        kept = kept - neuron.threshold * g[:-1]
    if reset == "zero":
        kept = (1 - spk[:-1]) * kept - update * g[:-1]
    kept = kept.detach()
    enters = torch.ones_like(cur)
    if reset == "zero":
        enters[1:] = 1 - spk[:-1]
    x = cur.clone().requires_grad_()
    ran, _ = neuron.run(x)
    for t in range(steps):
        (grad,) = torch.autograd.grad(ran[t].sum(), x, retain_graph=True)
        for j in range(t + 1):
            expected = g[t] * kept[j:t].prod(0) * enters[j]
            torch.testing.assert_close(grad[j], expected, rtol=1e-12, atol=1e-14)
