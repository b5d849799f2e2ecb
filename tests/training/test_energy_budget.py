"""The multiplier: where it settles, what it forgets nothing of, and what it refuses."""

from __future__ import annotations

from math import exp, log

import pytest
import torch

from snnplug.errors import ArgumentError
from snnplug.training.energy_budget import HIGHEST, LOWEST, EnergyBudget


def follow(
    budget: EnergyBudget, steps: int, gain: float, lag: float, start: float = 300.0
) -> float:
    """A network whose energy follows the multiplier by a power law, with a lag."""
    now = log(start)
    for _ in range(steps):
        wanted = log(start) - gain * (log(budget.weight) - log(0.01))
        now += (wanted - now) / lag
        budget.update(exp(now))
    return exp(now)


@pytest.mark.parametrize("gain", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("lag", [5, 30, 60])
@pytest.mark.parametrize("budget_nj", [250.0, 150.0, 75.0])
def test_settles_on_the_budget_whatever_follows_it(
    gain: float, lag: float, budget_nj: float
) -> None:
    budget = EnergyBudget(budget_nj)
    assert follow(budget, 1500, gain, lag) == pytest.approx(budget_nj, rel=0.01)


def test_one_step_by_hand() -> None:
    budget = EnergyBudget(100.0, rate=0.1, damping=2.0, weight=0.5, memory=0.5)
    budget.update(100 * exp(0.4))
    assert log(budget.weight) == pytest.approx(log(0.5) + 0.1 * 0.4)
    budget.update(100 * exp(0.8))  # the mean of the logarithms is 0.6
    expected = log(0.5) + 0.1 * 0.4 + 0.1 * 0.6 + 2 * 0.2
    assert log(budget.weight) == pytest.approx(expected)
    budget.update(100 * exp(9.0))  # an error counts up to 1
    assert log(budget.weight) == pytest.approx(expected + 0.1 * 1 + 2 * 0.4)
    penalty = budget.penalty(torch.tensor(50.0))
    assert penalty.item() == pytest.approx(budget.weight * 0.5, rel=1e-6)


def test_an_evaluation_sets_the_scale() -> None:
    """Four steps in evaluation and one in training: batches are held to a quarter."""
    budget = EnergyBudget(400.0, memory=0.0)
    budget.update(100.0)
    budget.calibrate(400.0)
    weight = budget.weight
    budget.update(100.0)
    assert budget.weight == pytest.approx(weight)
    assert budget.penalty(torch.tensor(100.0)).item() == pytest.approx(weight, rel=1e-6)
    budget.update(110.0)
    assert budget.weight > weight


def test_stays_between_its_bounds() -> None:
    budget = EnergyBudget(100.0, rate=1.0)
    for _ in range(50):
        budget.update(1e6)
    assert budget.weight == pytest.approx(HIGHEST)
    for _ in range(200):
        budget.update(1e-6)
    assert budget.weight == pytest.approx(LOWEST)


def test_goes_on_from_its_state() -> None:
    one, other = EnergyBudget(100.0), EnergyBudget(100.0)
    follow(one, 40, 0.5, 10)
    one.calibrate(170.0)
    other.load_state_dict(one.state_dict())
    assert follow(one, 40, 0.5, 10) == follow(other, 40, 0.5, 10)
    assert one.state_dict() == other.state_dict()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget_nj": 0.0}, "budget_nj is 0.0"),
        ({"budget_nj": float("nan")}, "budget_nj is nan"),
        ({"budget_nj": 1.0, "rate": 0.0}, "rate is 0.0"),
        ({"budget_nj": 1.0, "damping": -1.0}, "damping -1.0"),
        ({"budget_nj": 1.0, "weight": 1e9}, "weight is 1000000000.0"),
        ({"budget_nj": 1.0, "memory": 1.0}, "memory is 1.0"),
    ],
)
def test_refuses_what_cannot_be(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        EnergyBudget(**arguments)


def test_refuses_an_energy_that_is_none() -> None:
    with pytest.raises(ArgumentError, match="energy_nj is nan"):
        EnergyBudget(1.0).update(float("nan"))
