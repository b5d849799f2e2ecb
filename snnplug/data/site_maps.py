"""Where each site of a sensor goes in a frame: cropped, reduced, merged, moved, mirrored or cut."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from snnplug.data.addresses import SensorSize
from snnplug.errors import ArgumentError

Crop = tuple[int, int, int, int]


class Move(NamedTuple):
    """What augmentation does to the place of a recording's events, in pixels of the sensor."""

    dx: int = 0
    dy: int = 0
    flip: bool = False
    #: Left column, top row and side of a square whose events are lost; a side of 0 is none.
    cut: tuple[int, int, int] = (0, 0, 0)


STAY = Move()


@dataclass(frozen=True)
class Layout:
    """The part of a sensor that a frame shows, and how finely.

    Args:
        sensor_size: Width, height and polarities, or the channels alone.
        crop: Left column, top row, width and height of the part shown; None shows all. On channels
            the row is 0 and the height 1.
        downsample: Side of the square of pixels that are added up, or the number of channels.
        merge_polarities: Add both polarities up.

    Raises:
        ArgumentError: The crop is not within the sensor, or ``downsample`` is below 1.
    """

    sensor_size: SensorSize
    crop: Crop | None = None
    downsample: int = 1
    merge_polarities: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        width, height, _ = self.axes
        left, top, across, down = self.shown
        if not (0 <= left < left + across <= width and 0 <= top < top + down <= height):
            raise ArgumentError(
                f"crop is {self.crop}: left, top, width and height have to lie within the sensor "
                f"of {width} x {height}"
            )
        if self.downsample < 1:
            raise ArgumentError(f"downsample is {self.downsample}; it has to be at least 1")

    # Asked for with each batch, some of them for each recording.
    @cached_property
    def axes(self) -> tuple[int, int, int]:
        """Width, height and polarities; channels are a row of one polarity."""
        if len(self.sensor_size) == 1:
            return self.sensor_size[0], 1, 1
        width, height, polarities = self.sensor_size
        return width, height, polarities

    @property
    def shown(self) -> Crop:
        """The crop, or the whole sensor."""
        width, height, _ = self.axes
        return self.crop or (0, 0, width, height)

    @cached_property
    def frame_shape(self) -> tuple[int, ...]:
        """Polarities, height and width of one frame, or its channels."""
        _, _, across, down = self.shown
        width, height = -(-across // self.downsample), -(-down // self.downsample)
        if len(self.sensor_size) == 1:
            return (width,)
        return (1 if self.merge_polarities else self.axes[2]), height, width

    @cached_property
    def is_plain(self) -> bool:
        """Whether every site stays where it is."""
        return self == Layout(self.sensor_size)


@lru_cache(maxsize=512)
def site_map(layout: Layout, move: Move = STAY) -> npt.NDArray[np.int32]:
    """Return where each site goes, for :func:`~snnplug.kernels.frames.frames`.

    Mirrored first, then moved, cut, cropped and reduced. With :math:`S` sites in a frame, what is
    moved out of the sensor or cut goes to :math:`S + 1`, the rest of what is outside the crop to
    :math:`S`.

    Args:
        layout: The part of the sensor that is shown.
        move: What augmentation does.

    Example:
        >>> site_map(Layout((4,), crop=(1, 0, 2, 1))).tolist()
        [2, 0, 1, 2]
        >>> site_map(Layout((4,)), Move(dx=1)).tolist()
        [1, 2, 3, 5]
    """
    width, height, polarities = layout.axes
    p, y, x = (a.ravel() for a in np.indices((polarities, height, width)))
    x = (width - 1 - x if move.flip else x) + move.dx
    y = y + move.dy
    left, top, side = move.cut
    lost = (x < 0) | (x >= width) | (y < 0) | (y >= height)
    lost |= (x >= left) & (x < left + side) & (y >= top) & (y < top + side)
    left, top, across, down = layout.shown
    x, y = x - left, y - top
    outside = (x < 0) | (x >= across) | (y < 0) | (y >= down)
    shape = layout.frame_shape if len(layout.frame_shape) == 3 else (1, 1, *layout.frame_shape)
    x, y = x // layout.downsample, y // layout.downsample
    if layout.merge_polarities:
        p = np.zeros_like(p)
    place = (p * shape[1] + y) * shape[2] + x
    sites = int(np.prod(shape))
    place[outside] = sites
    place[lost] = sites + 1
    found: npt.NDArray[np.int32] = place.astype(np.int32)
    found.setflags(write=False)
    return found
