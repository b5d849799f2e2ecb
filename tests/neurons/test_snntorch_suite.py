"""What snnTorch's own tests of Leaky, Synaptic, RLeaky and RSynaptic ask, of its class and ours.

Every case runs on both: on snnTorch's to show that the expectation is right, on ours for parity.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import snntorch as snn
import torch
from torch import Tensor

from snnplug.neurons.leaky import Leaky
from snnplug.neurons.rleaky import RLeaky
from snnplug.neurons.rsynaptic import RSynaptic
from snnplug.neurons.synaptic import Synaptic

Maker = Callable[..., Any]
FIRST, SECOND = {"beta": 0.5}, {"alpha": 0.5, "beta": 0.5}
RECURRENT = {"V": 0.5, "all_to_all": False}

LEAKY = [partial(c, **FIRST) for c in (snn.Leaky, Leaky)]
SYNAPTIC = [partial(c, **SECOND) for c in (snn.Synaptic, Synaptic)]
RLEAKY = [partial(c, **FIRST, **RECURRENT) for c in (snn.RLeaky, RLeaky)]
RSYNAPTIC = [partial(c, **SECOND, **RECURRENT) for c in (snn.RSynaptic, RSynaptic)]
ALL = LEAKY + SYNAPTIC + RLEAKY + RSYNAPTIC
RESETS = ["subtract", "zero", "none"]


def name(maker: Any) -> str | None:
    if not isinstance(maker, partial):
        return None
    return f"{maker.func.__module__.partition('.')[0]}-{maker.func.__name__}"


@pytest.fixture
def pulse() -> Tensor:
    """A subthreshold input, then none."""
    return torch.tensor([[0.25], [0.0]])


def traced(neuron: Any, state: tuple[Tensor, ...], inputs: Tensor) -> list[tuple[Tensor, ...]]:
    """What each step gives; a recurrent neuron takes its own spikes as the first state."""
    record = []
    for now in inputs:
        out = neuron(now, *state)
        state = out if len(out) == len(state) else out[1:]
        record.append(out)
    return record


@pytest.mark.parametrize("make", LEAKY, ids=name)
def test_leaky_decays(make: Maker, pulse: Tensor) -> None:
    neuron = make()
    first, second = traced(neuron, (neuron.init_leaky(),), pulse)
    assert first[1].item() == 0.25
    assert second[1] == first[1] * 0.5
    assert first[0] == second[0] == 0


@pytest.mark.parametrize("make", SYNAPTIC, ids=name)
def test_synaptic_current_halves_and_drives(make: Maker, pulse: Tensor) -> None:
    neuron = make()
    first, second = traced(neuron, tuple(neuron.init_synaptic()), pulse)
    assert first[1] == 2 * second[1] == 0.25
    assert second[2] == first[2] * 0.5 + second[1]
    assert first[0] == second[0] == 0


@pytest.mark.parametrize("make", RLEAKY, ids=name)
def test_rleaky_adds_its_spike(make: Maker) -> None:
    neuron = make(reset_mechanism="none")
    first, second = traced(neuron, tuple(neuron.init_rleaky()), torch.tensor([[1.25], [0.0]]))
    assert first[0] == 1
    assert second[1] == first[1] * 0.5 + 0.5 * first[0]


@pytest.mark.parametrize("make", RSYNAPTIC, ids=name)
def test_rsynaptic_adds_its_spike_to_the_current(make: Maker) -> None:
    neuron = make(reset_mechanism="none")
    state = tuple(neuron.init_rsynaptic())
    first, second = traced(neuron, state, torch.tensor([[1.25], [0.0]]))
    assert first[0] == 1
    assert second[1] == first[1] * 0.5 + 0.5 * first[0]
    assert second[2] == first[2] * 0.5 + second[1]


@pytest.mark.parametrize("make", ALL, ids=name)
def test_the_reset_can_be_changed_later(make: Maker) -> None:
    for value, reset in enumerate(RESETS):
        neuron = make(reset_mechanism=reset)
        assert neuron.reset_mechanism_val == value
        for other_value, other in enumerate(RESETS):
            neuron.reset_mechanism = other
            assert neuron.reset_mechanism == other
            assert neuron.reset_mechanism_val == other_value


@pytest.mark.parametrize("make", ALL, ids=name)
def test_an_unknown_reset_is_refused(make: Maker) -> None:
    with pytest.raises(ValueError, match="reset_mechanism"):
        make(reset_mechanism="sideways")


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("make", ALL, ids=name)
def test_a_hidden_state_gives_the_spikes_of_an_explicit_one(make: Maker, reset: str) -> None:
    inputs = torch.linspace(-0.5, 2.5, 40).view(-1, 1, 1)
    hidden = make(init_hidden=True, reset_mechanism=reset)
    shown = make(reset_mechanism=reset)
    states = 1 + ("Synaptic" in shown._get_name()) + shown._get_name().startswith("R")
    record = traced(shown, (torch.zeros(1, 1),) * states, inputs)
    spk = torch.stack([hidden(now) for now in inputs])
    assert torch.equal(spk, torch.stack([out[0] for out in record]))
    assert 0 < spk.sum() < len(spk)


@pytest.mark.parametrize("make", ALL, ids=name)
def test_a_hidden_state_is_not_also_given(make: Maker, pulse: Tensor) -> None:
    neuron = make(init_hidden=True)
    with pytest.raises(TypeError):
        neuron(pulse[0], pulse[0], pulse[0], pulse[0]) if "RSyn" in neuron._get_name() else neuron(
            pulse[0], pulse[0]
        )


@pytest.mark.parametrize("make", ALL, ids=name)
def test_an_output_layer_gives_spike_and_states(make: Maker, pulse: Tensor) -> None:
    neuron = make(init_hidden=True, output=True)
    assert len(neuron(pulse[0])) == (3 if "Synaptic" in neuron._get_name() else 2)


@pytest.mark.parametrize("make", ALL, ids=name)
def test_what_is_learned_is_a_parameter(make: Maker) -> None:
    expected = {"beta", "threshold"}
    if "Synaptic" in make()._get_name():
        expected.add("alpha")
    arguments = {f"learn_{parameter}": True for parameter in expected}
    if "V" in make.keywords:
        expected.add("V")
        assert not list(make(learn_recurrent=False).parameters())
    else:
        assert not list(make().parameters())
    learned = make(**arguments)
    assert {n for n, _ in learned.named_parameters()} == expected
    assert all(p.requires_grad for p in learned.parameters())


@pytest.mark.parametrize("make", LEAKY, ids=name)
def test_the_graded_factor_can_be_learned(make: Maker) -> None:
    assert make(learn_graded_spikes_factor=True).graded_spikes_factor.requires_grad
    assert not make().graded_spikes_factor.requires_grad


@pytest.mark.parametrize("factor", [0.25, 2.0])
@pytest.mark.parametrize("make", LEAKY, ids=name)
def test_graded_spikes_carry_the_factor(make: Maker, factor: float) -> None:
    spk, _ = make(graded_spikes_factor=factor)(torch.tensor([0.5, 1.5]), torch.zeros(2))
    assert spk.tolist() == [0, factor]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("make", ALL[1::2], ids=name)
def test_the_dtype_is_kept(make: Maker, dtype: torch.dtype) -> None:
    # Ours only: snnTorch's gives a float32 membrane for other inputs.
    neuron = make(init_hidden=True, output=True).to(dtype)
    for _ in range(3):
        out = neuron(torch.full((2, 3), 0.75, dtype=dtype))
    assert {x.dtype for x in out} == {dtype}


@pytest.mark.parametrize("make", ALL, ids=name)
def test_one_graph_without_a_surrogate(make: Maker, pulse: Tensor) -> None:
    import torch._dynamo as dynamo

    dynamo.reset()
    neuron = make(surrogate_disable=True)
    assert dynamo.explain(neuron)(pulse[0]).graph_break_count == 0
