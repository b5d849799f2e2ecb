"""Frames the slow way: one event after the other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from snnplug.data.frames import Framing


def slow_frames(
    events: npt.NDArray[np.void], framing: Framing
) -> tuple[npt.NDArray[np.int64], int]:
    """Return the counts ``(T, P, H, W)`` of one camera recording, and the events outside."""
    frames = np.zeros((framing.num_steps, *framing.frame_shape), dtype=np.int64)
    outside = 0
    for x, y, t, p in events[["x", "y", "t", "p"]].tolist():
        if 0 <= t < framing.duration_us:
            frames[t * framing.num_steps // framing.duration_us, p, y, x] += 1
        else:
            outside += 1
    return (np.minimum(frames, 1) if framing.binary else frames), outside
