"""A whole sequence at once: the numbers of its steps, for every neuron."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from snnplug.errors import ArgumentError
from snnplug.layers.sequential import SpikingSequential
from snnplug.neurons.continuous_if import ContinuousIF
from tests.neurons.makers import NEURONS, STATEFUL, Maker, flat, label, stepped


@pytest.mark.parametrize("kind", NEURONS, ids=label)
def test_run_equals_its_steps_with_their_gradient(kind: Maker) -> None:
    torch.manual_seed(2)
    cur = torch.randn(15, 2, 3, dtype=torch.float64) + 0.3
    neuron = kind().double()
    x, y = cur.clone().requires_grad_(), cur.clone().requires_grad_()
    ran, taken = flat(*neuron.run(x)), flat(*stepped(neuron, y))
    assert 0 < ran[0].mean() < 1
    assert all(torch.equal(a, b) for a, b in zip(ran, taken, strict=True))
    weights = [torch.rand_like(r) for r in ran]
    learned = [p for p in neuron.parameters() if p.requires_grad]
    for a, b in zip(
        torch.autograd.grad(ran, [x, *learned], weights, allow_unused=True),
        torch.autograd.grad(taken, [y, *learned], weights, allow_unused=True),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", NEURONS, ids=label)
def test_hidden_state_gives_what_explicit_state_gives(kind: Maker) -> None:
    torch.manual_seed(3)
    cur = torch.randn(10, 2, 3) + 0.3
    neuron = kind(init_hidden=True, output=True)
    explicit = kind()
    explicit.load_state_dict(neuron.state_dict())
    expected, state = stepped(explicit, cur)
    spikes = torch.stack([neuron(now)[0] for now in cur])
    assert torch.equal(spikes, expected)
    for name, value in zip(neuron.state_names, state, strict=True):
        assert torch.equal(getattr(neuron, name), value)


@pytest.mark.parametrize("kind", NEURONS, ids=label)
def test_state_carries_over_between_runs(kind: Maker) -> None:
    torch.manual_seed(4)
    cur = torch.randn(20, 2, 3) + 0.3
    neuron = kind()
    whole, last = neuron.run(cur)
    first, state = neuron.run(cur[:7])
    second, after = neuron.run(cur[7:], state)
    assert torch.equal(torch.cat([first, second]), whole)
    assert all(torch.equal(a, b) for a, b in zip(after, last, strict=True))


@pytest.mark.parametrize("every", [1, 4, 5, 10, 11])
@pytest.mark.parametrize("kind", STATEFUL, ids=label)
def test_detach_every_equals_detaching_by_hand(kind: Maker, every: int) -> None:
    torch.manual_seed(5)
    cur = torch.randn(10, 2, 3, dtype=torch.float64) + 0.3
    neuron = kind(learn_threshold=True).double()
    x, y = cur.clone().requires_grad_(), cur.clone().requires_grad_()
    spk, after = neuron.run(x, detach_every=every)
    state = tuple(torch.zeros_like(cur[0]) for _ in neuron.state_names)
    spikes = []
    for t, now in enumerate(y):
        if t and t % every == 0:
            state = tuple(s.detach() for s in state)
        out, state = neuron.step(now, state)
        spikes.append(out)
    found, expected = flat(spk, after), flat(torch.stack(spikes), state)
    weights = [torch.rand_like(f) for f in found]
    for a, b in zip(
        torch.autograd.grad(found, [x, *neuron.parameters()], weights, allow_unused=True),
        torch.autograd.grad(expected, [y, *neuron.parameters()], weights, allow_unused=True),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    z = cur.clone().requires_grad_()
    (grad,) = torch.autograd.grad(neuron.run(z, detach_every=every)[0][-1].sum(), z)
    reached = grad.abs().sum((1, 2)) > 0
    start = 9 // every * every
    assert not reached[:start].any()
    assert reached[start:].any()


@pytest.mark.parametrize("kind", STATEFUL, ids=label)
def test_detach_every_keeps_the_graph_of_the_state_it_is_given(kind: Maker) -> None:
    neuron = kind()
    given = tuple(torch.full((2, 3), 0.4, requires_grad=True) for _ in neuron.state_names)
    spk, _ = neuron.run(torch.full((4, 2, 3), 0.3), given, detach_every=2)
    for piece, reached in zip(spk.split(2), (True, False), strict=True):
        grads = torch.autograd.grad(piece.sum(), given, retain_graph=True, allow_unused=True)
        assert all((g is not None and bool(g.any())) is reached for g in grads)


@pytest.mark.parametrize("every", [0, -1])
def test_detach_every_takes_a_number_of_steps(every: int) -> None:
    with pytest.raises(ArgumentError, match="detach_every"):
        ContinuousIF().run(torch.zeros(3, 1, 2), detach_every=every)


@pytest.mark.parametrize("kind", NEURONS, ids=label)
def test_activation_checkpointing_over_a_run(kind: Maker) -> None:
    torch.manual_seed(6)
    cur = torch.randn(10, 2, 3) + 0.3
    neuron = kind(learn_threshold=True)
    x, y = cur.clone().requires_grad_(), cur.clone().requires_grad_()
    spk, _ = checkpoint(neuron.run, x, use_reentrant=False)
    plain, _ = neuron.run(y)
    assert torch.equal(spk, plain)
    found = torch.autograd.grad(spk.sum(), [x, neuron.threshold])
    for a, b in zip(found, torch.autograd.grad(plain.sum(), [y, neuron.threshold]), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", NEURONS, ids=label)
def test_in_a_chain_over_time_it_equals_the_loop(kind: Maker) -> None:
    torch.manual_seed(7)
    frames = torch.randn(8, 2, 4)
    fc, neuron, readout = nn.Linear(4, 3), kind(), nn.Linear(3, 2)
    net = SpikingSequential(fc, neuron, readout)
    spk, _ = stepped(neuron, torch.stack([fc(frame) for frame in frames]))
    torch.testing.assert_close(net(frames), torch.stack([readout(s) for s in spk]))


@pytest.mark.parametrize("shape", [(), (3,), (0, 2, 3)])
def test_run_refuses_what_is_no_sequence(shape: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match="no time step"):
        ContinuousIF().run(torch.zeros(shape))


@pytest.mark.parametrize("kind", [NEURONS[n] for n in (0, 1, 2, 5, 7, 9)], ids=label)
def test_compiles_whole_and_exports(kind: Maker) -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)
            self.neuron = kind()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.neuron.run(self.fc(x))[0]

    torch.manual_seed(0)
    torch._dynamo.reset()
    layer, x = Layer(), torch.randn(3, 2, 4)
    spk = layer(x)
    spk.sum().backward()
    expected = layer.fc.weight.grad
    assert expected is not None
    layer.zero_grad()
    exported = torch.export.export(layer, (x,)).module()
    assert torch.equal(exported(x), spk)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    compiled(x).sum().backward()
    torch.testing.assert_close(layer.fc.weight.grad, expected)


@pytest.mark.parametrize("kind", NEURONS, ids=label)
def test_one_step_exports_with_its_state(kind: Maker) -> None:
    neuron = kind()
    cur = torch.rand(2, 3) * 2
    state = tuple(torch.rand(2, 3) * 2 for _ in neuron.state_names)
    exported = torch.export.export(neuron, (cur, *state)).module()
    for a, b in zip(exported(cur, *state), neuron(cur, *state), strict=True):
        assert torch.equal(a, b)
