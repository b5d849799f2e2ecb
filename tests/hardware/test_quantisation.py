"""Quantisation: rounding, units, saturation, and thresholds that decide as before."""

from __future__ import annotations

import copy

import pytest
import snntorch as snn
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from snnplug import ContinuousIF, DiscontinuousIF, HardFire, SpikingSequential
from snnplug.errors import ArgumentError
from snnplug.hardware.chain import stages_of
from snnplug.hardware.integer_network import to_integers
from snnplug.hardware.quantisation import quantise
from snnplug.networks.dense import DenseSNN


def one_layer(weights: list[float], neuron: nn.Module | None = None) -> SpikingSequential:
    network = SpikingSequential(nn.Linear(len(weights), 1), neuron or ContinuousIF())
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([weights]))
        network[0].bias.fill_(0.1)
    return network


@given(
    st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=6),
    st.integers(4, 16),  # with fewer, the unit of the largest weights exceeds the threshold
    st.sampled_from([16, 24, 32]),
)
def test_error_is_at_most_half_a_unit_and_the_unit_is_the_finest(
    weights: list[float], weight_bits: int, membrane_bits: int
) -> None:
    network = one_layer(weights)
    q = quantise(network, weight_bits, membrane_bits)
    unit = 2.0 ** -q.fraction_bits["0"]
    before, after = network[0].weight.detach().double(), q.network[0].weight.detach().double()
    assert float((before - after).abs().max()) <= unit / 2
    units = after / unit
    assert torch.equal(units, units.round())
    top = 2 ** (weight_bits - 1) - 1
    assert float(units.abs().max()) <= top
    finer = [
        float((2 * before / unit).abs().max()) > top,
        1.0 * 2 / unit > 2 ** (membrane_bits - 2),
    ]
    assert any(finer) or q.fraction_bits["0"] == 32


def test_weights_and_biases_saturate_with_a_unit_that_is_given() -> None:
    network = one_layer([0.5, -3.0, 0.26])
    nn.init.constant_(network[0].bias, 1e6)
    (layer,) = to_integers(quantise(network, 4, 8, fraction_bits=2)).layers
    assert layer.weights.tolist() == [[2, -7, 1]]
    assert layer.bias.tolist() == [127]
    assert layer.threshold.tolist() == [4]


@given(st.integers(-40, 40), st.floats(-2, 2, width=32), st.booleans())
def test_a_threshold_that_is_not_subtracted_decides_as_before(
    units: int, threshold: float, inclusive: bool
) -> None:
    neuron = DiscontinuousIF(threshold, spike_grad=HardFire(inclusive=inclusive))
    network = one_layer([0.4], copy.deepcopy(neuron))
    snapped = quantise(network, fraction_bits=4).network[1]
    membrane = torch.full((1, 1), units / 16)
    assert torch.equal(neuron(membrane)[0], snapped(membrane)[0])


def test_network_given_stays_as_it_is() -> None:
    network = DenseSNN((9,), 3, hidden=(5,))
    before = copy.deepcopy(network.state_dict())
    quantised = quantise(network)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert quantised.network is not network
    assert set(quantised.fraction_bits) == {"layers.2", "layers.5"}


