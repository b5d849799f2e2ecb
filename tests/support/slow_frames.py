"""Frames the slow way: one event after the other."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from snnplug.data.frames import Framing
from snnplug.data.site_maps import STAY, Move


def slow_frames(
    events: npt.NDArray[np.void], framing: Framing, move: Move = STAY
) -> tuple[npt.NDArray[np.int64], Counter[str]]:
    """Return the counts ``(T, P, H, W)`` of one sorted camera recording, and each event's fate."""
    o, fates = framing.options, Counter[str]()
    start, length = framing.window_us
    width, height, _ = framing.sensor_size
    left, top, across, down = o.crop or (0, 0, width, height)
    frames = np.zeros((framing.num_steps, *framing.frame_shape), dtype=np.int64)
    most = o.most or (1 if framing.binary else 255 if o.dtype == "uint8" else 2**24)
    for x, y, t, p in noiseless(events, o.refractory_us, o.background_us, fates):
        x = (width - 1 - x if move.flip else x) + move.dx
        y += move.dy
        step = (t - start) * framing.num_steps // length
        cut_x, cut_y, side = move.cut
        if t < start:
            fates["before"] += 1
        elif t >= start + length:
            fates["after"] += 1
        elif not (0 <= x < width and 0 <= y < height) or (
            cut_x <= x < cut_x + side and cut_y <= y < cut_y + side
        ):
            fates["moved"] += 1
        elif not (left <= x < left + across and top <= y < top + down):
            fates["cropped"] += 1
        else:
            place = (
                step,
                0 if o.merge_polarities else p,
                (y - top) // o.downsample,
                (x - left) // o.downsample,
            )
            if frames[place] < most:
                frames[place] += 1
                fates["kept"] += 1
            else:
                fates["clipped"] += 1
    return frames, fates


def noiseless(
    events: npt.NDArray[np.void], refractory_us: int, background_us: int, fates: Counter[str]
) -> list[Any]:
    """Return the events left by looking, for each, at all that came before it."""
    if not refractory_us and not background_us:
        return list(events[["x", "y", "t", "p"]].tolist())
    passed: list[Any] = []
    left = []
    for x, y, t, p in events[["x", "y", "t", "p"]].tolist():
        same = [b[2] for b in passed if b[:2] == (x, y)]
        if refractory_us and same and t - same[-1] < refractory_us:
            fates["refractory"] += 1
            continue
        near = [
            b[2] for b in passed if abs(b[0] - x) <= 1 and abs(b[1] - y) <= 1 and b[:2] != (x, y)
        ]
        passed.append((x, y, t, p))
        if background_us and not (near and t - near[-1] <= background_us):
            fates["isolated"] += 1
            continue
        left.append((x, y, t, p))
    return left
