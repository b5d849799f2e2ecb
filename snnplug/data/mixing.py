"""Recordings mixed from two: a share of the events of each, or a rectangle of one in the other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snnplug.kernels.frames import in_order
from snnplug.kernels.located import Recording

#: Left column, top row, width and height, in pixels of the sensor.
Rectangle = tuple[int, int, int, int]


class Mixture(NamedTuple):
    """What is drawn for a recording of a batch.

    Args:
        partner: The recording of the store that it is mixed with; itself, where it is not mixed.
        share: What it keeps: of its events, or of the area of the sensor; 1 where it is not mixed.
        place: Where the rectangle is between the left and the right, the upper and the lower edge,
            each from 0 to 1; None where events are mixed at random.
    """

    partner: int
    share: float = 1.0
    place: tuple[float, float] | None = None


def rectangle(mixture: Mixture, axes: tuple[int, int, int]) -> Rectangle:
    r"""Return the rectangle whose share of a sensor's area is nearest to :math:`1 - \lambda`.

    Its sides are to each other as those of the sensor; on channels it is a band of them.

    Args:
        mixture: The share :math:`\lambda` that the recording keeps, and the place.
        axes: Width, height and polarities of the sensor.

    Example:
        >>> rectangle(Mixture(3, 0.75, (0.0, 0.999)), (34, 34, 2))
        (0, 17, 17, 17)
        >>> rectangle(Mixture(3, 0.75, (0.5, 0.0)), (64, 1, 1))
        (24, 0, 16, 1)
    """
    width, height, _ = axes
    area = 1.0 - mixture.share
    side = area if height == 1 else area**0.5
    sides = max(1, round(width * side)), max(1, round(height * side))
    left, top = (
        int(at * (length - part + 1))
        for at, length, part in zip(mixture.place or (0, 0), axes, sides, strict=False)
    )
    return left, top, *sides


def sites_within(area: Rectangle, axes: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """Return whether each site of a sensor is in a rectangle.

    Example:
        >>> sites_within((1, 0, 2, 1), (4, 1, 1)).tolist()
        [False, True, True, False]
    """
    width, height, polarities = axes
    left, top, across, down = area
    inside = np.zeros((polarities, height, width), dtype=np.bool_)
    inside[:, top : top + down, left : left + across] = True
    return inside.ravel()


def mixed(
    recording: Recording, other: Recording, weight: float, rng: np.random.Generator
) -> tuple[Recording, int]:
    """Return a share of one recording's events and the rest of another's, and how many are lost.

    Args:
        recording: Times and sites, in order of time.
        other: Those of the other.
        weight: Chance of each event of the first; of the second, what is missing to 1.
        rng: What is drawn from.

    Example:
        >>> one = np.array([1, 5], "u4"), np.array([0, 0], "u2")
        >>> two = np.array([3], "u4"), np.array([7], "u2")
        >>> (t, site), dropped = mixed(one, two, 1.0, np.random.default_rng(0))
        >>> t.tolist(), dropped
        ([1, 5], 1)
    """
    kept = [
        rng.random(len(t)) < chance
        for (t, _), chance in ((recording, weight), (other, 1.0 - weight))
    ]
    both, _ = _joined((recording, other), kept)
    return both, len(recording[0]) + len(other[0]) - len(both[0])


def cut_mixed(
    recording: Recording, other: Recording, inside: npt.NDArray[np.bool_]
) -> tuple[Recording, int, float]:
    """Return one recording with a part of the sensor from another, and how many events are lost.

    Args:
        recording: Times and sites, in order of time.
        other: Those of the other.
        inside: Whether each site is the other's.

    Returns:
        The events; how many of both are left out; the share of the events that is of the first, 1
        where there is none.

    Example:
        >>> one = np.array([1, 5], "u4"), np.array([0, 3], "u2")
        >>> two = np.array([2, 3], "u4"), np.array([2, 3], "u2")
        >>> (t, site), dropped, share = cut_mixed(one, two, np.array([False, False, True, True]))
        >>> t.tolist(), site.tolist(), dropped, round(share, 2)
        ([1, 2, 3], [0, 2, 3], 1, 0.33)
    """
    both, own = _joined((recording, other), [~inside[recording[1]], inside[other[1]]])
    count = len(both[0])
    return both, len(recording[0]) + len(other[0]) - count, own / count if count else 1.0


def _joined(
    recordings: tuple[Recording, Recording], kept: list[npt.NDArray[np.bool_]]
) -> tuple[Recording, int]:
    """Return the events kept of both, in order of time, and how many are of the first."""
    parts = [(t[k], site[k]) for (t, site), k in zip(recordings, kept, strict=True)]
    t, site = (np.concatenate(both) for both in zip(*parts, strict=True))
    return in_order(t, site), len(parts[0][0])
