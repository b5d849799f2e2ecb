"""Counts against brute force, against NeuroBench, and their laws."""

from __future__ import annotations

import pytest
import snntorch as snn
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from snnplug.errors import ArgumentError, MeasurementError
from snnplug.hardware.activity import Activity, NeuronLayer, PoolLayer, SynapticLayer
from snnplug.hardware.counting import measure
from snnplug.hardware.dynamics import leak_of
from snnplug.layers.sequential import SpikingSequential
from snnplug.networks.conv import ConvSNN
from snnplug.neurons.continuous_if import ContinuousIF
from snnplug.neurons.discontinuous_if import DiscontinuousIF
from tests.support.brute_force import conv_synops, linear_synops


def count(network: nn.Module, x: Tensor, batch_dim: int = 1) -> Activity:
    with measure(network, batch_dim) as meter, torch.no_grad():
        network(x)
    return meter.activity()


def spikes(*shape: int, density: float = 0.3, seed: int = 0) -> Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < density).float()


@settings(max_examples=100, deadline=None)
@given(
    inputs=st.integers(1, 9),
    outputs=st.integers(1, 70),
    steps=st.integers(1, 3),
    batch=st.integers(1, 3),
    density=st.floats(0, 1),
    seed=st.integers(0, 2**31),
)
def test_linear_equals_brute_force(
    inputs: int, outputs: int, steps: int, batch: int, density: float, seed: int
) -> None:
    layer = nn.Linear(inputs, outputs)
    x = spikes(steps, batch, inputs, density=density, seed=seed)
    (counted,) = count(SpikingSequential(layer), x).synaptic
    assert (counted.synops, counted.dense_synops) == linear_synops(layer, x)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(data=st.data())
def test_conv_equals_brute_force(data: st.DataObject) -> None:
    def draw(strategy: st.SearchStrategy[int]) -> int:
        return data.draw(strategy)

    groups = draw(st.integers(1, 2))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    mode = data.draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
    stride = data.draw(pair)
    padding = data.draw(
        st.sampled_from([(0, 0), (1, 0), (1, 2), (2, 2), *(["same"] if stride == (1, 1) else [])])
    )
    layer = nn.Conv2d(
        groups * draw(st.integers(1, 2)),
        groups * draw(st.integers(1, 2)),
        data.draw(pair),
        stride=stride,
        padding=padding,
        dilation=data.draw(pair),
        groups=groups,
        bias=data.draw(st.booleans()),
        padding_mode=mode,
    )
    height, width = draw(st.integers(3, 6)), draw(st.integers(3, 6))
    x = spikes(2, 1, layer.in_channels, height, width, density=data.draw(st.floats(0, 1)))
    net = SpikingSequential(layer)
    try:
        with torch.no_grad():
            net(x)
    except RuntimeError:  # torch refuses the combination: kernel larger than input, or such
        assume(False)
    (counted,) = count(net, x).synaptic
    assert (counted.synops, counted.dense_synops) == conv_synops(layer, x.flatten(0, 1))


