"""What every neuron promises: state, copies, reset, dtypes."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from pathlib import Path

import pytest
import snntorch as snn
import torch
from torch import nn

from snnplug.errors import ArgumentError
from snnplug.neurons.base import SequenceNeuron, reset
from snnplug.neurons.continuous_if import ContinuousIF
from snnplug.neurons.discontinuous_if import DiscontinuousIF

NEURONS = [ContinuousIF, DiscontinuousIF]


@pytest.mark.parametrize("kind", NEURONS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_keeps_the_dtype_of_its_input(kind: type[SequenceNeuron], dtype: torch.dtype) -> None:
    cur = torch.tensor([0.2, 1.7], dtype=dtype).expand(3, 4, 2)
    spk, state = kind().run(cur)
    assert spk.dtype == dtype
    assert all(s.dtype == dtype for s in state)
    assert set(spk.flatten().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("kind", NEURONS)
def test_hidden_state_can_be_copied_pickled_and_saved_mid_sequence(
    kind: type[SequenceNeuron], tmp_path: Path
) -> None:
    net = nn.Sequential(nn.Linear(4, 3), kind(init_hidden=True))
    for _ in range(3):
        net(torch.ones(2, 4)).sum()
    copied = copy.deepcopy(net)
    unpickled = pickle.loads(pickle.dumps(net))
    torch.save(net.state_dict(), tmp_path / "net.pt")
    assert "1.mem" not in torch.load(tmp_path / "net.pt", weights_only=True)
    for other in (copied, unpickled):
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


@pytest.mark.parametrize("kind", NEURONS)
def test_an_ordinary_loop_starts_from_reset_mem(kind: type[SequenceNeuron]) -> None:
    neuron = kind()
    mem = neuron.reset_mem()
    cur = torch.full((4, 2, 3), 0.6)
    spikes = []
    for now in cur:
        spk, mem = neuron(now, mem)
        spikes.append(spk)
    assert torch.equal(torch.stack(spikes), neuron.run(cur)[0])


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


@pytest.mark.parametrize("shape", [(), (3,), (0, 2, 3)])
def test_run_refuses_what_is_no_sequence(shape: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match="no time step"):
        ContinuousIF().run(torch.zeros(shape))


def test_explicit_state_is_refused_where_the_module_keeps_it() -> None:
    with pytest.raises(TypeError, match="init_hidden"):
        ContinuousIF(init_hidden=True)(torch.ones(1, 2), torch.ones(1, 2))
    with pytest.raises(ArgumentError, match="state tensors"):
        ContinuousIF()(torch.ones(1, 2), torch.ones(1, 2), torch.ones(1, 2))


@pytest.mark.parametrize("kind", NEURONS)
def test_compiles_whole_and_exports(kind: type[SequenceNeuron]) -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)
            self.neuron = kind()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.neuron.run(self.fc(x))[0]

    layer, x = Layer(), torch.randn(5, 2, 4)
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