def test_zero_weights_have_a_unit_too() -> None:
    network = one_layer([0.0])
    nn.init.zeros_(network[0].bias)
    (layer,) = to_integers(quantise(network)).layers
    assert layer.weights.tolist() == [[0]]
    assert layer.threshold.tolist() == [2**14]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight_bits": 1}, "weights take 2 … 16"),
        ({"weight_bits": 17}, "weights take 2 … 16"),
        ({"membrane_bits": 7}, "at least as many"),
        ({"membrane_bits": 33}, "at most 32"),
        ({"fraction_bits": 40}, "-32 … 32"),
        ({"fraction_bits": -3}, "less than half a unit"),
    ],
)
def test_refuses_bits_it_cannot_work_with(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        quantise(one_layer([0.5]), **arguments)


def test_refuses_parameters_that_are_not_finite() -> None:
    with pytest.raises(ArgumentError, match="a weight is not finite"):
        quantise(one_layer([float("nan")]))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([nn.Linear(4, 4)], "does not end in spiking neurons"),
        ([nn.Linear(4, 4), nn.Linear(4, 4), ContinuousIF()], "without neurons between"),
        ([ContinuousIF()], "before the first layer of weights"),
        ([nn.Linear(4, 4), ContinuousIF(), ContinuousIF()], "behind other neurons"),
        ([nn.Linear(4, 4), nn.BatchNorm1d(4), ContinuousIF()], "Fold a normalisation"),
        ([nn.Linear(4, 4), nn.AvgPool2d(2), ContinuousIF()], "no place on this datapath"),
        ([nn.Linear(4, 4), ContinuousIF(beta=0.875)], "leaks with beta = 0.875"),
        ([nn.Linear(4, 4), snn.Leaky(beta=0.9)], "leaks with beta = 0.9"),
        ([nn.Linear(4, 4), snn.Leaky(beta=1.0, reset_mechanism="zero")], "no place"),
        ([nn.Linear(4, 4), snn.Leaky(beta=1.0, reset_delay=False)], "no place"),
        ([nn.Linear(4, 4), snn.Leaky(beta=1.0, graded_spikes_factor=2.0)], "no place"),
        ([nn.Linear(4, 4), snn.Synaptic(alpha=0.5, beta=1.0)], "no place"),
        ([nn.Linear(4, 4), snn.RLeaky(beta=1.0, all_to_all=False)], "no place"),
        ([nn.Flatten(2), nn.Linear(4, 4), ContinuousIF()], "flattens part of the axes"),
        ([nn.Linear(4, 4), ContinuousIF(spike_grad=torch.sigmoid)], "no step"),
    ],
)
def test_refuses_what_is_no_chain_of_this_datapath(layers: list[nn.Module], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        stages_of(nn.Sequential(*layers))


def test_refuses_neurons_that_inhibit_each_other() -> None:
    with pytest.warns(UserWarning, match="Inhibition"):
        neuron = snn.Leaky(beta=1.0, inhibition=True)
    with pytest.raises(ArgumentError, match="no place"):
        stages_of(nn.Sequential(nn.Linear(4, 4), neuron))


def test_refuses_a_module_that_is_no_chain() -> None:
    with pytest.raises(ArgumentError, match="is no chain of layers"):
        stages_of(nn.Linear(3, 3))


@pytest.mark.parametrize(
    ("layers", "in_shape", "message"),
    [
        ([nn.Linear(4, 4), ContinuousIF()], (5,), "takes 4 inputs and gets 5"),
        ([nn.Conv2d(1, 2, 3), ContinuousIF()], None, "give in_shape"),
        ([nn.Conv2d(1, 2, 3), ContinuousIF()], (2, 9, 9), r"takes \(1, height, width\)"),
        ([nn.Conv2d(1, 2, 3), ContinuousIF()], (1, 2, 9), "larger than its input"),
        (
            [nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect"), ContinuousIF()],
            (1, 9, 9),
            "pads with 'reflect'",
        ),
        (
            [nn.Conv2d(1, 2, 3), nn.MaxPool2d(2, padding=1), ContinuousIF()],
            (1, 9, 9),
            "padded, dilated or rounds up",
        ),
        ([nn.Linear(4, 4), nn.MaxPool2d(2), ContinuousIF()], (4,), "takes feature maps"),
        ([nn.Linear(4, 4), ContinuousIF(torch.ones(3))], (4,), r"thresholds of shape \(3,\)"),
    ],
)
def test_refuses_shapes_that_do_not_go_together(
    layers: list[nn.Module], in_shape: tuple[int, ...] | None, message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        to_integers(quantise(SpikingSequential(*layers)), in_shape)
