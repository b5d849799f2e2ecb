"""Threshold crossings: the native loop is the reference, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from snnplug.errors import ArgumentError
from snnplug.kernels import native
from snnplug.kernels.crossings import _native, _reference, crossings

needs_native = pytest.mark.skipif(native.library() is None, reason="no native library here")


@needs_native
@pytest.mark.parametrize("refractory", [0.0, 0.02, 0.4, 7.3, 200.0])
@pytest.mark.parametrize("scale", [0.001, 0.1, 3.0])
def test_native_is_the_reference(refractory: float, scale: float) -> None:
    rng = np.random.default_rng(0)
    level = rng.normal(0, scale, (300, 127)).cumsum(axis=1).astype(np.float32)
    reference = level[:, 0] + rng.uniform(-0.1, 0.1, 300).astype(np.float32)
    found = _native(level, reference, 0.256, 0.242, refractory)
    expected = _reference(level, reference, 0.256, 0.242, refractory)
    assert len(expected[0]) >= 300 or scale == 0.001
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("shape", [(0, 5), (3, 1), (3, 2)])
def test_nothing_to_cross(shape: tuple[int, int]) -> None:
    flat = np.zeros(shape, dtype=np.float32)
    pixel, time, is_on = crossings(flat, np.zeros(shape[0], np.float32), 0.1, 0.1, 0.0)
    assert len(pixel) == len(time) == len(is_on) == 0


def test_a_ramp_by_hand() -> None:
    # Up by 1 a step, threshold 1, blind for a quarter: 1.0, then 1.25 + 1, 2.5 + 1.
    level = np.arange(5, dtype=np.float32)[None]
    pixel, time, is_on = crossings(level, np.zeros(1, np.float32), 1.0, 1.0, 0.25)
    assert time.tolist() == [1.0, 2.25, 3.5]
    assert is_on.all()
    assert pixel.tolist() == [0, 0, 0]
    _, time, is_on = crossings(-level, np.zeros(1, np.float32), 1.0, 0.5, 0.0)
    assert time.tolist() == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]
    assert not is_on.any()


@pytest.mark.parametrize(
    ("level", "reference", "on", "refractory"),
    [
        ([0.0, np.nan], 0.0, 1.0, 0.0),
        ([0.0, 1e9], 0.0, 1.0, 0.0),
        ([0.0, 1.0], 1.0, 1.0, 0.0),
        ([0.0, 1.0], 0.0, 0.0, 0.0),
        ([0.0, 1.0], 0.0, 1.0, -1.0),
    ],
)
def test_what_could_loop_or_leave_the_array_is_refused(
    level: list[float], reference: float, on: float, refractory: float
) -> None:
    with pytest.raises(ArgumentError, match="thresholds"):
        crossings(
            np.array([level], np.float32), np.array([reference], np.float32), on, 1.0, refractory
        )
