"""Events of a camera, and what is wrong with some."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from snnplug.errors import DataError

#: One event, as tonic has it: column, row, time in µs, polarity (1 for ON, 0 for OFF).
EVENT_DTYPE = np.dtype([("x", np.int64), ("y", np.int64), ("t", np.int64), ("p", np.int64)])


def check_events(
    events: npt.NDArray[np.void], sensor_size: tuple[int, int, int], origin: str
) -> npt.NDArray[np.void]:
    """Return the events, or say what is wrong with them and where they came from.

    Raises:
        DataError: An address or polarity is outside the sensor, or time runs backwards.
    """
    for name, size in zip(("x", "y", "p"), sensor_size, strict=True):
        outside = (events[name] < 0) | (events[name] >= size)
        if outside.any():
            where = int(outside.argmax())
            raise DataError(
                f"{origin}: event {where} has {name} = {events[name][where]}, not in 0 … {size - 1}"
                "; the file is corrupt or of another sensor"
            )
    if events["t"].size and events["t"][0] < 0:
        raise DataError(f"{origin}: the first timestamp is {events['t'][0]} µs, before 0")
    backwards = np.diff(events["t"]) < 0
    if backwards.any():
        where = int(backwards.argmax()) + 1
        raise DataError(
            f"{origin}: event {where} at {events['t'][where]} µs comes after one at "
            f"{events['t'][where - 1]} µs; sort the events by time"
        )
    return events
