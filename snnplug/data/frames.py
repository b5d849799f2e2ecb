"""From events to frames: an absolute window of time in equal bins, no event lost unseen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snnplug.data.addresses import SensorSize, site_dtype
from snnplug.errors import ArgumentError


@dataclass(frozen=True)
class Framing:
    r"""How events become frames: ``num_steps`` equal bins over ``[0, duration_us)``.

    .. math::
        F[k, p, y, x] = \#\{\text{events at } (x, y, p) : \lfloor t\, K / D \rfloor = k\}

    The window is absolute: it does not start at a recording's first event and is not stretched to
    its last, so the same motion falls into the same bins in every recording. Events outside it
    are dropped and counted.

    Args:
        num_steps: Bins :math:`K`, the time steps of the network.
        duration_us: Length :math:`D` of the window, in µs.
        sensor_size: Width, height and polarities of the camera, or the channels alone.
        binary: Clip counts to 1, so that the network's input is spikes.

    Shape:
        - output: ``(num_steps, polarities, height, width)``, or ``(num_steps, channels)``

    Raises:
        ArgumentError: A number is not positive.

    Hardware: binary frames are spikes, an accumulation per synapse; counts above 1 are priced as
    multiplications.

    Example:
        >>> events = np.zeros(3, dtype=[("x", int), ("y", int), ("t", int), ("p", int)])
        >>> events["t"] = 0, 150, 200
        >>> frames, dropped = Framing(num_steps=2, duration_us=200)(events)
        >>> frames[:, 0, 0, 0].tolist(), dropped
        ([1, 1], 1)
    """

    num_steps: int
    duration_us: int
    sensor_size: SensorSize = (34, 34, 2)
    binary: bool = True

    def __post_init__(self) -> None:
        """Check the numbers."""
        site_dtype(self.sensor_size)
        if self.num_steps < 1 or self.duration_us < 1:
            raise ArgumentError(
                f"num_steps is {self.num_steps}, duration_us {self.duration_us}; both have to be "
                "at least 1"
            )

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Polarities, height and width of one frame, or its channels."""
        return self.sensor_size[::-1]

    def __call__(
        self, events: npt.NDArray[np.void]
    ) -> tuple[npt.NDArray[np.uint8 | np.int32], int]:
        """Return the frames and how many events fell outside the window.

        Args:
            events: Structured array with fields x, y, t (µs) and p, or x and t, in any order of
                time.

        Returns:
            Frames ``(T, P, H, W)`` or ``(T, channels)``, uint8 if binary, else int32 counts; and
            the dropped events. Without clipping, ``frames.sum() + dropped == len(events)``.
        """
        inside = (events["t"] >= 0) & (events["t"] < self.duration_us)
        kept = events[inside]
        site = kept["t"].astype(np.int64) * self.num_steps // self.duration_us
        names = ("p", "y", "x") if len(self.sensor_size) == 3 else ("x",)
        for name, count in zip(names, self.frame_shape, strict=True):
            site = site * count + kept[name]
        shape = (self.num_steps, *self.frame_shape)
        size = prod(shape)
        dropped = len(events) - len(kept)
        if self.binary:
            frames = np.zeros(size, dtype=np.uint8)
            frames[site] = 1
            return frames.reshape(shape), dropped
        return np.bincount(site, minlength=size).astype(np.int32).reshape(shape), dropped


def time_first(
    batch: Sequence[tuple[npt.NDArray[np.uint8 | np.int32], int]],
) -> tuple[Tensor, Tensor]:
    """Collate samples into float frames ``(T, B, P, H, W)`` and targets ``(B,)``."""
    frames = torch.from_numpy(np.stack([sample for sample, _ in batch], axis=1))
    return frames.to(torch.float32), torch.tensor([target for _, target in batch])
