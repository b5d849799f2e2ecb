"""SNN-DC: each time step on its own."""

from __future__ import annotations

import pytest
import snntorch as snn
import torch

from snnplug.neurons.discontinuous_if import DiscontinuousIF
from snnplug.surrogate import HardFire


def test_spikes_are_those_of_a_leaky_neuron_that_keeps_nothing() -> None:
    torch.manual_seed(0)
    cur = torch.randn(30, 4, 20) * 2
    theirs = snn.Leaky(beta=0.0, reset_mechanism="none", spike_grad=HardFire())
    mem = theirs.reset_mem()
    spk, (last,) = DiscontinuousIF().run(cur)
    for t, now in enumerate(cur):
        expected, mem = theirs(now, mem)
        assert torch.equal(spk[t], expected)
    assert torch.equal(last, mem)


def test_sequence_is_independent_passes() -> None:
    torch.manual_seed(0)
    cur = torch.randn(10, 4, 20)
    neuron = DiscontinuousIF()
    order = torch.randperm(10)
    spk, _ = neuron.run(cur)
    assert torch.equal(neuron.run(cur[order])[0], spk[order])
    for t in range(10):
        assert torch.equal(neuron(cur[t])[0], spk[t])


def test_gradient_is_the_box_and_stays_within_its_step() -> None:
    cur = torch.tensor([0.5, 1.5, 2.5]).view(3, 1, 1).requires_grad_()
    spk, _ = DiscontinuousIF().run(cur)
    (grad,) = torch.autograd.grad(spk[1].sum(), cur, retain_graph=True)
    assert grad.flatten().tolist() == [0, 0.5, 0]
    (grad,) = torch.autograd.grad(spk.sum(), cur)
    assert grad.flatten().tolist() == [0.5, 0.5, 0]


def test_output_neurons_of_the_rule_fire_when_not_negative() -> None:
    neuron = DiscontinuousIF(threshold=0.0, spike_grad=HardFire(inclusive=True))
    assert neuron.run(torch.tensor([-0.1, 0.0, 0.1]).view(1, 1, 3))[0].flatten().tolist() == [
        0,
        1,
        1,
    ]


@pytest.mark.parametrize("output", [False, True])
def test_hidden_state_has_snntorchs_arity(output: bool) -> None:
    out = DiscontinuousIF(init_hidden=True, output=output)(torch.ones(2, 3))
    assert isinstance(out, tuple) is output
