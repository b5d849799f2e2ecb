"""From events to frames: an absolute window of time in equal bins, no event lost unseen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import prod
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snnplug.data.addresses import SensorSize, site_dtype
from snnplug.data.augmentation import Augmentation
from snnplug.data.saccades import SaccadeCamera
from snnplug.data.site_maps import STAY, Crop, Layout, Move, site_map
from snnplug.errors import ArgumentError
from snnplug.kernels.event_filter import filter_events
from snnplug.kernels.frames import frames
from snnplug.kernels.located import Recording

_US_PER_MS = 1_000
_DTYPES = {"float32": torch.float32, "uint8": torch.uint8}


class EventCounts(NamedTuple):
    """What became of the events: one number per recording and fate, int64 ``(B,)``.

    For each recording they add up to its events. ``clipped`` are beyond the highest value,
    ``moved`` left the sensor by augmentation or stabilisation, ``isolated`` had no neighbour,
    ``thinned`` were dropped at random by augmentation.
    """

    kept: npt.NDArray[np.int64]
    before: npt.NDArray[np.int64]
    after: npt.NDArray[np.int64]
    clipped: npt.NDArray[np.int64]
    cropped: npt.NDArray[np.int64]
    moved: npt.NDArray[np.int64]
    refractory: npt.NDArray[np.int64]
    isolated: npt.NDArray[np.int64]
    thinned: npt.NDArray[np.int64]

    @property
    def dropped(self) -> npt.NDArray[np.int64]:
        """All that were not kept."""
        total: npt.NDArray[np.int64] = sum(self[1:], np.zeros_like(self.kept))
        return total


@dataclass(frozen=True)
class FrameOptions:
    """How events become frames, beyond the number of bins and the window.

    Args:
        start_us: Where the window begins, in µs.
        dt_us: Width of a bin, in µs; the window is then ``num_steps * dt_us`` long. None divides
            ``duration_us`` into equal bins.
        variable_length: A batch ends with its last event, and says how many steps each of its
            recordings has.
        most: Clip counts to this; None lets ``binary`` decide: 1, or no limit.
        crop: Left column, top row, width and height of the part shown, in pixels; None shows all.
        downsample: Side of the square of pixels that are added up.
        merge_polarities: Add both polarities up.
        refractory_us: Drop an event less than this after the last one of its pixel; 0 keeps all.
        background_us: Drop an event without one in the eight pixels around it in the time before;
            0 keeps all.
        stabilize: Take N-MNIST's saccades out: each event is moved back by the picture's path.
        dtype: ``"uint8"`` is loaded faster, and widened on the device that trains; counts end at
            255.
    """

    start_us: int = 0
    dt_us: int | None = None
    variable_length: bool = False
    most: int | None = None
    crop: Crop | None = None
    downsample: int = 1
    merge_polarities: bool = False
    refractory_us: int = 0
    background_us: int = 0
    stabilize: bool = False
    dtype: Literal["float32", "uint8"] = "float32"


@dataclass(frozen=True)
class Framing:
    r"""How events become frames: ``num_steps`` equal bins over ``duration_us``.

    .. math::
        F[k, b, p, y, x] = \min\bigl(m,\; \#\{\text{events of recording } b \text{ at } (x, y, p) :
        \lfloor (t - t_0)\, K / D \rfloor = k\}\bigr)

    The window is absolute: it does not start at a recording's first event and is not stretched to
    its last, so the same motion falls into the same bins in every recording. Events outside it
    are dropped and counted.

    Args:
        num_steps: Bins :math:`K`, the time steps of the network.
        duration_us: Length :math:`D` of the window, in µs.
        sensor_size: Width, height and polarities of the camera, or the channels alone.
        binary: Clip counts to 1, so that the network's input is spikes.
        options: All else.

    Shape:
        - output: ``(num_steps, B, polarities, height, width)``, or ``(num_steps, B, channels)``

    Raises:
        ArgumentError: A number is out of range.

    Hardware: binary frames are spikes, an accumulation per synapse; counts above 1 are priced as
    multiplications.

    Example:
        >>> t, site = np.array([0, 150, 200], "u4"), np.zeros(3, "u2")
        >>> batch, counts, _ = Framing(num_steps=2, duration_us=200)([(t, site)])
        >>> batch[:, 0, 0, 0, 0].tolist(), counts.after.tolist()
        ([1.0, 1.0], [1])
    """

    num_steps: int
    duration_us: int
    sensor_size: SensorSize = (34, 34, 2)
    binary: bool = True
    options: FrameOptions = field(default_factory=FrameOptions)

    def __post_init__(self) -> None:
        """Check the numbers."""
        site_dtype(self.sensor_size)
        o = self.options
        if self.num_steps < 1 or self.duration_us < 1 or o.start_us < 0:
            raise ArgumentError(
                f"num_steps is {self.num_steps}, duration_us {self.duration_us}, start_us "
                f"{o.start_us}; they have to be at least 1, 1 and 0"
            )
        for name, value, least in (("dt_us", o.dt_us, 1), ("most", o.most, 1)):
            if value is not None and value < least:
                raise ArgumentError(f"{name} is {value}; it has to be at least {least}, or null")
        if o.dtype not in _DTYPES or min(o.refractory_us, o.background_us) < 0:
            raise ArgumentError(
                f"dtype is {o.dtype!r}, refractory_us {o.refractory_us}, background_us "
                f"{o.background_us}; accepted are float32 or uint8, and times of at least 0"
            )
        if o.stabilize and self.sensor_size != (34, 34, 2):
            raise ArgumentError(
                f"stabilize takes the saccades of N-MNIST out, of 34 x 34 x 2 pixels; the sensor "
                f"has {self.sensor_size}: leave it away"
            )
        _ = self.layout

    @cached_property
    def layout(self) -> Layout:
        """The part of the sensor that a frame shows."""
        o = self.options
        return Layout(self.sensor_size, o.crop, o.downsample, o.merge_polarities)

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Polarities, height and width of one frame, or its channels."""
        return self.layout.frame_shape

    @cached_property
    def window_us(self) -> tuple[int, int]:
        """Start and length of the window."""
        o = self.options
        length = self.duration_us if o.dt_us is None else self.num_steps * o.dt_us
        return o.start_us, length

    def __call__(
        self,
        recordings: Sequence[Recording],
        augmentation: Augmentation | None = None,
        draws: Callable[[int], np.random.Generator] | None = None,
        out: Tensor | None = None,
    ) -> tuple[Tensor, EventCounts, npt.NDArray[np.int64]]:
        """Return the frames of a batch, what became of the events, and the steps of each recording.

        Args:
            recordings: Times (uint32, µs) and sites of each, as
                :meth:`~snnplug.data.store.EventStore.arrays` returns them.
            augmentation: Applied where there are ``draws``, once the events are free of noise.
            draws: Gives what is drawn from, for the recording of this place in the batch.
            out: Where the frames go, flat and of their number and dtype; None takes new memory.
        """
        ready: Sequence[Recording] = recordings
        moves: Sequence[Move] | None = None
        lost = np.zeros((4, len(recordings)), dtype=np.int64)
        o, draws = self.options, None if augmentation is None else draws
        # Where they keep their events, the recordings need not be made objects one by one.
        if o.refractory_us or o.background_us or o.stabilize:
            ready, moves, lost = self._changed(recordings, augmentation, draws)
        elif draws and augmentation is not None and augmentation.is_moving_only:
            moves = [augmentation.move(self.layout, draws(b)) for b in range(len(recordings))]
        elif draws:
            ready, moves, lost = self._changed(recordings, augmentation, draws)
        refractory, isolated, unstable, thinned = lost
        out, counts = self._framed(ready, moves, out)
        kept, before, after, clipped, cropped, moved = counts
        moved = moved + unstable
        fates = EventCounts(
            kept, before, after, clipped, cropped, moved, refractory, isolated, thinned
        )
        lengths = self._lengths(ready) if o.variable_length else _full(ready, self.num_steps)
        return out.view(*out.shape[:2], *self.frame_shape), fates, lengths

    def _changed(
        self,
        recordings: Sequence[Recording],
        augmentation: Augmentation | None,
        draws: Callable[[int], np.random.Generator] | None,
    ) -> tuple[list[Recording], list[Move], npt.NDArray[np.int64]]:
        """Return recordings free of noise and augmented, their moves, and what they lost to what.

        That is: events within the refractory period, isolated, moved out and thinned, ``(4, B)``.
        """
        ready, moves = list(recordings), [STAY] * len(recordings)
        lost = refractory, isolated, unstable, thinned = np.zeros((4, len(ready)), dtype=np.int64)
        o = self.options
        for b, recording in enumerate(ready):
            if o.refractory_us or o.background_us:
                recording, refractory[b], isolated[b] = self._filtered(recording)
            if o.stabilize:
                recording, unstable[b] = _stabilized(recording)
            if augmentation is not None and draws is not None:
                recording, thinned[b], moves[b] = augmentation(
                    recording, self.layout, self.window_us, draws(b)
                )
            ready[b] = recording
        return ready, moves, lost

    def _lengths(self, recordings: Sequence[Recording]) -> npt.NDArray[np.int64]:
        """Return how many steps each recording has up to its last event in the window."""
        start, length = self.window_us
        found = np.ones(len(recordings), dtype=np.int64)
        for b, (t, _) in enumerate(recordings):
            inside = int(np.searchsorted(t, start + length))
            if inside and t[inside - 1] >= start:
                found[b] = (int(t[inside - 1]) - start) * self.num_steps // length + 1
        return found

    def _framed(
        self, recordings: Sequence[Recording], moves: Sequence[Move] | None, out: Tensor | None
    ) -> Any:
        layout, (start, length) = self.layout, self.window_us
        if moves is None or all(move == STAY for move in moves):
            moves = None if layout.is_plain else [STAY] * len(recordings)
        most = self.options.most
        if most is None and self.binary:
            most = 1
        return frames(
            recordings,
            prod(self.sensor_size),
            self.num_steps,
            length,
            start,
            most,
            _DTYPES[self.options.dtype],
            None if moves is None else [site_map(layout, move) for move in moves],
            prod(self.frame_shape),
            None if out is None else out.view(self.num_steps, len(recordings), -1),
        )

    def _filtered(self, recording: Recording) -> tuple[Recording, int, int]:
        width, height, _ = self.layout.axes
        o = self.options
        return filter_events(recording, width, height, o.refractory_us, o.background_us)


