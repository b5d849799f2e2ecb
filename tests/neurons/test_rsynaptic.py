"""RSynaptic: traces by hand, the reset that snnTorch lacks, and the gradient in closed form."""

from __future__ import annotations

from typing import Any

import pytest
import snntorch as snn
import torch

from snnplug.neurons.rleaky import RLeaky
from snnplug.neurons.rsynaptic import RSynaptic
from snnplug.neurons.synaptic import Synaptic
from tests.neurons.pairs import RSYNAPTIC, RSYNAPTIC_ONE, drive, stepped


@pytest.mark.parametrize(
    ("arguments", "membranes"),
    [
        ({}, [0.8, 1.6, -0.05, 0.075]),
        ({"reset_mechanism": "zero"}, [0.8, 1.6, 0.0, 0.1]),
        ({"reset_mechanism": "none"}, [0.8, 1.6, 1.0, 0.6]),
        ({"reset_delay": False}, [0.8, 0.55, 0.475, 0.3375]),
    ],
)
def test_traces_by_hand(arguments: dict[str, Any], membranes: list[float]) -> None:
    neuron = RSynaptic(0.5, 0.5, V=-0.4, all_to_all=False, threshold=1.05, **arguments)
    cur = torch.tensor([0.8, 0.8, 0.0, 0.0]).view(4, 1, 1)
    spk, syn, mem = stepped(neuron, cur, RSYNAPTIC_ONE)
    assert spk.flatten().tolist() == [0, 1, 0, 0]
    assert syn.flatten().tolist() == pytest.approx([0.8, 1.2, 0.2, 0.1])
    assert mem.flatten().tolist() == pytest.approx(membranes, abs=1e-6)


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("delay", [True, False])
def test_without_recurrent_weights_it_is_synaptic(reset: str, delay: bool) -> None:
    cur = drive(RSYNAPTIC_ONE, 0, 40)
    same = {"reset_mechanism": reset, "reset_delay": delay}
    spk, (last, *state) = RSynaptic(0.7, 0.9, V=0.0, all_to_all=False, **same).run(cur)
    expected, states = Synaptic(0.7, 0.9, **same).run(cur)
    assert torch.equal(spk, expected)
    assert torch.equal(last, spk[-1])
    assert all(torch.equal(a, b) for a, b in zip(state, states, strict=True))


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("delay", [True, False])
def test_without_a_synaptic_memory_it_is_rleaky(reset: str, delay: bool) -> None:
    cur = drive(RSYNAPTIC_ONE, 0, 40, torch.float64)
    same = {"V": 0.3, "all_to_all": False, "reset_mechanism": reset, "reset_delay": delay}
    spk, (_, _, mem) = RSynaptic(0.0, 0.9, **same).double().run(cur)
    expected, (_, membrane) = RLeaky(0.9, **same).double().run(cur)
    assert torch.equal(spk, expected)
    torch.testing.assert_close(mem, membrane, rtol=1e-12, atol=1e-12)


def test_the_immediate_reset_that_snntorch_lacks() -> None:
    now = torch.full((1, 5), 1.5)
    with pytest.raises(TypeError):
        snn.RSynaptic(0.7, 0.9, linear_features=5, reset_delay=False)(now)
    spk, syn, mem = RSynaptic(0.7, 0.9, linear_features=5, reset_delay=False)(now)
    assert spk.tolist() == [[1.0] * 5]
    assert torch.allclose(syn - mem, torch.ones(1, 5))


def test_hidden_spikes_are_reset_and_detached_too() -> None:
    neuron = RSynaptic(0.7, 0.9, V=2.0, all_to_all=False, init_hidden=True)
    for _ in range(3):
        neuron(torch.full((1, 2), 1.5)).sum().backward()
        neuron.detach_mem()
    assert neuron.spk.sum() == 2
    rest = neuron.reset_mem()
    assert len(rest) == 3
    assert neuron.spk.sum() == 0


@pytest.mark.parametrize("reset", ["subtract", "none"])
def test_gradient_through_spikes_and_reset_is_the_closed_form(reset: str) -> None:
    steps = 10
    cur = drive(RSYNAPTIC, 0, steps, torch.float64)
    neuron = RSynaptic(
        0.6, 0.8, V=-0.4, all_to_all=False, reset_mechanism=reset, detach_reset=False
    ).double()
    spk, _, mem = (x.detach() for x in stepped(neuron, cur, RSYNAPTIC_ONE))
    assert 0 < spk.mean() < 1
    alpha, beta, weight, theta = (
        p.item() for p in (neuron.alpha, neuron.beta, neuron.V, neuron.threshold)
    )
    g = neuron.spike_grad.derivative(mem - theta)
    x = cur.clone().requires_grad_()
    ran, _ = neuron.run(x)
    for t in range(steps):
        (grad,) = torch.autograd.grad(ran[t].sum(), x, retain_graph=True)
        # What spike t owes to the synaptic current and to the membrane of step j, going back.
        to_syn, to_mem = g[t], g[t]
        for j in range(t, -1, -1):
            torch.testing.assert_close(grad[j], to_syn, rtol=1e-12, atol=1e-14)
            if j == 0:
                break
            reset_slope = theta * g[j - 1] if reset == "subtract" else torch.zeros_like(g[t])
            to_mem = to_syn * weight * g[j - 1] + to_mem * (beta - reset_slope)
            to_syn = alpha * to_syn + to_mem
