"""The weight penalty is the gradient of what it says, and adds to that of the loss."""

from __future__ import annotations

import pytest
import torch

from snnplug.errors import ArgumentError
from snnplug.learning.spike_train_recurrent import SpikeTrainRecurrent
from snnplug.learning.weight_penalty import WeightPenalty, penalised


@pytest.mark.parametrize("shape", [(4, 7), (3, 2, 5, 5)])
def test_is_the_gradient_of_its_potential(shape: tuple[int, ...]) -> None:
    penalty = WeightPenalty(3.0, 0.5, 2.0)
    weight = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    part = (weight / penalty.limit).square().flatten(1).mean(1)
    potential = 0.5 * penalty.strength * penalty.limit * weight[0].numel()
    (potential * torch.exp(penalty.slope * (part - 1))).sum().backward()
    assert weight.grad is not None
    torch.testing.assert_close(penalty.gradient(weight.detach()), weight.grad)


def test_adds_to_the_gradient_of_both_weights() -> None:
    torch.manual_seed(0)
    layer = SpikeTrainRecurrent(6, 4, threshold=1.0, rule="hm2bp")
    x = (torch.rand(40, 3, 6) < 0.3).float()
    grads = []
    for penalty in (None, WeightPenalty()):
        layer.weight_penalty = penalty
        layer.zero_grad()
        layer(x).sum(0).square().sum().backward()
        grads.append([p.grad.clone() for p in layer.parameters() if p.grad is not None])
    (feed, own), (feed_more, own_more) = grads
    torch.testing.assert_close(feed_more, feed + WeightPenalty().gradient(layer.weight.detach()))
    # A connection that is not there has no gradient.
    there = layer.recurrent_weight.detach() * layer.recurrent_mask
    torch.testing.assert_close(own_more, own + WeightPenalty().gradient(there))
    assert own_more.diagonal().abs().sum() == 0


def test_none_adds_nothing_and_bad_values_are_refused() -> None:
    weight = torch.ones(2, 2)
    assert penalised(weight, None) is weight
    for bad in ({"strength": -1.0}, {"slope": -0.1}, {"limit": 0.0}):
        with pytest.raises(ArgumentError, match="limit"):
            WeightPenalty(**bad)
