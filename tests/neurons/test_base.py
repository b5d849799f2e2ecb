"""What every neuron promises: state, copies, reset, dtypes."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import snntorch as snn
import torch
from snntorch import surrogate
from torch import Tensor, nn

from snnplug.errors import ArgumentError
from snnplug.neurons.base import reset
from snnplug.neurons.continuous_if import ContinuousIF
from tests.neurons.makers import NEURONS, Maker, label


@pytest.mark.filterwarnings("ignore::snnplug.neurons.decay_precision.DecayWarning")
@pytest.mark.parametrize("spike_grad", [None, surrogate.fast_sigmoid()], ids=["ours", "theirs"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", NEURONS, ids=label)
def test_keeps_the_dtype_of_its_input(
    kind: Maker, dtype: torch.dtype, spike_grad: Callable[[Tensor], Tensor] | None
) -> None:
    torch.manual_seed(0)
    cur = torch.tensor([0.2, 1.7, 0.1], dtype=dtype).expand(3, 4, 3).clone().requires_grad_()
    neuron = kind(spike_grad=spike_grad)
    if hasattr(neuron, "recurrent"):
        neuron.to(dtype)  # a weight matrix has to have the dtype of what it multiplies
    spk, state = neuron.run(cur)
    assert spk.dtype == dtype
    assert all(s.dtype == dtype for s in state)
    assert set(spk.flatten().tolist()) == {0.0, 1.0}
    (grad,) = torch.autograd.grad(spk.sum(), cur)
    assert grad.dtype == dtype
    assert grad.isfinite().all()


@pytest.mark.parametrize("kind", NEURONS, ids=label)
def test_hidden_state_can_be_copied_pickled_and_saved_mid_sequence(
    kind: Maker, tmp_path: Path
) -> None:
    net = nn.Sequential(nn.Linear(4, 3), kind(init_hidden=True))
    for _ in range(3):
        net(torch.ones(2, 4)).sum()
    copied = copy.deepcopy(net)
    unpickled = pickle.loads(pickle.dumps(net))
    torch.save(net, tmp_path / "whole.pt")
    loaded = torch.load(tmp_path / "whole.pt", weights_only=False)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    kept = torch.load(tmp_path / "net.pt", weights_only=True)
    assert not kept.keys() & {f"1.{name}" for name in net[1].state_names}
    for other in (copied, unpickled, loaded):
        reset(net)
        assert torch.equal(net(torch.ones(2, 4)), other(torch.ones(2, 4)))


def test_hidden_state_starts_again_when_the_batch_changes() -> None:
    neuron = ContinuousIF(init_hidden=True)
    neuron(torch.full((2, 3), 0.6))
    assert neuron(torch.full((1, 3), 0.6)).sum() == 0
    assert neuron(torch.full((1, 3), 0.6)).sum() == 3


def test_reset_reaches_nested_neurons_and_leaves_other_networks_alone() -> None:
    ours = nn.Sequential(nn.Sequential(ContinuousIF(init_hidden=True)))
    theirs = nn.Sequential(nn.Sequential(snn.Leaky(beta=0.9, init_hidden=True)))
    other = ContinuousIF(init_hidden=True)
    for net in (ours, theirs, other):
        net(torch.full((1, 2), 0.6))
    reset(ours)
    reset(theirs)
    assert ours[0][0].mem.abs().sum() == 0
    assert theirs[0][0].mem.abs().sum() == 0
    assert other.mem.abs().sum() > 0


@pytest.mark.parametrize("kind", NEURONS, ids=label)
def test_an_ordinary_loop_starts_from_reset_mem(kind: Maker) -> None:
    neuron = kind()
    state = neuron.reset_mem()
    state = state if isinstance(state, tuple) else (state,)
    cur = torch.full((4, 2, 3), 0.6)
    spikes = []
    for now in cur:
        spk, *after = neuron(now, *state)
        state = (spk, *after) if neuron.state_names[0] == "spk" else tuple(after)
        spikes.append(spk)
    assert torch.equal(torch.stack(spikes), neuron.run(cur)[0])


@pytest.mark.parametrize("kind", NEURONS, ids=label)
def test_reset_reaches_every_state(kind: Maker) -> None:
    torch.manual_seed(8)
    net = nn.Sequential(nn.Sequential(nn.Linear(4, 3), kind(init_hidden=True)))
    frame = torch.randn(2, 4).abs() * 3
    first = net(frame)
    net(frame)
    reset(net)
    assert all(getattr(net[0][1], name).abs().sum() == 0 for name in net[0][1].state_names)
    assert torch.equal(net(frame), first)


@pytest.mark.parametrize("kind", NEURONS, ids=label)
def test_says_whether_it_is_one_membrane(kind: Maker) -> None:
    neuron = kind()
    assert neuron.one_membrane is (neuron.state_names == ("mem",))
    assert neuron not in snn.SpikingNeuron.instances


def test_a_network_that_is_dropped_is_freed() -> None:
    net = nn.Sequential(nn.Linear(10, 10), ContinuousIF(init_hidden=True))
    gone = weakref.ref(net[1])
    del net
    gc.collect()
    assert gone() is None


def test_truncated_backpropagation_detaches() -> None:
    neuron = ContinuousIF(init_hidden=True)
    weight = torch.ones(1, requires_grad=True)
    for _ in range(3):
        loss = neuron(weight.expand(1, 1) * 0.6).sum()
        loss.backward()
        neuron.detach_mem()
    assert weight.grad is not None


def test_run_keeps_nothing_and_needs_no_reset() -> None:
    neuron = ContinuousIF()
    cur = torch.full((3, 1, 2), 0.6)
    assert torch.equal(neuron.run(cur)[0], neuron.run(cur)[0])
    assert neuron.mem.numel() == 0


def test_explicit_state_is_refused_where_the_module_keeps_it() -> None:
    with pytest.raises(TypeError, match="init_hidden"):
        ContinuousIF(init_hidden=True)(torch.ones(1, 2), torch.ones(1, 2))
    with pytest.raises(ArgumentError, match="state tensors"):
        ContinuousIF()(torch.ones(1, 2), torch.ones(1, 2), torch.ones(1, 2))
