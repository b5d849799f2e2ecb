"""The held-out set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from snnplug.data.split import group_split, stratified_split
from snnplug.errors import ArgumentError


@given(
    targets=st.lists(st.integers(0, 4), min_size=20, max_size=200),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 100),
)
def test_is_a_partition_with_the_share_of_each_class(
    targets: list[int], fraction: float, seed: int
) -> None:
    sizes = {label: round(fraction * targets.count(label)) for label in set(targets)}
    assume(0 < sum(sizes.values()) < len(targets))
    kept, held_out = stratified_split(targets, fraction, seed)
    assert sorted([*kept, *held_out]) == list(range(len(targets)))
    for label, size in sizes.items():
        assert sum(targets[i] == label for i in held_out) == size


def test_same_seed_same_split() -> None:
    targets = np.arange(100) % 10
    first, second = (stratified_split(targets, 0.2, seed=3)[1] for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, stratified_split(targets, 0.2, seed=4)[1])


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_refuses_shares_that_are_none(fraction: float) -> None:
    with pytest.raises(ArgumentError, match="between 0 and 1"):
        stratified_split([0, 1], fraction, 0)


def test_refuses_to_leave_a_part_empty() -> None:
    with pytest.raises(ArgumentError, match="to validate on"):
        stratified_split([0, 1, 2], 0.1, 0)


@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.5])
def test_groups_stay_together(fraction: float) -> None:
    groups = [f"speaker{k % 7}" for k in range(70)]
    kept, held_out = group_split(groups, fraction, seed=3)
    assert sorted([*kept, *held_out]) == list(range(70))
    ours, theirs = ({groups[i] for i in part} for part in (kept, held_out))
    assert not ours & theirs
    assert len(theirs) == max(1, round(7 * fraction))
    again = group_split(groups, fraction, seed=3)
    assert again[1].tolist() == held_out.tolist()
    assert {tuple(group_split(groups, fraction, s)[1]) for s in range(20)} != {tuple(held_out)}


@pytest.mark.parametrize(("groups", "fraction"), [(["a"] * 5, 0.5), (["a", "b"], 1.0), ([], 0.1)])
def test_no_group_to_train_on_is_refused(groups: list[str], fraction: float) -> None:
    with pytest.raises(ArgumentError):
        group_split(groups, fraction, seed=0)
