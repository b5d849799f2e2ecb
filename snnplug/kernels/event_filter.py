"""Noise out of a recording: events of a pixel that is blind, and events without neighbours."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from snnplug.errors import ArgumentError
from snnplug.kernels import native
from snnplug.kernels.frames import contiguous, in_order
from snnplug.kernels.located import Recording

_LARGEST_US = 2**32


class _Filter(ctypes.Structure):
    """``EventFilter`` of native/kernels.h."""

    _fields_ = (
        ("events", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("refractory_us", ctypes.c_int64),
        ("background_us", ctypes.c_int64),
        ("site_bytes", ctypes.c_int32),
        ("t", ctypes.c_void_p),
        ("site", ctypes.c_void_p),
        ("t_out", ctypes.c_void_p),
        ("site_out", ctypes.c_void_p),
        ("fired", ctypes.c_void_p),
        ("seen", ctypes.c_void_p),
        ("refractory", ctypes.c_int64),
        ("isolated", ctypes.c_int64),
    )


def filter_events(
    recording: Recording, width: int, height: int, refractory_us: int = 0, background_us: int = 0
) -> tuple[Recording, int, int]:
    """Drop what a pixel says too soon, then what no neighbour confirms.

    An event is dropped as refractory where its pixel kept one less than ``refractory_us`` before.
    Of the rest, one is dropped as isolated where none of the eight pixels around it had an event,
    dropped as isolated or not, in the ``background_us`` before. Polarity plays no part.

    Args:
        recording: Times (uint32, µs) and sites, polarities one after the other.
        width: Columns of the sensor, or its channels.
        height: Rows of the sensor; 1 for channels.
        refractory_us: Time after an event in which its pixel is blind, in µs; 0 keeps all.
        background_us: How far back the neighbours' events count, in µs; 0 keeps all.

    Returns:
        The events left, in order of time, how many were refractory, how many isolated.

    Raises:
        ArgumentError: A number is out of range.

    Example:
        >>> t, site = np.array([0, 5, 20], "u4"), np.array([0, 0, 1], "u2")
        >>> left, refractory, isolated = filter_events((t, site), 8, 1, 10, 30)
        >>> left[0].tolist(), refractory, isolated
        ([20], 1, 1)

    Reference:
        T. Delbruck, "Frame-free dynamic digital vision", 2008, for the background filter.
        Deviation: tonic's ``Denoise`` asks four neighbours, and its ``RefractoryPeriod`` counts
        from events that it dropped as well.
    """
    numbers = (refractory_us, background_us)
    if width < 1 or height < 1 or min(numbers) < 0 or max(numbers) > _LARGEST_US:
        raise ArgumentError(
            f"width is {width}, height {height}, refractory_us {refractory_us}, background_us "
            f"{background_us}; sizes have to be at least 1, times in 0 … 2**32"
        )
    t, site = contiguous(*recording)
    if not any(numbers):
        return (t, site), 0, 0
    if (t[1:] < t[:-1]).any():
        t, site = in_order(t, site)
    work = _reference if native.library() is None else _native
    return work(t, site, width, height, refractory_us, background_us)


def _native(
    t: npt.NDArray[Any],
    site: npt.NDArray[Any],
    width: int,
    height: int,
    refractory_us: int,
    background_us: int,
) -> tuple[Recording, int, int]:
    t_out, site_out = np.empty_like(t), np.empty_like(site)
    fired = np.empty(width * height, dtype=np.int64)
    seen = np.empty((width + 2) * (height + 2), dtype=np.int64)
    args = _Filter(
        len(t),
        width,
        height,
        refractory_us,
        background_us,
        site.itemsize,
        *(array.ctypes.data for array in (t, site, t_out, site_out, fired, seen)),
    )
    library: Any = native.library()
    kept = library.snp_filter_events(ctypes.byref(args))
    return (t_out[:kept], site_out[:kept]), int(args.refractory), int(args.isolated)


def _reference(
    t: npt.NDArray[Any],
    site: npt.NDArray[Any],
    width: int,
    height: int,
    refractory_us: int,
    background_us: int,
) -> tuple[Recording, int, int]:
    never = -(2.0**40)
    fired = np.full((height, width), never)
    seen = np.full((height + 2, width + 2), never)
    kept, refractory = [], 0
    for j, (u, s) in enumerate(zip(t.tolist(), site.tolist(), strict=True)):
        y, x = divmod(s % (width * height), width)
        if u - fired[y, x] < refractory_us:
            refractory += 1
            continue
        fired[y, x] = u
        if background_us:
            around = seen[y : y + 3, x : x + 3].copy()
            around[1, 1] = never
            seen[y + 1, x + 1] = u
            if u - around.max() > background_us:
                continue
        kept.append(j)
    return (t[kept], site[kept]), refractory, len(t) - refractory - len(kept)
