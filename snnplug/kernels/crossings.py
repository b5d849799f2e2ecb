r"""Events of an event camera: where the level of a pixel has moved by a threshold.

From its reference :math:`r` a pixel with level :math:`\ell(t)`, linear between the steps, fires ON
at :math:`\ell - r = \theta_{on}` and OFF at :math:`r - \ell = \theta_{off}`; it is blind for the
refractory time that follows, at whose end :math:`r = \ell`.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from snnplug.errors import ArgumentError
from snnplug.kernels import native

Levels = npt.NDArray[np.float32]
Found = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]

# Events per pixel that room is made for at first; a MNIST digit before the camera makes about 10.
_ROOM = 24
# A threshold is at least 8 steps of float32 at this many thresholds.
_LARGEST = 2**20


class _Crossings(ctypes.Structure):
    """``Crossings`` of native/kernels.h."""

    _fields_ = (
        ("pixels", ctypes.c_int64),
        ("steps", ctypes.c_int64),
        ("level", ctypes.c_void_p),
        ("reference", ctypes.c_void_p),
        ("on", ctypes.c_float),
        ("off", ctypes.c_float),
        ("refractory_steps", ctypes.c_double),
        ("capacity", ctypes.c_int64),
        ("pixel", ctypes.c_void_p),
        ("time", ctypes.c_void_p),
        ("is_on", ctypes.c_void_p),
    )


def crossings(
    level: Levels, reference: Levels, on: float, off: float, refractory_steps: float
) -> Found:
    """Return pixel, time (in steps) and polarity of every event, in order of pixel, then of time.

    Args:
        level: Levels ``(pixels, steps)``.
        reference: Level that each pixel compares with at the start, ``(pixels,)``.
        on: Rise that makes an ON event.
        off: Fall that makes an OFF event.
        refractory_steps: Time after an event in which a pixel is blind, in steps.

    Raises:
        ArgumentError: A threshold is not positive, a level is not finite or so large that float32
            cannot tell a threshold from it, or a reference is a threshold from its first level.

    Example:
        >>> rise = np.array([[0.0, 1.0, 2.0]], dtype=np.float32)
        >>> pixel, time, is_on = crossings(rise, np.zeros(1, np.float32), 0.75, 0.75, 0.25)
        >>> time.tolist(), is_on.tolist()
        ([0.75, 1.75], [True, True])
    """
    level, reference = (np.ascontiguousarray(a, dtype=np.float32) for a in (level, reference))
    least = min(on, off)
    largest = np.abs(level).max(initial=0)
    start = np.abs(reference - level[:, :1].ravel()).max(initial=0)
    # Also false for NaN.
    if not (least > 0 and refractory_steps >= 0 and largest < _LARGEST * least and start < least):
        raise ArgumentError(
            f"thresholds {on} and {off}, {refractory_steps} steps blind, levels up to {largest}, "
            f"references up to {start} from them: thresholds have to be positive, levels below "
            f"{_LARGEST * least:g} and references less than a threshold from the first level"
        )
    if native.library() is None:
        return _reference(level, reference, on, off, refractory_steps)
    return _native(level, reference, on, off, refractory_steps)


def _native(
    level: Levels, reference: Levels, on: float, off: float, refractory_steps: float
) -> Found:
    library: Any = native.library()
    room = _ROOM * len(level)
    while True:
        pixel, time = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.float64)
        is_on = np.empty(room, dtype=np.bool_)
        args = _Crossings(
            *level.shape,
            level.ctypes.data,
            reference.ctypes.data,
            on,
            off,
            refractory_steps,
            room,
            pixel.ctypes.data,
            time.ctypes.data,
            is_on.ctypes.data,
        )
        count = library.snp_crossings(ctypes.byref(args))
        if count <= room:
            return pixel[:count], time[:count], is_on[:count]
        room = count


def _reference(
    level: Levels, reference: Levels, on: float, off: float, refractory_steps: float
) -> Found:
    """Find, in each round, the next event of every pixel that has one left."""
    rise, fall = np.float32(on), np.float32(off)
    steps = np.arange(level.shape[1], dtype=np.float32)
    pixel = np.arange(len(level))
    ready = np.zeros(len(level))
    pixels, times, polarities = [pixel[:0]], [ready[:0]], [ready[:0] > 0]
    while len(pixel):
        change = level - reference[:, None]
        crossed = (change >= rise) | (change <= -fall)
        crossed &= steps > ready[:, None].astype(np.float32)
        end = crossed.argmax(axis=1)  # 0: never
        left = np.flatnonzero(end)
        pixel, level, end, reference = pixel[left], level[left], end[left], reference[left]
        row = np.arange(len(left))
        is_on = change[left, end] >= rise
        start = level[row, end - 1]
        target = reference + np.where(is_on, rise, -fall)
        time = end - 1 + ((target - start) / (level[row, end] - start)).astype(np.float64)
        pixels.append(pixel)
        times.append(time)
        polarities.append(is_on)
        ready = time + refractory_steps
        left = np.flatnonzero(ready < steps[-1])
        pixel, level, ready = pixel[left], level[left], ready[left]
        row, end = np.arange(len(left)), ready.astype(np.intp)
        start = level[row, end]
        reference = start + (ready - end).astype(np.float32) * (level[row, end + 1] - start)
    found = np.concatenate(pixels)
    order = np.argsort(found, kind="stable")
    return found[order], np.concatenate(times)[order], np.concatenate(polarities)[order]
