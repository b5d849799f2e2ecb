"""Reading recordings in the N-MNIST format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from snnplug.data.addresses import decode_events, site_dtype
from snnplug.data.events import EVENT_DTYPE, check_events
from snnplug.errors import DataError
from snnplug.kernels.event_parse import EVENT_BYTES, Parsed, event_fields, parse_events


def read_arrays(path: str | Path, sensor_size: tuple[int, int, int] = (34, 34, 2)) -> Parsed:
    """Read times (µs) and sites of one recording in the N-MNIST format, and refuse a damaged one.

    Five bytes an event: x, y, then one bit of polarity and 23 bits of time in µs.

    Args:
        path: The ``.bin`` file.
        sensor_size: Width, height and polarities of the camera.

    Raises:
        DataError: The file cannot be read, is empty, truncated, or holds an address outside the
            sensor or a timestamp earlier than the one before.
    """
    try:
        with open(path, "rb", buffering=0) as file:  # sooner than np.fromfile
            raw = np.frombuffer(file.readall(), dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if raw.size == 0:
        raise DataError(f"{path} is empty; download or copy it again")
    if raw.size % EVENT_BYTES:
        raise DataError(
            f"{path} is truncated: {raw.size} bytes are no multiple of {EVENT_BYTES}; "
            "download or copy it again"
        )
    parsed = parse_events(raw, sensor_size, site_dtype(sensor_size))
    if isinstance(parsed, int):
        events = np.empty(len(event_fields(raw)[0]), dtype=EVENT_DTYPE)
        for name, values in zip("xytp", event_fields(raw), strict=True):
            events[name] = values
        check_events(events, sensor_size, str(path))
        raise DataError(f"{path}: event {parsed} is at {events['t'][parsed]} µs, beyond 32 bits")
    return parsed


def read_recording(
    path: str | Path, sensor_size: tuple[int, int, int] = (34, 34, 2)
) -> npt.NDArray[np.void]:
    """Read one recording as :func:`read_arrays` does.

    Args:
        path: The ``.bin`` file.
        sensor_size: Width, height and polarities of the camera.

    Returns:
        Events in order of time, a structured array with fields x, y, t (µs) and p.

    Raises:
        DataError: As :func:`read_arrays`.
    """
    return decode_events(*read_arrays(path, sensor_size), sensor_size)
