"""Counts of every neuron, with its recurrent weights, against what its loop records."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import Tensor, nn

import snnplug as sp
from snnplug.hardware.activity import Activity, NeuronLayer, SynapticLayer
from snnplug.hardware.counting import measure
from snnplug.hardware.dynamics import dynamics_of
from snnplug.layers.sequential import SpikingSequential
from tests.support.brute_force import events_times, impulse_fan_out

STEPS, BATCH, N = 7, 3, 6


def currents(*shape: int, scale: float = 1.5) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(1))


class Loop(nn.Module):
    """Steps one neuron with explicit state and keeps what it gives."""

    def __init__(self, neuron: Any) -> None:
        super().__init__()
        self.neuron = neuron

    def forward(self, x: Tensor) -> Tensor:
        state = self.neuron.reset_mem()
        if isinstance(self.neuron, snn.DeltaLeaky):
            state = ((None, None),)
        state = state if isinstance(state, tuple) else (state,)
        self.spikes, self.states = [], []
        for now in x:
            out = self.neuron(now, *state)
            state = out if len(out) == len(state) else out[1:]
            self.spikes.append(out[0])
            self.states.append(state)
        return torch.stack(self.spikes)


def count(network: nn.Module, x: Tensor, **how: int) -> Activity:
    with measure(network, **how) as meter, torch.no_grad():
        network(x)
    return meter.activity()


# Class, arguments, and by hand: states, leaks, further multiplications and additions, lookups.
NEURONS: list[tuple[Any, dict[str, Any], tuple[Any, ...]]] = [
    (snn.Leaky, {"beta": 0.5}, (1, ("shift",), 0, 0, 0)),
    (snn.Leaky, {"beta": 0.9, "reset_mechanism": "zero"}, (1, ("multiply",), 0, 0, 0)),
    (snn.Synaptic, {"alpha": 0.75, "beta": 0.9}, (2, ("multiply", "shift"), 0, 1, 0)),
    (snn.Alpha, {"alpha": 0.9, "beta": 0.5}, (3, ("none", "multiply", "shift"), 1, 2, 0)),
    # Decays by 1 - 1/(R C) and scales its input by 1/C: R = 8, C = 1.
    (snn.Lapicque, {"R": 8, "C": 1}, (1, ("shift",), 0, 0, 0)),
    (snn.Lapicque, {"beta": 0.9, "threshold": 0.001}, (1, ("multiply",), 1, 0, 0)),
    (snn.DeltaLeaky, {"beta": 0.9}, (2, ("multiply", "none"), 0, 1, 0)),
    (snn.RLeaky, {"beta": 0.5, "linear_features": N}, (1, ("shift",), 0, 0, 0)),
    (
        snn.RSynaptic,
        {"alpha": 0.5, "beta": 1.0, "linear_features": N},
        (2, ("none", "shift"), 0, 1, 0),
    ),
    (
        snn.SLSTM,
        {"input_size": N, "hidden_size": N, "threshold": 0.05},
        (2, ("none", "none"), 3, 1, 5),
    ),
    (sp.Leaky, {"beta": 0.9}, (1, ("multiply",), 0, 0, 0)),
    (sp.Synaptic, {"alpha": 0.5, "beta": 0.9}, (2, ("multiply", "shift"), 0, 1, 0)),
    (sp.RLeaky, {"beta": 0.9, "linear_features": N}, (1, ("multiply",), 0, 0, 0)),
    (
        sp.RSynaptic,
        {"alpha": 0.5, "beta": 0.9, "linear_features": N},
        (2, ("multiply", "shift"), 0, 1, 0),
    ),
    (sp.ContinuousIF, {}, (1, ("none",), 0, 0, 0)),
    (sp.LearnableLIF, {"beta": 0.5}, (1, ("shift",), 0, 0, 0)),
]


@pytest.mark.parametrize(("kind", "arguments", "work"), NEURONS)
def test_spikes_and_work_of_each_neuron(
    kind: Any, arguments: dict[str, Any], work: tuple[Any, ...]
) -> None:
    torch.manual_seed(0)
    loop = Loop(kind(**arguments))
    activity = count(loop, currents(STEPS, BATCH, N))
    (found,) = activity.neuronal
    spikes = int((torch.stack(loop.spikes) != 0).sum())
    assert found.spikes == spikes > 0
    assert (found.neurons, found.presentations) == (N, STEPS * BATCH)
    leaks = (found.leak, *found.other_leaks)
    assert (found.states, leaks, found.multiplies, found.adds, found.lookups) == work
    assert activity.unpriced == ()


@pytest.mark.parametrize("library", [snn, sp])
@pytest.mark.parametrize("kind", ["RLeaky", "RSynaptic"])
@pytest.mark.parametrize("wiring", ["dense", "conv", "one", "each"])
@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_recurrent_weights_meet_the_spikes_of_the_step_before(
    library: Any, kind: str, wiring: str, reset: str
) -> None:
    torch.manual_seed(0)
    shape = (2, 4, 5) if wiring == "conv" else (N,)
    arguments: dict[str, Any] = {"beta": 0.9, "reset_mechanism": reset}
    if kind == "RSynaptic":
        arguments["alpha"] = 0.8
    arguments |= {
        "dense": {"linear_features": N},
        "conv": {"conv2d_channels": 2, "kernel_size": 3},
        "one": {"all_to_all": False, "V": 0.5},
        "each": {"all_to_all": False, "V": torch.rand(N)},
    }[wiring]
    x = currents(STEPS, BATCH, *shape)
    loop = Loop(getattr(library, kind)(**arguments))
    (found,) = count(loop, x).synaptic
    heard = torch.stack([torch.zeros_like(x[0]), *loop.spikes[:-1]])
    if wiring in ("dense", "conv"):
        fan_out = impulse_fan_out(loop.neuron.recurrent, shape)
    else:
        fan_out = torch.ones(shape, dtype=torch.int64)
    assert found.presentations == STEPS * BATCH
    assert found.events == int(heard.sum()) > 0
    assert found.synops == events_times(fan_out, heard)
    assert found.fan_out == int(fan_out.sum())
    assert found.operand.kind == "binary"
    assert found.weights == {"dense": N * N, "conv": 36, "one": 1, "each": N}[wiring]
    if library is sp:  # a whole sequence counts what its steps do
        chain = SpikingSequential(loop.neuron)
        (whole,) = count(chain, x).synaptic
        names = ("presentations", "events", "synops", "fan_out", "weights", "kind", "operand")
        assert all(getattr(whole, name) == getattr(found, name) for name in names)


def test_one_to_one_weights_hear_hidden_and_given_spikes() -> None:
    x = currents(STEPS, BATCH, N)
    hidden = sp.RLeaky(beta=0.9, all_to_all=False, init_hidden=True)
    explicit = sp.RLeaky(beta=0.9, all_to_all=False)

    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neuron = hidden

        def forward(self, x: Tensor) -> Tensor:
            sp.reset(self)
            return torch.stack([self.neuron(now) for now in x])

    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neuron = explicit

        def forward(self, x: Tensor) -> Tensor:
            first, state = self.neuron.run(x[:3])
            second, _ = self.neuron.run(x[3:], state)
            return torch.cat((first, second))

    expected = count(Loop(sp.RLeaky(beta=0.9, all_to_all=False)), x)
    assert count(Hidden(), x).layers == expected.layers
    assert count(Halves(), x).layers == expected.layers


@pytest.mark.parametrize("reset", ["none", "subtract", "zero"])
def test_an_lstm_cell_is_two_layers_over_four_gates(reset: str) -> None:
    torch.manual_seed(0)
    x = (torch.rand(STEPS, BATCH, N) < 0.4).float()
    loop = Loop(snn.SLSTM(N, N, threshold=0.05, reset_mechanism=reset))
    read, hidden = count(loop, x).synaptic
    before = torch.stack([torch.zeros(BATCH, N), *(mem for _, mem in loop.states[:-1])])
    assert (read.operand.kind, hidden.operand.kind) == ("binary", "analog")
    for layer, seen in ((read, x), (hidden, before)):
        assert layer.presentations == STEPS * BATCH
        assert layer.events == int((seen != 0).sum())
        assert layer.synops == 4 * N * layer.events
        assert (layer.weights, layer.fan_out) == (4 * N * N, 4 * N * N)
    assert (read.biases, hidden.biases) == (4 * N, 0)


@pytest.mark.parametrize("pool", [{}, {"max_pool": 2}, {"avg_pool": 2}])
@pytest.mark.parametrize("reset", ["none", "zero"])
def test_a_convolutional_lstm_is_two_convolutions(pool: dict[str, int], reset: str) -> None:
    torch.manual_seed(0)
    x = (torch.rand(STEPS, BATCH, 2, 6, 6) < 0.4).float()
    neuron = snn.SConv2dLSTM(2, 3, 3, threshold=0.02, reset_mechanism=reset, **pool)
    loop = Loop(neuron)
    activity = count(loop, x)
    read, hidden = activity.synaptic
    fan_out = impulse_fan_out(neuron.conv, (5, 6, 6))
    before = torch.stack([torch.zeros(BATCH, 3, 6, 6), *(mem for _, mem in loop.states[:-1])])
    assert read.synops == events_times(fan_out[:2], x)
    assert hidden.synops == events_times(fan_out[2:], before)
    assert (read.operand.kind, hidden.operand.kind) == ("binary", "analog")
    assert read.weights + hidden.weights == neuron.conv.weight.numel()
    (found,) = activity.neuronal
    assert (found.neurons, found.spikes) == (108, int(torch.stack(loop.spikes).sum()))
    assert (found.compares, found.adds) == (1 + ("max_pool" in pool), 1 + ("avg_pool" in pool))


class Sequence(nn.Module):
    """A neuron that takes a whole sequence and may give out two tensors."""

    def __init__(self, neuron: nn.Module) -> None:
        super().__init__()
        self.neuron = neuron

    def forward(self, x: Tensor) -> Any:
        out = self.neuron(x)
        self.out = out[0] if isinstance(out, tuple) else out
        return out


def test_neurons_over_sequences() -> None:
    torch.manual_seed(0)
    x = (torch.rand(STEPS, BATCH, N) < 0.5).float()
    for neuron in (
        snn.StateLeaky(beta=0.9, channels=N),
        snn.LinearLeaky(beta=0.9, in_features=N, out_features=4, threshold=0.2),
        snn.LeakyParallel(N, 4, beta=0.9, threshold=0.2),
    ):
        network = Sequence(neuron)
        activity = count(network, x)
        (found,) = activity.neuronal
        assert found.spikes == int((network.out != 0).sum()) > 0
        assert (found.neurons, found.presentations) == (network.out.shape[-1], STEPS * BATCH)
        assert (found.leak, found.resets) == ("multiply", False)
        assert all(layer.synops == 4 * int(x.sum()) for layer in activity.synaptic)
        assert activity.unpriced == ()
    readout = count(Sequence(snn.StateLeaky(beta=0.9, channels=N, output=False)), x).neuronal[0]
    assert (readout.compares, readout.spikes) == (0, 0)


def test_full_recurrence_on_membranes_and_fast_weights_have_no_count() -> None:
    x = (torch.rand(STEPS, BATCH, N) < 0.5).float()
    full = snn.LeakyParallel(N, 4, weight_hh_enable=True)
    activity = count(Sequence(full), x)
    assert activity.unpriced == ("neuron (LeakyParallel)",)
    assert activity.synaptic[0].synops == 4 * int(x.sum())
    fast = count(Sequence(snn.AssociativeLeaky(N, 2, 2, 4, True)), x)
    assert fast.unpriced == ("neuron (AssociativeLeaky)",)
    assert [layer.name for layer in fast.synaptic] == [
        f"neuron.{name}" for name in ("to_v", "to_k", "to_alpha", "to_q")
    ]


@pytest.mark.filterwarnings("ignore:Inhibition is an unstable feature")
def test_inhibition_compares_twice_and_graded_spikes_are_counted_as_events() -> None:
    x = currents(STEPS, BATCH, N)
    (alone,) = count(Loop(snn.Leaky(beta=0.9, inhibition=True)), x).neuronal
    assert alone.compares == 2

    class Graded(nn.Module):
        def __init__(self, factor: Any) -> None:
            super().__init__()
            self.neuron = snn.Leaky(beta=0.9, graded_spikes_factor=factor)
            self.fc = nn.Linear(N, 2)

        def forward(self, x: Tensor) -> Tensor:
            mem = self.neuron.reset_mem()
            out = []
            for now in x:
                spk, mem = self.neuron(now, mem)
                out.append(self.fc(spk))
            return torch.stack(out)

    activity = count(Graded(0.7), x)
    assert activity.neuronal[0].spikes == activity.synaptic[0].events > 0
    # One factor for all is folded into the weights; one for each is no grid.
    assert activity.synaptic[0].operand.kind == "binary"
    assert count(Graded(torch.rand(N)), x).synaptic[0].operand.kind == "analog"


def test_the_records_are_of_the_documented_types() -> None:
    activity = count(Loop(snn.RLeaky(beta=0.9, linear_features=N)), currents(2, 2, N))
    assert [type(layer) for layer in activity.layers] == [SynapticLayer, NeuronLayer]
    assert np.isfinite(activity.spikes_per_synapse)


def test_a_membrane_that_decays_to_nothing_is_not_kept() -> None:
    for neuron, kept in (
        (snn.Leaky(beta=0.0, reset_mechanism="none"), False),
        (snn.Leaky(beta=0.0), True),  # the reset waits for the next step
        (snn.Leaky(beta=0.5, reset_mechanism="none"), True),
        (sp.ContinuousIF(beta=0.0, reset_mechanism="none"), False),
        (sp.DiscontinuousIF(), False),
    ):
        dynamics = dynamics_of(neuron)
        assert dynamics is not None
        assert (dynamics.states > 0) is kept