def _full(recordings: Sequence[Recording], num_steps: int) -> npt.NDArray[np.int64]:
    return np.full(len(recordings), num_steps, dtype=np.int64)


@lru_cache(maxsize=1)
def _picture_path() -> npt.NDArray[np.int64]:
    """Return where the picture of an N-MNIST recording is, in pixels, for each ms: ``(ms, 2)``."""
    camera = SaccadeCamera()
    path = np.asarray(camera.path_px)
    at = np.linspace(0, camera.duration_us, len(path))
    ms = np.arange(camera.duration_us // _US_PER_MS) * _US_PER_MS
    found = np.stack([np.rint(np.interp(ms, at, axis)) for axis in path.T], axis=1)
    return found.astype(np.int64)


def _stabilized(recording: Recording) -> tuple[Recording, int]:
    """Move each event back by where the picture is, and count those that leave the sensor."""
    t, site = recording
    path = _picture_path()
    dx, dy = path[np.minimum(t // _US_PER_MS, len(path) - 1)].T
    row, x = np.divmod(site.astype(np.int64), 34)
    p, y = np.divmod(row, 34)
    x, y = x - dx, y - dy
    inside = (x >= 0) & (x < 34) & (y >= 0) & (y < 34)
    moved = ((p * 34 + y) * 34 + x)[inside].astype(site.dtype)
    return (t[inside], moved), int(len(t) - len(moved))
