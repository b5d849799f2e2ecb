"""Leaky: traces by hand, and the gradient through the reset in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from snnplug.neurons.continuous_if import ContinuousIF
from snnplug.neurons.leaky import Leaky
from snnplug.surrogate import Atan, HardFire
from tests.neurons.pairs import LEAKY, drive, stepped


def trace(neuron: Leaky, *inputs: float) -> tuple[list[float], list[float]]:
    """Spikes and membranes of one neuron."""
    spk, mem = stepped(neuron, torch.tensor(inputs).view(-1, 1, 1), LEAKY)
    return spk.flatten().tolist(), [round(m, 4) for m in mem.flatten().tolist()]


@pytest.mark.parametrize(
    ("arguments", "spikes", "membranes"),
    [
        ({}, [0, 1, 0, 1], [0.8, 1.2, 0.4, 1.0 + 1e-4]),
        ({"reset_mechanism": "zero"}, [0, 1, 0, 1], [0.8, 1.2, 0.8, 1.2001]),
        ({"reset_mechanism": "none"}, [0, 1, 1, 1], [0.8, 1.2, 1.4, 1.5001]),
        ({"reset_delay": False}, [0, 1, 0, 1], [0.8, 0.2, 0.9, 0.2501]),
        ({"reset_mechanism": "zero", "reset_delay": False}, [0, 1, 0, 1], [0.8, 0.0, 0.8, 0.0]),
    ],
)
def test_traces_by_hand(
    arguments: dict[str, object], spikes: list[float], membranes: list[float]
) -> None:
    last = 0.8001  # the fourth input lifts the first case over its threshold
    assert trace(Leaky(beta=0.5, **arguments), 0.8, 0.8, 0.8, last) == (spikes, membranes)


def test_spikes_strictly_above_the_threshold() -> None:
    assert trace(Leaky(beta=0.5), 1.0)[0] == [0]


def test_an_immediate_reset_takes_one_threshold_per_spike() -> None:
    # What is left above the threshold is compared as if it were reset already: snnTorch's rule.
    inputs = (3.5, 0.0, 0.0, 0.0)
    assert trace(Leaky(1.0, reset_delay=False), *inputs) == ([1, 1, 0, 0], [2.5, 1.5, 1.5, 1.5])
    assert trace(Leaky(1.0), *inputs) == ([1, 1, 1, 0], [3.5, 2.5, 1.5, 0.5])


@pytest.mark.parametrize("factor", [0.7, 3.3, -0.1, 1e-3])
@pytest.mark.parametrize("delay", [True, False])
def test_graded_spikes_are_snntorchs_bit_for_bit(factor: float, delay: bool) -> None:
    ours, theirs = LEAKY.pair(graded_spikes_factor=factor, reset_delay=delay)
    for seed in range(5):
        cur = drive(LEAKY, seed, 30)
        for a, b in zip(stepped(ours, cur, LEAKY), stepped(theirs, cur, LEAKY), strict=True):
            assert torch.equal(a, b)
        assert set(stepped(ours, cur, LEAKY)[0].unique().tolist()) == {
            0.0,
            torch.tensor(factor).item(),
        }


def test_a_graded_factor_of_zero_is_silence_and_still_resets() -> None:
    neuron = Leaky(beta=0.5, graded_spikes_factor=0.0, reset_delay=False)
    assert trace(neuron, 0.8, 0.8, 0.8) == ([0, 0, 0], [0.8, 0.2, 0.9])


def test_an_inhibited_layer_spikes_with_the_graded_factor() -> None:
    neuron = Leaky(beta=0.5, graded_spikes_factor=0.5, inhibition=True)
    spk, _ = neuron(torch.tensor([[1.2, 3.0, 2.0], [0.1, 0.2, 0.3]]))
    assert spk.tolist() == [[0, 0.5, 0], [0, 0, 0]]


def slopes(cur: Tensor, neuron: Leaky) -> tuple[Tensor, Tensor]:
    """How each step's membrane depends on the one before, and its spike on its membrane."""
    spk, mem = (x.detach() for x in stepped(neuron, cur, LEAKY))
    g = neuron.spike_grad.derivative(mem - neuron.threshold)
    beta = neuron.beta
    kept = {
        "subtract": beta - neuron.threshold * g,
        "zero": beta * (1 - spk) - beta * mem * g,
        "none": beta.expand_as(g),
    }
    return kept[neuron.reset_mechanism], g


@pytest.mark.parametrize("spike_grad", [HardFire(), Atan()], ids=["HardFire", "Atan"])
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_gradient_through_the_reset_is_the_closed_form(reset: str, spike_grad: HardFire) -> None:
    steps = 10
    cur = drive(LEAKY, 0, steps, torch.float64)
    neuron = Leaky(
        beta=0.8, threshold=0.9, spike_grad=spike_grad, reset_mechanism=reset, detach_reset=False
    ).double()
    kept, g = slopes(cur, neuron)
    x = cur.clone().requires_grad_()
    spk, _ = neuron.run(x)
    for t in range(steps):
        (grad,) = torch.autograd.grad(spk[t].sum(), x, retain_graph=True)
        for j in range(t + 1):
            torch.testing.assert_close(grad[j], g[t] * kept[j:t].prod(0), rtol=1e-12, atol=1e-14)
        assert grad[t + 1 :].abs().sum() == 0


@pytest.mark.parametrize("beta", [1.0, 0.8])
@pytest.mark.parametrize("detach_reset", [True, False])
def test_with_the_same_surrogate_it_is_continuous_if(beta: float, detach_reset: bool) -> None:
    cur = drive(LEAKY, 1, 30)
    x, y = cur.clone().requires_grad_(), cur.clone().requires_grad_()
    one, _ = Leaky(beta, spike_grad=HardFire(), detach_reset=detach_reset).run(x)
    other, _ = ContinuousIF(beta=beta, detach_reset=detach_reset).run(y)
    assert torch.equal(one, other)
    (a,), (b,) = torch.autograd.grad(one.sum(), x), torch.autograd.grad(other.sum(), y)
    torch.testing.assert_close(a, b, rtol=1e-6, atol=0)


def test_learned_parameters_move_the_way_they_should() -> None:
    neuron = Leaky(
        0.5,
        learn_beta=True,
        learn_threshold=True,
        learn_graded_spikes_factor=True,
        reset_mechanism="none",
    )
    spk, _ = neuron.run(torch.full((6, 1, 1), 0.6))
    spk.sum().backward()
    assert neuron.beta.grad > 0  # a longer memory, more spikes
    assert neuron.threshold.grad < 0  # a higher threshold, fewer
    assert neuron.graded_spikes_factor.grad == spk.detach().sum()
