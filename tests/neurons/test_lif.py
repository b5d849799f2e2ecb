"""What the leaky neurons share, beside the recursion written out."""

from __future__ import annotations

from typing import Any

import pytest
import snntorch as snn
import torch
from torch import Tensor

from snnplug.errors import ArgumentError
from snnplug.surrogate import Atan
from tests.neurons.pairs import (
    FLAT,
    LEAKY,
    RLEAKY,
    RSYNAPTIC,
    SYNAPTIC,
    Kind,
    assert_near,
    drive,
    gradients,
    names,
    stepped,
)

ONE_OF_EACH = [LEAKY, SYNAPTIC, RLEAKY, RSYNAPTIC]


def written_out(neuron: Any, cur: Tensor, kind: Kind) -> list[Tensor]:
    """The equations of the docstrings, with a gradient through everything."""
    reset, fire = neuron.reset_mechanism, neuron.spike_grad
    theta, beta = neuron.threshold, neuron.beta.clamp(0, 1)
    keeps = kind.ours.state_names
    spk, syn, mem = (torch.zeros_like(cur[0]) for _ in range(3))
    record = []
    for now in cur:
        due = fire(mem - theta)
        drive = now
        if "spk" in keeps:
            drive = drive + (neuron.recurrent(spk) if neuron.all_to_all else neuron.V * spk)
        if "syn" in keeps:
            syn = drive = neuron.alpha.clamp(0, 1) * syn + drive
        if reset == "zero" and kind is LEAKY:
            mem = beta * (1 - due) * mem + drive
        elif reset == "zero":
            mem = (1 - due) * (beta * mem + drive)
        else:
            mem = beta * mem + drive - (due * theta if reset == "subtract" else 0)
        spk = fire(mem - theta)
        if not neuron.reset_delay and reset != "none":
            mem = mem - (spk - due) * (theta if reset == "subtract" else mem)
        record.append((spk, *([syn] if "syn" in keeps else []), mem))
    return [torch.stack(series) for series in zip(*record, strict=True)]


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("kind", FLAT, ids=names)
def test_gradient_through_the_reset_is_that_of_the_recursion(
    kind: Kind, delay: bool, reset: str
) -> None:
    torch.manual_seed(0)
    learned = {f"learn_{name}": True for name in [*kind.decays(), "threshold"]}
    neuron = kind.make(
        detach_reset=False, reset_mechanism=reset, reset_delay=delay, threshold=0.9, **learned
    ).double()
    inputs = dict(neuron.named_parameters())
    inputs.pop("graded_spikes_factor", None)
    for seed in range(3):
        x = drive(kind, seed, dtype=torch.float64).requires_grad_()
        found, expected = stepped(neuron, x, kind), written_out(neuron, x, kind)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        assert 0.02 < expected[0].mean() < 0.98
        wanted = gradients(expected, [x, *inputs.values()])
        for a, b in zip(gradients(found, [x, *inputs.values()]), wanted, strict=True):
            assert_near(a, b, 1e-12)
        # A run computes each spike once, for the output and for the reset of the next step.
        ran, expected = [neuron.run(x)[0]], written_out(neuron, x, kind)[:1]
        assert torch.equal(ran[0], expected[0])
        wanted = gradients(expected, [x, *inputs.values()])
        for a, b in zip(gradients(ran, [x, *inputs.values()]), wanted, strict=True):
            assert_near(a, b, 1e-12)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("kind", FLAT, ids=names)
def test_detaching_the_reset_changes_the_gradient_and_nothing_else(kind: Kind, reset: str) -> None:
    torch.manual_seed(0)
    detached = kind.make(reset_mechanism=reset)
    flowing = kind.make(reset_mechanism=reset, detach_reset=False)
    flowing.load_state_dict(detached.state_dict())
    x = drive(kind, 0).requires_grad_()
    one, other = stepped(detached, x, kind), stepped(flowing, x, kind)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    first, second = gradients(one, [x])[0], gradients(other, [x])[0]
    assert (first - second).abs().max() > 0.01 * first.abs().max()


class Counting:
    """Counts how often spikes are computed."""

    def __init__(self) -> None:
        self.calls = 0
        self.fire = Atan()

    def __call__(self, shifted: Tensor) -> Tensor:
        self.calls += 1
        return self.fire(shifted)


