"""From events to frames: an absolute window of time in equal bins, no event lost unseen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from torch import Tensor

from snnplug.data.addresses import SensorSize, site_dtype
from snnplug.errors import ArgumentError
from snnplug.kernels.frames import FrameCounts, Recording, frames


@dataclass(frozen=True)
class Framing:
    r"""How events become frames: ``num_steps`` equal bins over ``[0, duration_us)``.

    .. math::
        F[k, b, p, y, x] = \#\{\text{events of recording } b \text{ at } (x, y, p) :
        \lfloor t\, K / D \rfloor = k\}

    The window is absolute: it does not start at a recording's first event and is not stretched to
    its last, so the same motion falls into the same bins in every recording. Events outside it
    are dropped and counted.

    Args:
        num_steps: Bins :math:`K`, the time steps of the network.
        duration_us: Length :math:`D` of the window, in µs.
        sensor_size: Width, height and polarities of the camera, or the channels alone.
        binary: Clip counts to 1, so that the network's input is spikes.

    Shape:
        - output: ``(num_steps, B, polarities, height, width)``, or ``(num_steps, B, channels)``

    Raises:
        ArgumentError: A number is not positive.

    Hardware: binary frames are spikes, an accumulation per synapse; counts above 1 are priced as
    multiplications.

    Example:
        >>> import numpy as np
        >>> t, site = np.array([0, 150, 200], "u4"), np.zeros(3, "u2")
        >>> batch, counts = Framing(num_steps=2, duration_us=200)([(t, site)])
        >>> batch[:, 0, 0, 0, 0].tolist(), counts.after.tolist()
        ([1.0, 1.0], [1])
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

    def __call__(self, recordings: Sequence[Recording]) -> tuple[Tensor, FrameCounts]:
        """Return the frames of a batch, float32, and what became of the events.

        Args:
            recordings: Times (uint32, µs) and sites of each, in any order of time, as
                :meth:`~snnplug.data.store.EventStore.arrays` returns them.
        """
        most = 1 if self.binary else None
        out, counts = frames(
            recordings, prod(self.sensor_size), self.num_steps, self.duration_us, most=most
        )
        return out.view(*out.shape[:2], *self.frame_shape), counts
