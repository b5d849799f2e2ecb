"""Reading recordings in the N-MNIST format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from snnplug.data.events import EVENT_DTYPE, check_events
from snnplug.errors import DataError

_BYTES_PER_EVENT = 5
# In the N-MNIST format an event at this row only says that the clock went on by 2**13 µs.
_OVERFLOW_ROW = 240
_OVERFLOW_US = 2**13


def read_recording(
    path: str | Path, sensor_size: tuple[int, int, int] = (34, 34, 2)
) -> npt.NDArray[np.void]:
    """Read one recording in the N-MNIST format, and refuse a damaged one.

    Five bytes an event: x, y, then one bit of polarity and 23 bits of time in µs.

    Args:
        path: The ``.bin`` file.
        sensor_size: Width, height and polarities of the camera.

    Returns:
        Events in order of time, a structured array with fields x, y, t (µs) and p.

    Raises:
        DataError: The file is empty, truncated, or holds an address outside the sensor or a
            timestamp earlier than the one before.
    """
    raw = np.fromfile(path, dtype=np.uint8)
    if raw.size == 0:
        raise DataError(f"{path} is empty; download or copy it again")
    if raw.size % _BYTES_PER_EVENT:
        raise DataError(
            f"{path} is truncated: {raw.size} bytes are no multiple of {_BYTES_PER_EVENT}; "
            "download or copy it again"
        )
    x, y, high, middle, low = raw.reshape(-1, _BYTES_PER_EVENT).astype(np.int64).T
    overflow = y == _OVERFLOW_ROW
    events = np.empty(x.size, dtype=EVENT_DTYPE)
    events["x"], events["y"], events["p"] = x, y, high >> 7
    events["t"] = ((high & 127) << 16 | middle << 8 | low) + _OVERFLOW_US * np.cumsum(overflow)
    return check_events(events[~overflow], sensor_size, str(path))
