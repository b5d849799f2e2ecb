"""Static images to sequences."""

from __future__ import annotations

import pytest
import torch

from snnplug.errors import ArgumentError
from snnplug.training.encoding import BernoulliEncoding, DirectEncoding


def test_direct_repeats_the_values() -> None:
    values = torch.rand(3, 1, 4, 4)
    seq = DirectEncoding(num_steps=5)(values)
    assert seq.shape == (5, 3, 1, 4, 4)
    assert all(torch.equal(step, values) for step in seq)


def test_bernoulli_has_the_values_as_its_mean_and_fresh_spikes_each_step() -> None:
    torch.manual_seed(0)
    values = torch.tensor([0.0, 0.2, 0.7, 1.0])
    seq = BernoulliEncoding(num_steps=20_000)(values.unsqueeze(0))
    assert set(seq.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(seq.mean(0)[0], values, atol=0.015, rtol=0)
    first, second = seq[:10_000, 0, 2], seq[10_000:, 0, 2]
    assert torch.corrcoef(torch.stack([first, second]))[0, 1].abs() < 0.04


def test_number_of_steps_differs_between_training_and_evaluation() -> None:
    encoder = BernoulliEncoding(num_steps=7, train_num_steps=1)
    values = torch.rand(2, 3)
    assert encoder.train()(values).shape == (1, 2, 3)
    assert encoder.eval()(values).shape == (7, 2, 3)


def test_evaluations_are_alike_and_leave_the_global_generator_alone() -> None:
    encoder = BernoulliEncoding(num_steps=7).eval()
    values = torch.rand(2, 30)
    state = torch.get_rng_state()
    encoder.restart()
    first = [encoder(values), encoder(values)]
    encoder.restart()
    second = [encoder(values), encoder(values)]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(BernoulliEncoding(7, seed=99).eval()(values), first[0])


def test_training_draws_from_the_global_seed() -> None:
    encoder, values = BernoulliEncoding(num_steps=7), torch.rand(2, 30)
    torch.manual_seed(5)
    first = encoder(values)
    torch.manual_seed(5)
    assert torch.equal(encoder(values), first)


@pytest.mark.parametrize("arguments", [(0,), (3, 0), (-1, 2)])
def test_refuses_numbers_of_steps_that_are_none(arguments: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match="at least 1"):
        BernoulliEncoding(*arguments)


def test_the_largest_rate_scales_all_others() -> None:
    torch.manual_seed(0)
    values = torch.tensor([0.0, 0.5, 1.0])
    seq = BernoulliEncoding(num_steps=20_000, max_rate=0.2)(values.unsqueeze(0))
    torch.testing.assert_close(seq.mean(0)[0], 0.2 * values, atol=0.01, rtol=0)
    for bad in (0.0, 1.5, float("nan")):
        with pytest.raises(ArgumentError, match="max_rate"):
            BernoulliEncoding(num_steps=3, max_rate=bad)
