"""Frames: every event in the bin of its time, or counted as dropped."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnplug.data.frames import Framing, time_first
from snnplug.errors import ArgumentError
from tests.support.events import random_events


@given(
    count=st.integers(0, 300),
    num_steps=st.integers(1, 40),
    duration_us=st.integers(1, 400_000),
    seed=st.integers(0, 1000),
)
def test_equals_a_loop_over_events(count: int, num_steps: int, duration_us: int, seed: int) -> None:
    events = random_events(count, seed)
    frames, dropped = Framing(num_steps, duration_us, binary=False)(events)
    expected = np.zeros((num_steps, 2, 34, 34), dtype=int)
    outside = 0
    for x, y, t, p in events.tolist():
        if t < duration_us:
            expected[t * num_steps // duration_us, p, y, x] += 1
        else:
            outside += 1
    assert np.array_equal(frames, expected)
    assert dropped == outside
    assert frames.sum() + dropped == count


def test_binary_frames_are_the_counts_clipped() -> None:
    events = random_events(20_000)
    counts, dropped = Framing(7, 250_000, binary=False)(events)
    binary, dropped_too = Framing(7, 250_000)(events)
    assert counts.max() > 1
    assert np.array_equal(binary, np.minimum(counts, 1))
    assert dropped == dropped_too > 0


def test_order_of_events_does_not_matter() -> None:
    events = random_events(1000)
    shuffled = np.random.default_rng(0).permutation(events)
    framing = Framing(10, 300_000, binary=False)
    assert np.array_equal(framing(events)[0], framing(shuffled)[0])


def test_events_before_zero_are_dropped_and_counted() -> None:
    events = random_events(10)
    events["t"][:3] = -5
    frames, dropped = Framing(4, 300_000, binary=False)(events)
    assert (frames.sum(), dropped) == (7, 3)


def test_collates_time_first() -> None:
    framing = Framing(5, 300_000, binary=False)
    samples = [(framing(random_events(100, seed))[0], seed) for seed in range(3)]
    frames, targets = time_first(samples)
    assert frames.shape == (5, 3, 2, 34, 34)
    assert frames.dtype == torch.float32
    assert targets.tolist() == [0, 1, 2]
    assert np.array_equal(frames[:, 1].numpy(), samples[1][0])


@pytest.mark.parametrize("arguments", [(0, 10), (10, 0), (10, 10, (0, 34, 2))])
def test_refuses_sizes_that_are_none(arguments: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match="at least 1"):
        Framing(*arguments)  # type: ignore[arg-type]
