"""The network of the spike-train rules: its layers, its start, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from snnplug.errors import ArgumentError
from snnplug.learning.spike_train_conv2d import SpikeTrainConv2d, SpikeTrainPool2d
from snnplug.learning.spike_train_linear import SpikeTrainLinear
from snnplug.learning.spike_train_recurrent import SpikeTrainRecurrent
from snnplug.learning.weight_penalty import WeightPenalty
from snnplug.networks.spike_train import SpikeTrainSNN
from snnplug.training.losses import count_squared_error


@pytest.mark.parametrize(
    ("shape", "how"),
    [
        ((1, 12, 12), {"hidden": (20, 15), "thresholds": (1.0, 1.0, 1.0)}),
        ((30,), {"hidden": (20,), "recurrent": (0,), "thresholds": (1.0, 1.0), "rule": "st_rsbp"}),
        ((2, 12, 14), {"channels": (3,), "hidden": (9,), "thresholds": (1.0, 1.0, 1.0)}),
    ],
)
def test_every_weight_learns(shape: tuple[int, ...], how: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net = SpikeTrainSNN(shape, 5, revived_spikes=10, **how)
    spk = net((torch.rand(40, 6, *shape) < 0.3).float())
    assert spk.shape == (40, 6, 5)
    assert spk.any()
    count_squared_error(spk, torch.tensor([0, 1, 2, 3, 4, 0]), 10, 1, 1).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_builds_what_it_is_told() -> None:
    net = SpikeTrainSNN(
        (2, 16, 16),
        7,
        thresholds=(1.0, 2.0, 3.0, 4.0),
        channels=(3,),
        hidden=(9, 8),
        recurrent=(1,),
        init_ranges=(0.1, 0.2, 0.3, 0.4),
        weight_penalty=WeightPenalty(1.0),
    )
    kinds = [type(layer) for layer in net]
    assert kinds == [
        SpikeTrainConv2d,
        SpikeTrainPool2d,
        SpikeTrainLinear,
        SpikeTrainRecurrent,
        SpikeTrainLinear,
    ]
    own: list[Any] = [layer for layer in net if not isinstance(layer, SpikeTrainPool2d)]
    assert [layer.dynamics.threshold for layer in own] == [1, 2, 3, 4]
    assert [layer.dynamics.inhibition for layer in own] == [0, 0, 0, 1]
    assert [layer.revived_spikes for layer in own] == [0, 0, 0, 35]
    for layer, most in zip(own, (0.1, 0.2, 0.3, 0.4), strict=True):
        assert 0.8 * most < layer.weight.abs().max() <= most
        assert layer.weight_penalty == WeightPenalty(1.0)


def test_weights_between_neurons_begin_in_their_own_range() -> None:
    how: dict[str, Any] = {"thresholds": (1.0, 1.0), "hidden": (30,), "recurrent": (0,)}
    for given, most in ((None, 0.4), (0.05, 0.05), (0.0, 0.0)):
        net = SpikeTrainSNN((9,), 2, **how, init_ranges=(0.4, 0.3), recurrent_init_range=given)
        layer: Any = net[0]
        layer.reset_parameters()
        assert 0.9 * 0.4 < layer.weight.abs().max() <= 0.4
        assert 0.9 * most <= layer.recurrent_weight.abs().max() <= most
        assert net[1].weight.abs().max() <= 0.3
    with pytest.raises(ArgumentError, match="recurrent_init_range is -1"):
        SpikeTrainRecurrent(9, 4, threshold=1.0, recurrent_init_range=-1.0)


def test_refuses_values_that_do_not_fit_the_layers() -> None:
    with pytest.raises(ArgumentError, match="1 thresholds and 2 init_ranges for 2 layers"):
        SpikeTrainSNN((4,), 2, thresholds=(1.0,), hidden=(3,))
    with pytest.raises(ArgumentError, match="hidden layers are 0 to 0"):
        SpikeTrainSNN((4,), 2, thresholds=(1.0, 1.0), hidden=(3,), recurrent=(1,))
