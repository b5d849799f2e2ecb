"""Counts of the layers of the spike-train rules, against loops over every spike and synapse."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import snnplug as sp
from snnplug.hardware.activity import Activity
from snnplug.hardware.records import NeuronLayer, PoolLayer, SynapticLayer
from snnplug.hardware.spike_trains import spike_train_dynamics
from snnplug.kernels.spike_train import SpikeTrainDynamics
from snnplug.layers.sequential import SpikingSequential
from snnplug.learning.spike_train_conv2d import SpikeTrainConv2d, SpikeTrainPool2d
from snnplug.learning.spike_train_linear import SpikeTrainLinear
from snnplug.learning.spike_train_recurrent import SpikeTrainRecurrent
from tests.learning import stepwise
from tests.support.brute_force import conv_synops

STEPS, BATCH = 25, 3


def trains(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(STEPS, BATCH, *shape, generator=generator) < 0.3).float()


def count(network: nn.Module, x: Tensor) -> Activity:
    with sp.measure(network) as meter, torch.no_grad():
        network(x)
    return meter.activity()


def synaptic(activity: Activity, name: str) -> SynapticLayer:
    (layer,) = [x for x in activity.layers if x.name == name]
    assert isinstance(layer, SynapticLayer)
    return layer


def neurons(activity: Activity, name: str) -> NeuronLayer:
    (layer,) = [x for x in activity.layers if x.name == name]
    assert isinstance(layer, NeuronLayer)
    return layer


def test_every_spike_that_is_heard_is_counted_once_per_synapse() -> None:
    torch.manual_seed(0)
    hidden = SpikeTrainRecurrent(6, 5, threshold=0.4)
    out = SpikeTrainLinear(5, 4, threshold=0.3, inhibition=0.5)
    net = SpikingSequential(hidden, out)
    x = trains(6)
    activity = count(net, x)
    assert activity.samples == BATCH
    assert not activity.unpriced
    # The network once more, spike by spike, in the words of the equations.
    fed = own = onward = between = spikes = out_spikes = zero = 0
    with torch.no_grad():
        recurrent = hidden.recurrent_weight * hidden.recurrent_mask
        for b in range(BATCH):
            first = stepwise.run(x[:, b], hidden.weight, hidden.dynamics, recurrent).spk
            second = stepwise.run(first, out.weight, out.dynamics).spk
            spikes += int(first.sum())
            out_spikes += int(second.sum())
            for t in range(1, STEPS):
                fed += sum(5 for value in x[t - 1, b] if value)
                onward += sum(4 for value in first[t - 1] if value)
                for i in range(5):
                    for j in range(5):
                        own += int(first[t - 1, j])
                        zero += int(first[t - 1, j]) * (i == j)
                between += sum(4 for value in second[t - 1] if value)
    assert spikes > 20
    assert out_spikes > 5
    assert synaptic(activity, "0").synops == fed
    assert synaptic(activity, "0.recurrent").synops == own
    assert synaptic(activity, "0.recurrent").zero_weight_synops == zero
    assert synaptic(activity, "1").synops == onward
    assert synaptic(activity, "1.inhibition").synops == between
    assert neurons(activity, "0.neurons").spikes == spikes
    assert neurons(activity, "1.neurons").spikes == out_spikes
    for layer in activity.layers:
        assert isinstance(layer, SynapticLayer | NeuronLayer)
        assert layer.presentations == STEPS * BATCH


def test_convolution_and_pooling_are_counted_tap_by_tap() -> None:
    torch.manual_seed(0)
    conv = SpikeTrainConv2d(2, 3, kernel_size=3, threshold=0.3, padding=1, stride=2)
    net = SpikingSequential(conv, SpikeTrainPool2d(2), SpikeTrainLinear(12, 4, threshold=0.2))
    x = trains(2, 8, 9)
    activity = count(net, x)
    twin = nn.Conv2d(2, 3, 3, 2, 1, bias=False)
    synops, _ = conv_synops(twin, x[:-1].flatten(0, 1))
    layer = synaptic(activity, "0")
    assert layer.synops == synops
    assert layer.kind == "Conv2d"
    assert layer.window is not None
    with torch.no_grad():
        spk = conv(x)
        pooled = net[1](spk)
    (pool,) = [x for x in activity.layers if isinstance(x, PoolLayer)]
    inside = spk[..., :4, :4]  # the fifth column is in no window
    assert inside.any()
    assert pool.adds == int(inside.sum())
    assert synaptic(activity, "2").synops == 4 * int((pooled[:-1] != 0).sum())


@pytest.mark.parametrize(
    ("dynamics", "expected"),
    [
        # 1 - 1/64 and 1 - 1/8 are shifts, and so is dividing by 8.
        (SpikeTrainDynamics(1.0), (3, ("shift", "shift", "none"), 0, 2, 2)),
        (SpikeTrainDynamics(1.0, refractory_steps=0), (2, ("shift", "shift"), 0, 1, 1)),
        (SpikeTrainDynamics(1.0, 20.0, 5.0), (3, ("multiply", "multiply", "none"), 1, 2, 2)),
    ],
)
def test_state_of_a_neuron(dynamics: SpikeTrainDynamics, expected: tuple[object, ...]) -> None:
    d = spike_train_dynamics(dynamics)
    assert (d.states, d.leaks, d.multiplies, d.adds, d.compares) == expected


def test_synapse_and_refractory_state_cost_energy() -> None:
    """Of two layers that do the same, the one with more state is dearer; a membrane is cheapest."""
    torch.manual_seed(0)
    x = trains(6)
    energies = []
    for refractory in (0, 2):
        layer = SpikeTrainLinear(6, 40, threshold=1e6, refractory_steps=refractory)
        report = sp.load_target("yin2017-28nm").price(count(SpikingSequential(layer), x))
        energies.append(report.parts_nj["membrane"])
    plain = SpikingSequential(nn.Linear(6, 40, bias=False), sp.Leaky(beta=1 - 1 / 64))
    report = sp.load_target("yin2017-28nm").price(count(plain, x))
    assert report.parts_nj["membrane"] < energies[0] < energies[1]
    assert energies[1] / energies[0] == pytest.approx(3 / 2, rel=0.05)
