"""Bytes to events natively as in numpy, whole or damaged."""

from __future__ import annotations

import numpy as np
import pytest

from snnplug.kernels import native
from snnplug.kernels.event_parse import _native, _reference
from tests.support.events import random_events, to_bytes

SENSOR = (34, 34, 2)


@pytest.mark.parametrize("dtype", ["u2", "u4"])
def test_10000_mutated_recordings_give_the_same_or_the_same_error(dtype: str) -> None:
    assert native.library() is not None, native.available()[1]
    rng = np.random.default_rng(0)
    whole = np.frombuffer(to_bytes(random_events(60)), dtype=np.uint8)
    refused = 0
    for trial in range(10_000):
        raw = whole.copy()
        where = rng.integers(0, len(raw), int(rng.integers(0, 3)))
        raw[where] = rng.integers(0, 256, len(where))
        if trial % 3 == 0:  # a few clock overflows
            raw.reshape(-1, 5)[rng.integers(0, 60, 2), 1] = 240
        ours = _native(raw, SENSOR, np.dtype(dtype))
        expected = _reference(raw, SENSOR, np.dtype(dtype))
        if isinstance(expected, int):
            assert ours == expected
            refused += 1
        else:
            assert not isinstance(ours, int)
            assert all(np.array_equal(a, b) for a, b in zip(ours, expected, strict=True))
    assert 2000 < refused < 8000
