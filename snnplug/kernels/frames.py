r"""Frames of a batch of recordings in one call.

.. math::
    F[k, b, s] = \min\bigl(m,\; \#\{\text{events of recording } b : \text{their site goes to } s,\;
    \lfloor (t - t_0)\, K / D \rfloor = k\}\bigr)

Every event is kept or counted as dropped for one reason, so for each recording the counts add up to
its events.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snnplug.errors import ArgumentError, DataError
from snnplug.kernels import native
from snnplug.kernels.located import Located, Recording

SiteMap = npt.NDArray[np.int32]

# Up to here float32 counts without rounding; uint8 ends earlier.
_MOST = {torch.float32: 2**24, torch.uint8: 255}
# From so many bytes on frames go past the caches: what was there before is rarely in them any more,
# and would have to be read first.
_STREAM_FROM = 1 << 20
# Columns of the fates, as `Fate` of native/kernels.h.
_KEPT, _BEFORE, _AFTER, _CLIPPED, _MASKED, _UNSORTED, _FOREIGN, _FATES = 0, 1, 2, 3, 4, 6, 7, 8
#: Reasons that a map can have to mask a site: it is outside the crop, or was moved out of it.
MASKS = 2
# Maps that cannot change any more and were found valid, by their place, sites and frame's sites.
_VALID: WeakValueDictionary[tuple[int, int, int], SiteMap] = WeakValueDictionary()


class FrameCounts(NamedTuple):
    """What became of the events: one number per recording and fate, int64 ``(B,)``."""

    kept: npt.NDArray[np.int64]
    before: npt.NDArray[np.int64]
    after: npt.NDArray[np.int64]
    clipped: npt.NDArray[np.int64]
    cropped: npt.NDArray[np.int64]
    moved: npt.NDArray[np.int64]


class _Frames(ctypes.Structure):
    """``Frames`` of native/kernels.h."""

    _fields_ = (
        ("batch", ctypes.c_int64),
        ("steps", ctypes.c_int64),
        ("sites", ctypes.c_int64),
        ("sensor", ctypes.c_int64),
        ("start_us", ctypes.c_int64),
        ("duration_us", ctypes.c_int64),
        ("most", ctypes.c_int64),
        ("site_bytes", ctypes.c_int32),
        ("is_uint8", ctypes.c_int32),
        ("in_order", ctypes.c_int32),
        ("streams", ctypes.c_int32),
        ("times", ctypes.c_void_p),
        ("where", ctypes.c_void_p),
        ("maps", ctypes.c_void_p),
        ("events", ctypes.c_void_p),
        ("output", ctypes.c_void_p),
        ("fates", ctypes.c_void_p),
    )


@dataclass(frozen=True)
class _Task:
    """The arguments of :func:`frames`, checked."""

    sensor: int
    sites: int
    num_steps: int
    duration_us: int
    start_us: int
    most: int
    dtype: torch.dtype


def frames(
    recordings: Sequence[Recording],
    sites: int,
    num_steps: int,
    duration_us: int,
    start_us: int = 0,
    most: int | None = None,
    dtype: torch.dtype = torch.float32,
    maps: Sequence[SiteMap] | None = None,
    frame_sites: int | None = None,
    out: Tensor | None = None,
) -> tuple[Tensor, FrameCounts]:
    """Return the frames ``(num_steps, B, frame_sites)`` and what became of the events.

    Args:
        recordings: Times (uint32, µs) and sites (uint16 or uint32) of each, in any order of time,
            quickest in ascending order; what ``EventStore.arrays`` returns, or, sooner for many,
            ``EventStore.recordings``.
        sites: Sites of the sensor.
        num_steps: Bins :math:`K` of equal length.
        duration_us: Length :math:`D` of the window, in µs.
        start_us: Where the window begins, :math:`t_0`, in µs.
        most: Clip counts to this, :math:`m`: 1 makes spikes. None clips where the dtype ends: 255
            for uint8.
        dtype: float32 or uint8.
        maps: For each recording, where each site of the sensor goes, int32 ``(sites,)``:
            ``frame_sites`` drops it as cropped, ``frame_sites + 1`` as moved. None leaves them.
        frame_sites: Sites of a frame; None takes those of the sensor.
        out: Where the frames go, contiguous and of this shape and dtype; None takes new memory.

    Raises:
        ArgumentError: A number is out of range, or a dtype is none of these.
        DataError: An event is outside the sensor.

    Example:
        >>> t, site = np.array([0, 150, 200], "u4"), np.array([3, 3, 0], "u2")
        >>> out, counts = frames([(t, site)], sites=4, num_steps=2, duration_us=200)
        >>> out[:, 0].tolist(), int(counts.kept[0]), int(counts.after[0])
        ([[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]], 2, 1)
    """
    frame_sites = sites if frame_sites is None else frame_sites
    if dtype not in _MOST:
        raise ArgumentError(f"dtype is {dtype}; it has to be torch.float32 or torch.uint8")
    highest = _MOST[dtype]
    most = highest if most is None else most
    if not (
        1 <= most <= highest
        and sites >= 1
        and 1 <= frame_sites < 2**30
        and 1 <= num_steps < 2**24
        and 1 <= duration_us < 2**38
        and 0 <= start_us < 2**38
    ):
        raise ArgumentError(
            f"sites is {sites}, {frame_sites} in a frame, num_steps {num_steps}, duration_us "
            f"{duration_us}, start_us {start_us}, most {most}; they have to be at least 1 "
            f"(start_us 0), num_steps below 2**24, times below 2**38 and most at most {highest}"
        )
    _check_maps(maps, len(recordings), sites, frame_sites)
    pairs: Sequence[Recording] = recordings
    if not isinstance(pairs, Located):
        pairs = [contiguous(t, site) for t, site in recordings]
    task = _Task(sites, frame_sites, num_steps, duration_us, start_us, most, dtype)
    shape = (num_steps, len(pairs), frame_sites)
    if out is None:
        out = native.empty(shape, dtype)
    elif out.shape != shape or out.dtype != dtype or not out.is_contiguous():
        raise ArgumentError(f"out is {out.dtype} {tuple(out.shape)}; it has to be {dtype} {shape}")
    work = _native if native.library() is not None and pairs else _reference
    fates = work(pairs, maps, task, out)
    if fates[:, _UNSORTED].any():
        fates = work([in_order(*pair) for pair in pairs], maps, task, out)
    if fates[:, _FOREIGN].any():
        where = int(fates[:, _FOREIGN].argmax())
        raise DataError(
            f"recording {where} of the batch has an event at site {pairs[where][1].max()}, beyond "
            f"site {sites - 1}; the recording is of another sensor"
        )
    return out, FrameCounts(*fates.T[: _MASKED + MASKS])


def _check_maps(maps: Sequence[SiteMap] | None, count: int, sites: int, frame_sites: int) -> None:
    if maps is None:
        if frame_sites != sites:
            raise ArgumentError(
                f"a frame has {frame_sites} sites and the sensor {sites}; maps have to say which "
                "site goes where"
            )
        return
    if len(maps) != count:
        raise ArgumentError(f"there are {len(maps)} maps for {count} recordings; give one each")
    for site_map in maps:
        if _VALID.get((id(site_map), sites, frame_sites)) is site_map:
            continue
        if (
            site_map.dtype != np.int32
            or site_map.shape != (sites,)
            or not site_map.flags.c_contiguous
            # Unsigned, what is below 0 is large.
            or int(site_map.view(np.uint32).max()) >= frame_sites + MASKS
        ):
            raise ArgumentError(
                f"a map is {site_map.dtype} {site_map.shape}; it has to be int32 ({sites},) with "
                f"values in 0 … {frame_sites + MASKS - 1}"
            )
        if not site_map.flags.writeable and site_map.base is None:
            _VALID[id(site_map), sites, frame_sites] = site_map


def contiguous(t: npt.NDArray[Any], site: npt.NDArray[Any]) -> Recording:
    """Return times and sites as the kernels read them, or refuse another dtype or shape."""
    # Comparing characters is the quickest, and what a store gives passes.
    if t.dtype.char == "I" and site.dtype.char in "HI" and t.shape == site.shape:
        if t.flags.c_contiguous and site.flags.c_contiguous:
            return t, site
    elif t.dtype != np.uint32 or site.dtype not in (np.uint16, np.uint32) or t.shape != site.shape:
        raise ArgumentError(
            f"a recording has times {t.dtype} {t.shape} and sites {site.dtype} {site.shape}; they "
            "have to be uint32, and uint16 or uint32 of the same length"
        )
    return np.ascontiguousarray(t), np.ascontiguousarray(site)


def in_order(t: npt.NDArray[Any], site: npt.NDArray[Any]) -> Recording:
    """Return the events sorted by time; those of the same time keep their order."""
    order = np.argsort(t, kind="stable")
    return t[order], site[order]


def _addresses(arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.uint64]:
    return np.array([a.__array_interface__["data"][0] for a in arrays], dtype=np.uint64)


def _native(
    pairs: Sequence[Recording], maps: Sequence[SiteMap] | None, task: _Task, out: Tensor
) -> npt.NDArray[np.int64]:
    batch = len(pairs)
    if isinstance(pairs, Located):
        size, events = pairs.dtype.itemsize, pairs.events
        times, where = pairs.addresses()
    else:
        size = max(site.itemsize for _, site in pairs)
        if any(site.itemsize != size for _, site in pairs):
            pairs = [(t, site.astype(f"u{size}", copy=False)) for t, site in pairs]
        times, where = _addresses([t for t, _ in pairs]), _addresses([site for _, site in pairs])
        events = np.array([len(t) for t, _ in pairs], dtype=np.int64)
    fates = np.empty((batch, _FATES), dtype=np.int64)
    places = None if maps is None else _addresses(maps)
    args = _Frames(
        batch,
        task.num_steps,
        task.sites,
        task.sensor,
        task.start_us,
        task.duration_us,
        task.most,
        size,
        task.dtype == torch.uint8,
        isinstance(pairs, Located) and pairs.in_order,
        out.nbytes >= _STREAM_FROM,
        times.ctypes.data,
        where.ctypes.data,
        None if places is None else places.ctypes.data,
        events.ctypes.data,
        out.data_ptr(),
        fates.ctypes.data,
    )
    library: Any = native.library()
    library.snp_frames(ctypes.byref(args), torch.get_num_threads())
    return fates


def _reference(
    pairs: Sequence[Recording], maps: Sequence[SiteMap] | None, task: _Task, out: Tensor
) -> npt.NDArray[np.int64]:
    num_steps, sites = task.num_steps, task.sites
    fates = np.zeros((len(pairs), _FATES), dtype=np.int64)
    for b, (t, site) in enumerate(pairs):
        if (site >= task.sensor).any():
            fates[b, _FOREIGN] = 1
            continue
        u = t.astype(np.int64) - task.start_us
        before, after = u < 0, u >= task.duration_us
        inside = ~before & ~after
        where = site[inside].astype(np.int64) if maps is None else maps[b][site[inside]]
        shown = where < sites
        bins = u[inside][shown] * num_steps // task.duration_us * sites + where[shown]
        counts = np.bincount(bins, minlength=num_steps * sites)
        kept = np.minimum(counts, task.most)
        out[:, b] = torch.from_numpy(kept.reshape(num_steps, sites)).to(task.dtype)
        fates[b, :_MASKED] = kept.sum(), before.sum(), after.sum(), counts.sum() - kept.sum()
        fates[b, _MASKED : _MASKED + MASKS] = np.bincount(where[~shown] - sites, minlength=MASKS)
    return fates
