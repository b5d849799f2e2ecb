"""Synaptic: traces by hand, and the gradient through the reset in closed form."""

from __future__ import annotations

import pytest
import torch

from snnplug.neurons.leaky import Leaky
from snnplug.neurons.synaptic import Synaptic
from tests.neurons.pairs import SYNAPTIC, drive, stepped


@pytest.mark.parametrize(
    ("arguments", "spikes", "membranes"),
    [
        ({}, [0, 1, 0, 0], [0.8, 1.6, 0.4, 0.6]),
        ({"reset_mechanism": "zero"}, [0, 1, 0, 0], [0.8, 1.6, 0.0, 0.4]),
        ({"reset_mechanism": "none"}, [0, 1, 1, 1], [0.8, 1.6, 1.4, 1.1]),
        ({"reset_delay": False}, [0, 1, 0, 0], [0.8, 0.6, 0.9, 0.85]),
        ({"reset_delay": False, "reset_mechanism": "zero"}, [0, 1, 0, 0], [0.8, 0, 0.6, 0.7]),
    ],
)
def test_traces_by_hand(
    arguments: dict[str, object], spikes: list[float], membranes: list[float]
) -> None:
    cur = torch.tensor([0.8, 0.8, 0.0, 0.1]).view(4, 1, 1)
    spk, syn, mem = stepped(Synaptic(0.5, 0.5, **arguments), cur, SYNAPTIC)
    assert spk.flatten().tolist() == spikes
    assert syn.flatten().tolist() == pytest.approx([0.8, 1.2, 0.6, 0.4])
    assert mem.flatten().tolist() == pytest.approx(membranes, abs=1e-6)


@pytest.mark.parametrize("reset", ["subtract", "none"])
def test_without_a_synaptic_memory_it_is_leaky(reset: str) -> None:
    cur = drive(SYNAPTIC, 0, 40)
    spk, (syn, mem) = Synaptic(0.0, 0.9, reset_mechanism=reset).run(cur)
    expected, (membrane,) = Leaky(0.9, reset_mechanism=reset).run(cur)
    assert torch.equal(spk, expected)
    assert torch.equal(mem, membrane)
    assert torch.equal(syn, cur[-1])


def test_a_reset_to_zero_drops_the_input_that_leaky_keeps() -> None:
    cur = torch.tensor([1.5, 0.6]).view(2, 1, 1)
    assert Synaptic(0.0, 0.9, reset_mechanism="zero").run(cur)[1][1].item() == 0
    assert Leaky(0.9, reset_mechanism="zero").run(cur)[1][0].item() == pytest.approx(0.6)


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_gradient_through_the_reset_is_the_closed_form(reset: str) -> None:
    steps = 10
    cur = drive(SYNAPTIC, 0, steps, torch.float64)
    neuron = Synaptic(0.6, 0.8, 0.9, reset_mechanism=reset, detach_reset=False).double()
    spk, _, mem = (x.detach() for x in stepped(neuron, cur, SYNAPTIC))
    g = neuron.spike_grad.derivative(mem - neuron.threshold)
    x = cur.clone().requires_grad_()
    ran, _ = neuron.run(x)
    for t in range(steps):
        (grad,) = torch.autograd.grad(ran[t].sum(), x, retain_graph=True)
        # What spike t owes to the current and to the membrane of step j, going back.
        to_syn, to_mem = torch.zeros_like(g[t]), g[t]
        for j in range(t, -1, -1):
            # The membrane of step j takes its synaptic current, unless it was reset to zero.
            fell = spk[j - 1] if j > 0 and reset == "zero" else torch.zeros_like(g[t])
            to_syn = to_syn + to_mem * (1 - fell)
            torch.testing.assert_close(grad[j], to_syn, rtol=1e-12, atol=1e-14)
            if j == 0:
                break
            before = neuron.beta * mem[j - 1] + stepped(neuron, cur, SYNAPTIC)[1][j].detach()
            through = {"subtract": neuron.threshold * g[j - 1], "zero": before * g[j - 1]}
            to_mem = to_mem * (neuron.beta * (1 - fell) - through.get(reset, 0))
            to_syn = to_syn * neuron.alpha
