"""LearnableLIF against its recursion in the units of the current, and by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from snnplug.errors import ArgumentError
from snnplug.neurons.leaky import Leaky
from snnplug.neurons.learnable_lif import LearnableLIF
from snnplug.surrogate import Atan, Triangular


def recursion(
    cur: Tensor, beta: Tensor, threshold: Tensor, delay: bool, detach: bool
) -> tuple[Tensor, Tensor]:
    """Spikes and the last ``u``, as the equations have it: nothing divided but in ``z``."""
    u, spk = torch.zeros_like(cur[0]), torch.zeros_like(cur[0])
    spikes = []
    for now in cur:
        passed = spk.detach() if detach else spk
        u = beta * u + now - (threshold * passed if delay else 0)
        spk = Triangular()(u / threshold - 1)
        spikes.append(spk)
        if not delay:
            u = u - threshold * (spk.detach() if detach else spk)
    return torch.stack(spikes), u


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("form", ["scalar", "vector"])
def test_is_the_recursion_with_its_gradients(form: str, delay: bool, detach: bool) -> None:
    torch.manual_seed(0)
    vector = form == "vector"
    beta = torch.rand(5).double() if vector else torch.tensor(0.8).double()
    threshold = torch.rand(5).double() + 0.5 if vector else torch.tensor(0.7).double()
    cur = torch.randn(30, 4, 5, dtype=torch.float64) * 0.6 + 0.3
    neuron = LearnableLIF(beta, threshold, reset_delay=delay, detach_reset=detach).double()
    with torch.no_grad():  # the constructor keeps them in float32
        neuron.beta.copy_(beta)
        neuron.threshold.copy_(threshold)
    leaves = [cur.clone().requires_grad_(), beta.requires_grad_(), threshold.requires_grad_()]
    expected, u = recursion(*leaves, delay, detach)
    x = cur.clone().requires_grad_()
    spk, (mem,) = neuron.run(x)
    assert torch.equal(spk, expected)
    assert 0.05 < expected.mean() < 0.95
    torch.testing.assert_close(mem * threshold, u, rtol=1e-12, atol=1e-12)
    weights = torch.rand_like(spk)
    found = torch.autograd.grad((spk * weights).sum(), [x, neuron.beta, neuron.threshold])
    wanted = torch.autograd.grad((expected * weights).sum(), leaves)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10 * float(b.abs().max()))


def test_gradients_of_one_step_are_the_closed_form() -> None:
    threshold, beta, u0, i = 0.8, 0.5, 0.6, 0.7
    neuron = LearnableLIF(beta, threshold).double()
    mem = torch.tensor([[u0 / threshold]], dtype=torch.float64)
    spk, _ = neuron(torch.tensor([[i]], dtype=torch.float64), mem)
    spk.sum().backward()
    a = beta * u0 + i
    slope = 0.3 * (1 - abs(a / threshold - 1))
    assert spk == 1
    assert neuron.beta.grad.item() == pytest.approx(slope * u0 / threshold, rel=1e-6)
    assert neuron.threshold.grad.item() == pytest.approx(-slope * i / threshold**2, rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "membranes"),
    [
        ({}, [0.8, 0.2, 0.9, 0.25]),
        ({"reset_delay": True}, [0.8, 1.2, 0.4, 1.0]),
        ({"reset_mechanism": "none"}, [0.8, 1.2, 1.4, 1.5]),
    ],
)
def test_traces_by_hand(arguments: dict[str, Any], membranes: list[float]) -> None:
    neuron = LearnableLIF(beta=0.5, **arguments)
    mem = None
    found = []
    for _ in range(4):
        _, mem = neuron(torch.full((1, 1), 0.8), mem)
        found.append(mem.item())
    assert found == pytest.approx(membranes)


@pytest.mark.parametrize("spike_grad", [Triangular(), Atan()])
def test_with_a_delayed_reset_and_a_threshold_of_1_it_is_leaky(spike_grad: Any) -> None:
    torch.manual_seed(0)
    cur = torch.randn(20, 3, 4) * 0.6 + 0.3
    results = []
    for neuron in (
        LearnableLIF(beta=0.9, spike_grad=spike_grad, reset_delay=True),
        Leaky(beta=0.9, spike_grad=spike_grad, learn_beta=True),
    ):
        x = cur.clone().requires_grad_()
        spk, (mem,) = neuron.run(x)
        results.append([spk, mem, *torch.autograd.grad(spk.sum(), [x, neuron.beta])])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("delay", [True, False])
def test_leak_and_threshold_learn_a_rate(delay: bool) -> None:
    neuron = LearnableLIF(beta=0.5, threshold=2.0, reset_delay=delay)
    optimizer = torch.optim.Adam(neuron.parameters(), lr=0.02)
    cur = torch.linspace(0.5, 1.0, 16).expand(20, 1, 16)
    for _ in range(150):
        rate = neuron.run(cur)[0].mean()
        optimizer.zero_grad()
        (rate - 0.4).square().backward()
        optimizer.step()
    assert neuron.run(cur)[0].mean().item() == pytest.approx(0.4, abs=0.05)
    assert neuron.beta != 0.5
    assert neuron.threshold != 2.0


def test_may_be_fixed() -> None:
    assert not list(LearnableLIF(learn_beta=False, learn_threshold=False).parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 0.0}, "above 0"),
        ({"threshold": torch.tensor([1.0, -1.0])}, "above 0"),
        ({"threshold": float("nan")}, "above 0"),
        ({"reset_mechanism": "zero"}, "'subtract' or 'none'"),
    ],
)
def test_refuses_what_it_cannot_do(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        LearnableLIF(**arguments)
