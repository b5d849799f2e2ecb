"""Weights of samples: the formula by hand, and gradients multiplied with them."""

from __future__ import annotations

from math import exp

import pytest
import torch

from snnplug.errors import ArgumentError
from snnplug.learning.sample_weights import SampleWeights, weighted


def test_two_epochs_by_hand() -> None:
    weights = SampleWeights(6, scale=2.0)
    targets = torch.tensor([0, 0, 0, 1, 1, 1])
    # Class 0 wrong on one of three, class 1 on two of three.
    weights.record(torch.arange(3), targets[:3], torch.tensor([0, 1, 0]))
    weights.record(torch.tensor([5, 4, 3]), targets[3:], torch.tensor([0, 0, 1]))
    weights.end_epoch()
    a, b = exp(1 / 3 / 2), exp(2 / 3 / 2)
    first = [1, a, 1, 1, b, b]
    mean = sum(first) / 6
    assert weights.values.tolist() == pytest.approx([w / mean for w in first])
    # Now sample 1 alone is wrong; sample 2 is not seen at all.
    seen = torch.tensor([0, 1, 3, 4, 5])
    weights.record(seen, targets[seen], torch.tensor([0, 9, 1, 1, 1]))
    weights.end_epoch()
    second = [1, a * exp(a / (1 + a) / 2), 1, 1, b, b]
    mean = sum(second) / 6
    assert weights.values.tolist() == pytest.approx([w / mean for w in second])


def test_an_epoch_without_samples_or_mistakes_changes_nothing() -> None:
    weights = SampleWeights(3)
    weights.end_epoch()
    weights.record(torch.arange(3), torch.tensor([4, 5, 5]), torch.tensor([4, 5, 5]))
    weights.end_epoch()
    assert weights.values.tolist() == [1, 1, 1]


@pytest.mark.parametrize("same_at_every_step", [True, False])
def test_gradients_are_multiplied_sample_by_sample(same_at_every_step: bool) -> None:
    out = torch.randn(5, 3, 4, requires_grad=True)
    weights = torch.tensor([0.5, 1.0, 3.0])
    factor = torch.randn(4) if same_at_every_step else torch.randn(5, 3, 4)
    through = weighted(out, weights)
    assert torch.equal(through, out)
    ((through.sum(0) if same_at_every_step else through) * factor).sum().backward()
    expected = factor.expand(5, 3, 4) * weights.view(1, 3, 1)
    torch.testing.assert_close(out.grad, expected)


@pytest.mark.parametrize(("num_samples", "scale"), [(0, 20.0), (3, 0.0), (3, float("nan"))])
def test_values_out_of_range_are_refused(num_samples: int, scale: float) -> None:
    with pytest.raises(ArgumentError, match="num_samples"):
        SampleWeights(num_samples, scale)
