"""Frames: every event in the bin of its time, or counted as dropped."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnplug.data.addresses import encode_events
from snnplug.data.frames import Framing
from snnplug.errors import ArgumentError
from tests.support.events import random_events
from tests.support.slow_frames import slow_frames

SENSOR = (34, 34, 2)


def arrays(events: npt.NDArray[np.void]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    return encode_events(events, SENSOR, "here")


@given(
    counts=st.lists(st.integers(0, 200), min_size=1, max_size=3),
    num_steps=st.integers(1, 40),
    duration_us=st.integers(1, 400_000),
    seed=st.integers(0, 1000),
    binary=st.booleans(),
)
def test_equals_a_loop_over_events(
    counts: list[int], num_steps: int, duration_us: int, seed: int, binary: bool
) -> None:
    framing = Framing(num_steps, duration_us, SENSOR, binary)
    batch = [random_events(count, seed + k) for k, count in enumerate(counts)]
    frames, fates = framing([arrays(events) for events in batch])
    assert frames.shape == (num_steps, len(batch), 2, 34, 34)
    assert frames.dtype == torch.float32
    for b, events in enumerate(batch):
        expected, outside = slow_frames(events, framing)
        assert np.array_equal(frames[:, b].numpy(), expected)
        assert fates.before[b] + fates.after[b] == outside
        assert fates.kept[b] == expected.sum()
        assert sum(fate[b] for fate in fates) == len(events)


def test_order_of_events_does_not_matter() -> None:
    t, site = arrays(random_events(1000))
    order = np.random.default_rng(0).permutation(len(t))
    framing = Framing(10, 300_000, SENSOR, binary=False)
    assert torch.equal(framing([(t, site)])[0], framing([(t[order], site[order])])[0])


def test_channels_alone_are_a_sensor_too() -> None:
    framing = Framing(2, 10, (64,))
    frames, _ = framing([(np.array([1, 9], "u4"), np.array([5, 63], "u2"))])
    assert frames.shape == (2, 1, 64)
    assert frames.nonzero().tolist() == [[0, 0, 5], [1, 0, 63]]


@pytest.mark.parametrize("arguments", [(0, 10), (10, 0), (10, 10, (0, 34, 2))])
def test_refuses_sizes_that_are_none(arguments: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match="at least 1"):
        Framing(*arguments)  # type: ignore[arg-type]
