r"""Frames of a batch of recordings in one call.

.. math::
    F[k, b, s] = \min\bigl(m,\; \#\{\text{events of recording } b \text{ at site } s :
    \lfloor (t - t_0)\, K / D \rfloor = k\}\bigr)

Every event is kept or counted as dropped for one reason, so for each recording the counts add up to
its events.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snnplug.errors import ArgumentError, DataError
from snnplug.kernels import native

Recording = tuple[npt.NDArray[Any], npt.NDArray[Any]]

# Up to here float32 counts without rounding; uint8 ends earlier.
_MOST = {torch.float32: 2**24, torch.uint8: 255}


class FrameCounts(NamedTuple):
    """What became of the events: one number per recording and fate, int64 ``(B,)``."""

    kept: npt.NDArray[np.int64]
    before: npt.NDArray[np.int64]
    after: npt.NDArray[np.int64]
    clipped: npt.NDArray[np.int64]


class _Frames(ctypes.Structure):
    """``Frames`` of native/frames.cpp."""

    _fields_ = (
        ("batch", ctypes.c_int64),
        ("steps", ctypes.c_int64),
        ("sites", ctypes.c_int64),
        ("start_us", ctypes.c_int64),
        ("duration_us", ctypes.c_int64),
        ("most", ctypes.c_int64),
        ("site_bytes", ctypes.c_int32),
        ("is_uint8", ctypes.c_int32),
        ("times", ctypes.c_void_p),
        ("where", ctypes.c_void_p),
        ("events", ctypes.c_void_p),
        ("output", ctypes.c_void_p),
        ("counts", ctypes.c_void_p),
    )


def frames(
    recordings: Sequence[Recording],
    sites: int,
    num_steps: int,
    duration_us: int,
    start_us: int = 0,
    most: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, FrameCounts]:
    """Return the frames ``(num_steps, B, sites)`` and what became of the events.

    Args:
        recordings: Times (uint32, µs) and sites (uint16 or uint32) of each, in any order of time;
            what ``EventStore.arrays`` returns.
        sites: Sites of the sensor.
        num_steps: Bins :math:`K` of equal length.
        duration_us: Length :math:`D` of the window, in µs.
        start_us: Where the window begins, :math:`t_0`, in µs.
        most: Clip counts to this, :math:`m`: 1 makes spikes. None clips where the dtype ends: 255
            for uint8.
        dtype: float32 or uint8.

    Raises:
        ArgumentError: A number is out of range, or a dtype is none of these.
        DataError: An event is outside the sensor.

    Example:
        >>> t, site = np.array([0, 150, 200], "u4"), np.array([3, 3, 0], "u2")
        >>> out, counts = frames([(t, site)], sites=4, num_steps=2, duration_us=200)
        >>> out[:, 0].tolist(), int(counts.kept[0]), int(counts.after[0])
        ([[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]], 2, 1)
    """
    if dtype not in _MOST:
        raise ArgumentError(f"dtype is {dtype}; it has to be torch.float32 or torch.uint8")
    highest = _MOST[dtype]
    most = highest if most is None else most
    if not (
        1 <= most <= highest
        and sites >= 1
        and 1 <= num_steps < 2**24
        and 1 <= duration_us < 2**38
        and 0 <= start_us < 2**38
    ):
        raise ArgumentError(
            f"sites is {sites}, num_steps {num_steps}, duration_us {duration_us}, start_us "
            f"{start_us}, most {most}; they have to be at least 1 (start_us 0), num_steps below "
            f"2**24, times below 2**38 and most at most {highest}"
        )
    pairs = [_contiguous(t, site) for t, site in recordings]
    work = _native if native.library() is not None and pairs else _reference
    out, fates = work(pairs, sites, num_steps, duration_us, start_us, most, dtype)
    if fates[:, 4].any():
        where = int(fates[:, 4].argmax())
        raise DataError(
            f"recording {where} of the batch has {fates[where, 4]} events beyond site {sites - 1}; "
            "the recording is of another sensor"
        )
    return out, FrameCounts(*fates.T[:4])


def _contiguous(t: npt.NDArray[Any], site: npt.NDArray[Any]) -> Recording:
    if t.dtype != np.uint32 or site.dtype not in (np.uint16, np.uint32) or t.shape != site.shape:
        raise ArgumentError(
            f"a recording has times {t.dtype} {t.shape} and sites {site.dtype} {site.shape}; they "
            "have to be uint32, and uint16 or uint32 of the same length"
        )
    return np.ascontiguousarray(t), np.ascontiguousarray(site)


def _native(
    pairs: list[Recording],
    sites: int,
    num_steps: int,
    duration_us: int,
    start_us: int,
    most: int,
    dtype: torch.dtype,
) -> tuple[Tensor, npt.NDArray[np.int64]]:
    batch, size = len(pairs), max(site.itemsize for _, site in pairs)
    pairs = [(t, site.astype(f"u{size}", copy=False)) for t, site in pairs]
    count = num_steps * batch * sites
    words = -(-count * dtype.itemsize // 4)
    out = native.empty((words,)).view(dtype)[:count].view(num_steps, batch, sites)
    fates = np.empty((batch, 5), dtype=np.int64)
    times = np.array([t.__array_interface__["data"][0] for t, _ in pairs], dtype=np.uint64)
    where = np.array([site.__array_interface__["data"][0] for _, site in pairs], dtype=np.uint64)
    events = np.array([len(t) for t, _ in pairs], dtype=np.int64)
    args = _Frames(
        batch,
        num_steps,
        sites,
        start_us,
        duration_us,
        most,
        size,
        dtype == torch.uint8,
        times.ctypes.data,
        where.ctypes.data,
        events.ctypes.data,
        out.data_ptr(),
        fates.ctypes.data,
    )
    library: Any = native.library()
    library.snp_frames(ctypes.byref(args), torch.get_num_threads())
    return out, fates


def _reference(
    pairs: list[Recording],
    sites: int,
    num_steps: int,
    duration_us: int,
    start_us: int,
    most: int,
    dtype: torch.dtype,
) -> tuple[Tensor, npt.NDArray[np.int64]]:
    out = torch.empty(num_steps, len(pairs), sites, dtype=dtype)
    fates = np.empty((len(pairs), 5), dtype=np.int64)
    for b, (t, site) in enumerate(pairs):
        u = t.astype(np.int64) - start_us
        before, after = u < 0, u >= duration_us
        outside = ~before & ~after & (site >= sites)
        inside = ~before & ~after & ~outside
        bins = u[inside] * num_steps // duration_us * sites + site[inside]
        counts = np.bincount(bins, minlength=num_steps * sites)
        kept = np.minimum(counts, most)
        out[:, b] = torch.from_numpy(kept.reshape(num_steps, sites)).to(dtype)
        clipped = counts.sum() - kept.sum()
        fates[b] = kept.sum(), before.sum(), after.sum(), clipped, outside.sum()
    return out, fates