@pytest.mark.parametrize(
    ("arguments", "calls"),
    [
        ({}, 11),  # once per step, and once for the membrane before the first
        ({"reset_mechanism": "zero"}, 11),
        ({"reset_mechanism": "none"}, 10),
        ({"inhibition": True}, 11),
        ({"reset_delay": False}, 20),  # the reset moves the membrane after the spike
    ],
)
@pytest.mark.parametrize("kind", ONE_OF_EACH, ids=names)
def test_a_sequence_computes_each_spike_once(
    kind: Kind, arguments: dict[str, Any], calls: int
) -> None:
    counting = Counting()
    kind.make(spike_grad=counting, **arguments).run(drive(kind, 0, 10))
    assert counting.calls == calls


@pytest.mark.parametrize("kind", ONE_OF_EACH, ids=names)
def test_a_state_is_quantised_once_per_step(kind: Kind) -> None:
    seen = []
    neuron = kind.make(state_quant=lambda x: seen.append(1) or x)
    neuron.run(drive(kind, 0, 10))
    assert len(seen) == 10 * len({"syn", "mem"} & set(kind.ours.state_names))


@pytest.mark.parametrize("kind", ONE_OF_EACH, ids=names)
def test_the_callers_tensors_are_copied(kind: Kind) -> None:
    beta, threshold = torch.full((5,), 0.5), torch.tensor(1.5)
    one = kind.make(beta=beta, threshold=threshold)
    other = kind.make(beta=beta, threshold=threshold, learn_beta=True)
    beta.fill_(9.0)
    threshold.fill_(9.0)
    other.beta.data.fill_(0.25)
    assert one.beta.tolist() == [0.5] * 5
    assert one.threshold == other.threshold == 1.5


@pytest.mark.parametrize("kind", ONE_OF_EACH, ids=names)
def test_integers_can_be_learned(kind: Kind) -> None:
    neuron = kind.make(beta=1, threshold=1, learn_beta=True, learn_threshold=True)
    neuron.run(drive(kind, 0))[0].sum().backward()
    assert neuron.beta.grad != 0
    assert neuron.threshold.grad != 0


@pytest.mark.parametrize("kind", ONE_OF_EACH, ids=names)
def test_decays_outside_their_bounds_act_as_the_bound_and_get_no_gradient(kind: Kind) -> None:
    torch.manual_seed(0)
    out = dict.fromkeys(kind.decays(), 1.4)
    learned = {f"learn_{name}": True for name in kind.decays()}
    neuron, bound = kind.make(**out, **learned), kind.make(**dict.fromkeys(out, 1.0))
    bound.load_state_dict(neuron.state_dict() | {name: torch.tensor(1.0) for name in out})
    spk, state = neuron.run(drive(kind, 0))
    assert torch.equal(spk, bound.run(drive(kind, 0))[0])
    (spk.sum() + state[-1].sum()).backward()
    assert all(getattr(neuron, name).grad == 0 for name in out)


@pytest.mark.parametrize("kind", ONE_OF_EACH, ids=names)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reset_mechanism": "half"}, "'subtract' or 'zero' or 'none'"),
        ({"state_quant": True}, "state_quant is True"),
    ],
)
def test_refuses_what_it_cannot_do(kind: Kind, arguments: dict[str, Any], message: str) -> None:
    before = len(snn.SpikingNeuron.instances)
    with pytest.raises(ArgumentError, match=message):
        kind.make(**arguments)
    assert len(snn.SpikingNeuron.instances) == before


def test_inhibition_is_for_dense_layers() -> None:
    with pytest.raises(ArgumentError, match=r"\(B, N\)"):
        LEAKY.make(inhibition=True).run(torch.zeros(3, 2, 4, 5, 5))


@pytest.mark.parametrize("kind", ONE_OF_EACH, ids=names)
def test_a_step_without_state_starts_from_rest(kind: Kind) -> None:
    neuron, now = kind.make(), drive(kind, 0)[0]
    first = neuron(now)
    for again, explicit in zip(first, neuron(now), strict=True):
        assert torch.equal(again, explicit)
    with pytest.raises(TypeError, match="init_hidden"):
        kind.make(init_hidden=True)(now, mem=now)
    with pytest.raises(ArgumentError, match="by name"):
        neuron(now, membrane=now)


@pytest.mark.parametrize("kind", ONE_OF_EACH, ids=names)
def test_shows_its_arguments(kind: Kind) -> None:
    text = repr(kind.make(beta=torch.full((5,), 0.5), reset_delay=False))
    assert "beta=(5,)" in text
    assert "spike_grad=Atan(alpha=2.0)" in text
    assert "reset_mechanism='subtract', reset_delay=False, detach_reset=True" in text
    assert ("alpha=0.7" in text) is ("syn" in kind.ours.state_names)
