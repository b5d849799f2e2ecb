"""One number for where an event happened: column, row and polarity, or channel."""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt

from snnplug.errors import ArgumentError, DataError

#: ``(channels,)`` or ``(width, height, polarities)``.
SensorSize = tuple[int, ...]

_LAST_US = 2**32 - 1
_FIELDS = {1: ("x",), 3: ("x", "y", "p")}


def site_dtype(sensor_size: SensorSize) -> np.dtype[np.unsignedinteger]:
    """Return the smallest of uint16 and uint32 that numbers the sensor's sites.

    Raises:
        ArgumentError: The size has neither one nor three axes, or an axis is below 1.
    """
    if len(sensor_size) not in _FIELDS or min(sensor_size) < 1 or prod(sensor_size) > 2**32:
        raise ArgumentError(
            f"sensor_size is {sensor_size}; it has to be (channels,) or (width, height, "
            "polarities), each at least 1"
        )
    return np.dtype("<u2" if prod(sensor_size) <= 2**16 else "<u4")


def encode_events(
    events: npt.NDArray[np.void], sensor_size: SensorSize, origin: str
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.unsignedinteger]]:
    r"""Return time and site of each event in order of time.

    .. math::
        s = (p\,H + y)\,W + x

    or the channel ``x`` alone on a sensor of one axis. Events that come out of order are sorted;
    those of the same time keep their order.

    Args:
        events: Structured array with fields t (µs) and x, and y and p on a camera.
        sensor_size: ``(channels,)`` or ``(width, height, polarities)``.
        origin: Where the events come from, for the error.

    Raises:
        DataError: A field is missing, an address or polarity is outside the sensor, or a time
            below 0 or beyond 32 bits.
    """
    dtype = site_dtype(sensor_size)
    names = _FIELDS[len(sensor_size)]
    missing = {"t", *names} - set(events.dtype.names or ())
    if missing:
        raise DataError(
            f"{origin}: events have the fields {events.dtype.names}, not "
            f"{', '.join(sorted(missing))}; rename or add them"
        )
    site = np.zeros(len(events), dtype=np.int64)
    for name, size in zip(reversed(names), reversed(sensor_size), strict=True):
        value = events[name]
        inside = (value >= 0) & (value < size)
        if not inside.all():
            where = int(inside.argmin())
            raise DataError(
                f"{origin}: event {where} has {name} = {value[where]}, not in 0 … {size - 1}"
                "; the file is corrupt or of another sensor"
            )
        site = site * size + value.astype(np.int64)
    time = events["t"]
    inside = (time >= 0) & (time <= _LAST_US)
    if not inside.all():
        where = int(inside.argmin())
        raise DataError(
            f"{origin}: event {where} is at {time[where]} µs, not in 0 … {_LAST_US}; give times in "
            "µs from the start of the recording"
        )
    if (time[1:] < time[:-1]).any():
        order = np.argsort(time, kind="stable")
        time, site = time[order], site[order]
    return time.astype("<u4"), site.astype(dtype)


def decode_events(
    t: npt.NDArray[np.uint32], site: npt.NDArray[np.unsignedinteger], sensor_size: SensorSize
) -> npt.NDArray[np.void]:
    """Return a structured array with fields x, y, t, p (x, t on a sensor of one axis), int64."""
    names = _FIELDS[len(sensor_size)]
    order = ("x", "t") if len(names) == 1 else ("x", "y", "t", "p")
    events = np.empty(len(t), dtype=[(name, np.int64) for name in order])
    events["t"] = t
    rest = site.astype(np.int64)
    for name, size in zip(names, sensor_size, strict=True):
        rest, events[name] = np.divmod(rest, size)
    return events