class SnnTorchLoop(nn.Module):
    """The loop of snnTorch's tutorials, over a static or a time-first input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1)
        self.lif1 = snn.Leaky(beta=0.9)
        self.conv2 = nn.Conv2d(4, 6, 3, padding=1, stride=2)
        self.lif2 = snn.Leaky(beta=0.9)
        self.fc = nn.Linear(6 * 5 * 5, 10)
        self.lif3 = snn.Leaky(beta=0.9)

    def forward(self, x: Tensor) -> Tensor:
        mem1, mem2, mem3 = (lif.reset_mem() for lif in (self.lif1, self.lif2, self.lif3))
        out = []
        for now in x:
            spk1, mem1 = self.lif1(self.conv1(now), mem1)
            spk2, mem2 = self.lif2(self.conv2(spk1), mem2)
            spk3, mem3 = self.lif3(self.fc(spk2.flatten(1)), mem3)
            out.append(spk3)
        return torch.stack(out)


def test_snntorchs_loop_and_the_time_batched_chain_count_the_same() -> None:
    torch.manual_seed(0)
    loop = SnnTorchLoop()
    x = spikes(8, 3, 2, 10, 10)
    chain = SpikingSequential(
        loop.conv1, loop.lif1, loop.conv2, loop.lif2, nn.Flatten(), loop.fc, loop.lif3
    )

    def counters(activity: Activity) -> list[tuple[int, ...]]:
        synaptic = [(s.events, s.synops, s.presentations, s.fan_out) for s in activity.synaptic]
        return synaptic + [(n.spikes, n.neurons, n.presentations) for n in activity.neuronal]

    assert counters(count(loop, x)) == counters(count(chain, x))
    assert count(loop, x).samples == 3


def test_spikes_and_events_agree_with_the_tensors() -> None:
    torch.manual_seed(0)
    net = ConvSNN((2, 12, 12), 5, channels=(3,), kernel_size=3)
    x = spikes(6, 4, 2, 12, 12)
    activity = count(net, x)
    with torch.no_grad():
        hidden = net.layers[:4](x)
        out, _ = net(x)
    kinds = [type(layer) for layer in activity.layers]
    assert kinds == [SynapticLayer, PoolLayer, NeuronLayer, SynapticLayer, NeuronLayer]
    assert [n.spikes for n in activity.neuronal] == [int(hidden.sum()), int(out.sum())]
    assert [s.events for s in activity.synaptic] == [int(x.sum()), int(hidden.sum())]
    pool = activity.layers[1]
    assert isinstance(pool, PoolLayer)
    assert pool.compares == 6 * 4 * 3 * 10 * 10
    assert activity.unpriced == ()


def test_pooling_of_spikes_compares_nothing() -> None:
    net = SpikingSequential(nn.Conv2d(1, 2, 3), ContinuousIF(), nn.MaxPool2d(2))
    pool = count(net, spikes(3, 2, 1, 8, 8)).layers[2]
    assert isinstance(pool, PoolLayer)
    assert pool.compares == 0


def test_batch_size_and_batch_split_do_not_matter() -> None:
    torch.manual_seed(0)
    net = ConvSNN((1, 10, 10), 4, channels=(3,), kernel_size=3)
    x = spikes(5, 12, 1, 10, 10)
    whole = count(net, x)
    with measure(net) as meter, torch.no_grad():
        for part in x.split(5, dim=1):
            net(part)
    assert meter.activity() == whole
    first, second = (count(net, part) for part in (x[:, :5], x[:, 5:]))
    assert first + second == whole


def test_analog_input_is_named_and_counted_where_it_is_not_zero() -> None:
    net = SpikingSequential(nn.Linear(4, 3), ContinuousIF(), nn.Linear(3, 2))
    x = torch.tensor([0.0, 0.5, 1.0, -1.2345]).expand(5, 1, 4)
    first, second = count(net, x).synaptic
    assert (first.operand.kind, first.events) == ("analog", 15)
    assert second.operand.kind == "binary"


def test_same_counts_under_inference_mode_and_autograd() -> None:
    torch.manual_seed(0)
    net = ConvSNN((1, 10, 10), 4, channels=(3,), kernel_size=3)
    x = spikes(5, 3, 1, 10, 10)
    expected = count(net, x)
    with measure(net) as meter, torch.inference_mode():
        net(x)
    assert meter.activity() == expected
    with measure(net) as meter:
        net(x)[1].sum().backward()
    assert meter.activity() == expected


def test_spikes_changed_in_place_are_counted_as_the_next_layer_sees_them() -> None:
    class Silenced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.neuron, self.second = nn.Linear(4, 3), ContinuousIF(), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            spk, _ = self.neuron.run(self.first(x) + 2.0)
            spk.zero_()
            return self.second(spk)

    assert count(Silenced(), spikes(5, 2, 4)).synaptic[1].events == 0


def test_leaves_the_network_as_it_was_also_when_it_raises() -> None:
    torch.manual_seed(0)
    net = ConvSNN((1, 10, 10), 4, channels=(3,), kernel_size=3).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    count(net, spikes(5, 2, 1, 10, 10, seed=1))
    with pytest.raises(RuntimeError), measure(net):  # both lines belong together
        net(spikes(5, 2, 3, 10, 10))
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in net.modules())
    assert net.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_modules_that_cannot_be_priced_are_named() -> None:
    class Own(snn.Leaky):  # type: ignore[misc]  # may compute anything
        pass

    net = SpikingSequential(
        nn.Conv2d(1, 2, 3),
        nn.GroupNorm(1, 2),
        ContinuousIF(),
        nn.Flatten(),
        nn.Linear(72, 4),
        Own(beta=0.9),
    ).eval()
    assert count(net, spikes(3, 2, 1, 8, 8)).unpriced == ("1 (GroupNorm)", "5 (Own)")


def test_a_shared_module_is_counted_each_time() -> None:
    shared = nn.Linear(4, 4)
    x = spikes(3, 2, 4)
    once = count(SpikingSequential(shared), x).synaptic[0]
    twice = count(SpikingSequential(shared, nn.Identity(), shared), x)
    assert len(twice.synaptic) == 1
    assert twice.synaptic[0].presentations == 2 * once.presentations


def test_a_module_used_at_two_sizes_has_a_record_for_each_and_one_set_of_weights() -> None:
    conv = nn.Conv2d(1, 1, 3)
    first, second = count(SpikingSequential(conv, conv), spikes(2, 1, 1, 9, 9)).synaptic
    assert (first.name, first.inputs, first.shares_weights) == ("0", 81, False)
    assert (second.name, second.inputs, second.shares_weights) == ("0[1x7x7]", 49, True)


def test_nothing_measured_is_an_error() -> None:
    with measure(nn.Linear(2, 2)) as meter:
        pass
    with pytest.raises(MeasurementError, match="0 samples"):
        meter.activity()
    with pytest.raises(MeasurementError, match="0 of its modules"):
        count(nn.Sequential(nn.Flatten()), torch.zeros(2, 3, 4))


def test_input_without_the_batch_axis_is_an_error() -> None:
    net = nn.Linear(2, 2)
    with pytest.raises(ArgumentError, match="batch_dim"), measure(net):
        net(torch.zeros(2))


@pytest.mark.parametrize(
    ("neuron", "leak"),
    [
        (ContinuousIF(), "none"),
        (DiscontinuousIF(), "none"),
        (ContinuousIF(beta=0.875), "shift"),
        (ContinuousIF(beta=0.9), "multiply"),
        (snn.Leaky(beta=0.5), "shift"),
        (snn.Leaky(beta=torch.tensor([0.5, 0.9])), "multiply"),
    ],
)
def test_leak_is_read_off_beta(neuron: nn.Module, leak: str) -> None:
    assert leak_of(neuron) == leak
