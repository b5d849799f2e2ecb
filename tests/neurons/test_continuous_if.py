"""SNN-CT: snnTorch's spikes, the authors' gradient."""

from __future__ import annotations

import pytest
import snntorch as snn
import torch
from torch import Tensor

from snnplug.errors import ArgumentError
from snnplug.neurons.continuous_if import ContinuousIF
from snnplug.surrogate import HardFire


def snntorch_spikes(cur: Tensor, **arguments: object) -> Tensor:
    neuron = snn.Leaky(spike_grad=HardFire(), **arguments)
    mem = neuron.reset_mem()
    spikes = []
    for now in cur.unbind(0):
        spk, mem = neuron(now, mem)
        spikes.append(spk)
    return torch.stack(spikes)


def gradient(function: object, cur: Tensor, weight: Tensor) -> Tensor:
    x = cur.clone().requires_grad_()
    spk = function(x)  # type: ignore[operator]
    (grad,) = torch.autograd.grad((spk * weight).sum(), x)
    return grad


@pytest.mark.parametrize("seed", range(50))
def test_spikes_are_snntorchs_bit_for_bit(seed: int) -> None:
    torch.manual_seed(seed)
    cur = torch.randn(40, 3, 17) * (0.3 + seed % 5)
    neuron = ContinuousIF()
    spk, (mem,) = neuron.run(cur)
    assert torch.equal(spk, snntorch_spikes(cur, beta=1.0))
    assert 0 < spk.mean() < 1
    assert mem.shape == (3, 17)


@pytest.mark.parametrize("beta", [0.3, 0.9])
def test_spikes_with_a_leak_are_snntorchs_too(beta: float) -> None:
    torch.manual_seed(0)
    cur = torch.randn(40, 3, 17)
    assert torch.equal(ContinuousIF(beta=beta).run(cur)[0], snntorch_spikes(cur, beta=beta))


def test_gradient_is_the_closed_form_and_not_snntorchs() -> None:
    torch.manual_seed(0)
    steps = 12
    cur = torch.randn(steps, 1, 64, dtype=torch.float64) * 0.7
    neuron = ContinuousIF()
    x = cur.clone().requires_grad_()
    spk, _ = neuron.run(x)
    # u from the summation form: u[t] = I[t] + sum over j < t of (I[j] - s[j])
    before = torch.cumsum(cur - spk.detach(), 0) - (cur - spk.detach())
    h = 0.5 * ((cur + before - 1.0).abs() < 1.0).double()
    for t in range(steps):
        (grad,) = torch.autograd.grad(spk[t].sum(), x, retain_graph=True)
        for j in range(steps):
            expected = h[t] * torch.prod(1 - h[j:t], 0) if j <= t else torch.zeros_like(h[t])
            torch.testing.assert_close(grad[j], expected, rtol=0, atol=1e-6)
    weight = torch.randn_like(cur)
    ours = gradient(lambda c: ContinuousIF().run(c)[0], cur, weight)
    theirs = gradient(lambda c: snntorch_spikes(c, beta=1.0), cur, weight)
    assert (ours - theirs).abs().max() > 0.1


def test_two_steps_in_the_window_by_hand() -> None:
    cur = torch.full((2, 1, 1), 0.4, requires_grad=True)
    spk, _ = ContinuousIF().run(cur)
    (grad,) = torch.autograd.grad(spk[1].sum(), cur)
    assert grad.flatten().tolist() == [0.25, 0.5]


def test_detached_reset_gives_snntorchs_gradient() -> None:
    torch.manual_seed(1)
    cur = torch.randn(20, 2, 9)
    weight = torch.randn_like(cur)
    ours = gradient(lambda c: ContinuousIF(detach_reset=True).run(c)[0], cur, weight)
    theirs = gradient(lambda c: snntorch_spikes(c, beta=1.0), cur, weight)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


def test_one_step_at_a_time_equals_the_sequence_with_its_gradient() -> None:
    torch.manual_seed(2)
    cur = torch.randn(15, 2, 9, dtype=torch.float64)
    weight = torch.randn_like(cur)
    neuron = ContinuousIF(beta=0.8)

    def stepped(x: Tensor) -> Tensor:
        mem = None
        spikes = []
        for now in x.unbind(0):
            spk, mem = neuron(now, mem)
            spikes.append(spk)
        return torch.stack(spikes)

    assert torch.equal(stepped(cur), neuron.run(cur)[0])
    torch.testing.assert_close(
        gradient(stepped, cur, weight), gradient(lambda c: neuron.run(c)[0], cur, weight)
    )


def test_state_carries_over_between_runs() -> None:
    torch.manual_seed(3)
    cur = torch.randn(20, 2, 5)
    neuron = ContinuousIF()
    whole, (mem,) = neuron.run(cur)
    first, state = neuron.run(cur[:7])
    second, (last,) = neuron.run(cur[7:], state)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(last, mem)


def test_without_a_reset_it_only_integrates() -> None:
    cur = torch.full((4, 1, 1), 0.6)
    spk, (mem,) = ContinuousIF(reset_mechanism="none").run(cur)
    assert spk.flatten().tolist() == [0, 1, 1, 1]
    assert mem.item() == pytest.approx(2.4)


def test_threshold_can_be_learned_and_differ_per_neuron() -> None:
    threshold = torch.tensor([0.5, 2.0])
    neuron = ContinuousIF(threshold=threshold, learn_threshold=True)
    threshold[0] = 9.0  # ours is a copy
    spk, _ = neuron.run(torch.full((4, 1, 2), 0.6))
    assert spk.sum(0).flatten().tolist() == [4, 1]
    spk.sum().backward()
    assert neuron.threshold.grad is not None
    assert neuron.threshold.grad.abs().sum() > 0


def test_drive_above_threshold_spikes_every_step() -> None:
    spk, _ = ContinuousIF().run(torch.full((6, 1, 1), 1.5))
    assert spk.flatten().tolist() == [1] * 6


@pytest.mark.parametrize(
    "arguments",
    [{"beta": 1.1}, {"beta": -0.1}, {"beta": float("nan")}, {"reset_mechanism": "zero"}],
)
def test_refuses_what_it_cannot_do(arguments: dict[str, object]) -> None:
    before = len(snn.SpikingNeuron.instances)
    with pytest.raises(ArgumentError):
        ContinuousIF(**arguments)  # type: ignore[arg-type]
    assert len(snn.SpikingNeuron.instances) == before
