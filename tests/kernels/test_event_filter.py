"""Filters natively as event by event, on real recordings' sizes."""

from __future__ import annotations

import numpy as np
import pytest

from snnplug.data.addresses import encode_events
from snnplug.kernels import native
from snnplug.kernels.event_filter import _native, _reference, filter_events
from tests.support.events import random_events


@pytest.mark.parametrize("sensor", [(34, 34, 2), (300, 200, 2)])
@pytest.mark.parametrize("times", [(0, 0), (900, 0), (0, 3000), (900, 3000)])
def test_equals_a_loop_at_full_size(sensor: tuple[int, int, int], times: tuple[int, int]) -> None:
    assert native.library() is not None, native.available()[1]
    t, site = encode_events(random_events(4000, duration_us=60_000), sensor, "here")
    (left, where), *dropped = _native(t, site, *sensor[:2], *times)
    (expected, place), *counted = _reference(t, site, *sensor[:2], *times)
    assert dropped == counted
    assert np.array_equal(left, expected)
    assert np.array_equal(where, place)
    assert len(left) + sum(dropped) == 4000
    order = np.random.default_rng(0).permutation(4000)
    (sorted_, _), *_ = filter_events((t[order], site[order]), *sensor[:2], *times)
    assert len(sorted_) == 4000 or (np.diff(sorted_.astype(int)) >= 0).all()
