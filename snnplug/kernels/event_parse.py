"""Recordings in the N-MNIST format, from bytes to times and sites."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from snnplug.kernels import native

Parsed = tuple[npt.NDArray[np.uint32], npt.NDArray[np.unsignedinteger]]

EVENT_BYTES = 5
# In the N-MNIST format an event at this row only says that the clock went on by 2**13 µs.
_OVERFLOW_ROW = 240
_OVERFLOW_US = 2**13


class _Parse(ctypes.Structure):
    """``EventParse`` of native/kernels.h."""

    _fields_ = (
        ("bytes", ctypes.c_void_p),
        ("events", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("polarities", ctypes.c_int64),
        ("site_bytes", ctypes.c_int32),
        ("t", ctypes.c_void_p),
        ("site", ctypes.c_void_p),
        ("bad", ctypes.c_int64),
    )


def parse_events(
    raw: npt.NDArray[np.uint8],
    sensor_size: tuple[int, int, int],
    dtype: np.dtype[np.unsignedinteger],
) -> Parsed | int:
    r"""Return time and site of each event, or which of them is out of range.

    Five bytes an event: x, y, then one bit of polarity and 23 bits of time in µs. The site is
    :math:`(p\,H + y)\,W + x`.

    Args:
        raw: The bytes, a multiple of five.
        sensor_size: Width, height and polarities.
        dtype: uint16 or uint32, large enough for every site.

    Returns:
        Times and sites in order; or, where an address is outside the sensor, a time before the one
        before it or beyond 32 bits, the place of the first such event, overflows not counted.

    Example:
        >>> raw = np.array([3, 1, 128, 0, 7], dtype=np.uint8)
        >>> t, site = parse_events(raw, (34, 34, 2), np.dtype("u2"))
        >>> t.tolist(), site.tolist() == [(1 * 34 + 1) * 34 + 3]
        ([7], True)
    """
    work = _reference if native.library() is None else _native
    return work(np.ascontiguousarray(raw), sensor_size, dtype)


def _native(
    raw: npt.NDArray[np.uint8],
    sensor_size: tuple[int, int, int],
    dtype: np.dtype[np.unsignedinteger],
) -> Parsed | int:
    count = len(raw) // EVENT_BYTES
    t, site = np.empty(count, dtype=np.uint32), np.empty(count, dtype=dtype)
    args = _Parse(
        raw.ctypes.data, count, *sensor_size, dtype.itemsize, t.ctypes.data, site.ctypes.data
    )
    library: Any = native.library()
    kept = library.snp_parse_events(ctypes.byref(args))
    return int(args.bad) if kept < 0 else (t[:kept], site[:kept])


def event_fields(raw: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int64], ...]:
    """Return x, y, time and polarity of each event, in or out of range, int64."""
    x, y, high, middle, low = raw.reshape(-1, EVENT_BYTES).astype(np.int64).T
    overflow = y == _OVERFLOW_ROW
    t = ((high & 127) << 16 | middle << 8 | low) + _OVERFLOW_US * np.cumsum(overflow)
    return tuple(values[~overflow] for values in (x, y, t, high >> 7))


def _reference(
    raw: npt.NDArray[np.uint8],
    sensor_size: tuple[int, int, int],
    dtype: np.dtype[np.unsignedinteger],
) -> Parsed | int:
    width, height, polarities = sensor_size
    x, y, t, p = event_fields(raw)
    wrong = (x >= width) | (y >= height) | (p >= polarities) | (t >= 2**32)
    wrong[1:] |= t[1:] < t[:-1]
    if wrong.any():
        return int(wrong.argmax())
    return t.astype(np.uint32), ((p * height + y) * width + x).astype(dtype)
