"""Fan-out of one axis against looping over outputs and taps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from snnplug.hardware.fan_out import axis_taps


@given(
    size=st.integers(1, 20),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 4),
    before=st.integers(0, 4),
    after=st.integers(0, 4),
    dilation=st.integers(1, 3),
)
def test_zero_padding_equals_the_double_loop(
    size: int, kernel: int, stride: int, before: int, after: int, dilation: int
) -> None:
    span = dilation * (kernel - 1) + 1
    if size + before + after < span:
        return
    expected = [0] * size
    for start in range(0, size + before + after - span + 1, stride):
        for tap in range(kernel):
            place = start + tap * dilation - before
            if 0 <= place < size:
                expected[place] += 1
    found = axis_taps(size, kernel, stride, (before, after), dilation).sum(1)
    assert found.tolist() == expected


def test_other_paddings_read_places_twice() -> None:
    assert axis_taps(4, 3, 1, (1, 1), 1, "circular").sum(1).tolist() == [3, 3, 3, 3]
    assert axis_taps(4, 3, 1, (1, 1), 1, "replicate").sum(1).tolist() == [3, 3, 3, 3]
    assert axis_taps(4, 3, 1, (1, 1), 1, "reflect").sum(1).tolist() == [2, 4, 4, 2]
