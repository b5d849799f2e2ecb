"""Events that an event camera on a moving mount would record of a still picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from snnplug.data.events import EVENT_DTYPE
from snnplug.errors import DataError
from snnplug.kernels.crossings import crossings

SACCADES = 3  # published: three, along the sides of a triangle
FIELD_PX = 28  # a MNIST digit; one of its pixels covers one sensor pixel (fit: 1.00 to 1.03)
STEPS_PER_SACCADE = 42  # of 2.5 ms; the picture moves 0.4 px at most: linear in between

# Where the picture's centre lies from the sensor's, (x, y) at 21 equal intervals. Fitted: the two
# motors of the mount start and stop at different times, so no straight side fits as well.
_PATH_PX = (
    (-2.45, -1.67), (-2.65, -1.38), (-2.54, -0.74), (-2.72, 1.04), (-2.04, 2.87), (-1.00, 3.61),
    (-0.87, 3.65), (-0.71, 3.36), (-0.52, 3.43), (0.04, 3.18), (1.23, 1.65), (1.55, -0.30),
    (2.18, -1.56), (2.39, -1.70), (2.72, -1.48), (2.94, -1.69), (2.30, -1.63), (0.90, -1.56),
    (-0.80, -1.63), (-1.82, -1.83), (-2.39, -1.85), (-2.42, -1.77),
)  # fmt: skip

_Light = npt.NDArray[np.float32]
_Index = npt.NDArray[np.intp]


#: Counts up whenever the simulation gives other events than before: what was packed is remade.
SIMULATION = 1


@dataclass(frozen=True)
class SaccadeCamera:
    r"""An event camera on a mount that makes three saccades before a still picture.

    The defaults were fitted to recordings of the N-MNIST training set and their MNIST images: path,
    blur, offset and thresholds to 80 of them (counts per 10 ms, polarity and pixel; events per
    5 ms; mean count; share of ON), the refractory time to the intervals at one pixel, the noise to
    pixels far from the digit, ``saccade_us`` to the median last event. Neither a low-pass filter of
    the pixel, nor a gamma curve, nor thresholds that differ between pixels improved the fit enough
    to be kept.

    Args:
        sensor_px: Width and height of the sensor, in pixels.
        path_px: Way points of the picture's centre from the sensor's, equally spaced over the
            recording: (x, y) in pixels, x to the right, y down. Corners are rounded.
        saccade_us: Length of one of the three saccades, in microseconds.
        on_threshold: Rise of log light that makes an ON event.
        off_threshold: Fall of log light that makes an OFF event.
        log_offset: :math:`\varepsilon`, light that falls on a black pixel; white is 1.
        blur_px: Standard deviation of the Gaussian blur of the lens, in pixels; at least 0.5, below
            which the grid of the picture would show.
        refractory_us: Time after an event in which a pixel is blind, in microseconds.
        noise_rate_hz: Events per pixel and second without any change of light; all are ON, as in
            the recordings.

    Raises:
        DataError: A value is outside of its range.

    Example:
        >>> SaccadeCamera(noise_rate_hz=0.0).duration_us
        309000
    """

    sensor_px: int = 34
    path_px: tuple[tuple[float, float], ...] = _PATH_PX
    saccade_us: int = 103_000
    on_threshold: float = 0.256
    off_threshold: float = 0.242
    log_offset: float = 0.091
    blur_px: float = 0.657
    refractory_us: int = 1_000
    noise_rate_hz: float = 0.34

    def __post_init__(self) -> None:
        least = {
            "sensor_px": 1,
            "saccade_us": 1,
            "on_threshold": 0.01,
            "off_threshold": 0.01,
            "log_offset": 1e-6,
            "blur_px": 0.5,
            "refractory_us": 0,
            "noise_rate_hz": 0,
        }
        for name, bound in least.items():
            value = getattr(self, name)
            if not bound <= value < np.inf:
                raise DataError(f"{name} is {value}; give a finite number of at least {bound}")
        path = np.asarray(self.path_px, dtype=np.float64)
        if path.ndim != 2 or len(path) < 2 or path.shape[1] != 2 or not np.isfinite(path).all():
            raise DataError(
                f"path_px has shape {path.shape}; give at least two way points (x, y), all finite"
            )

    @property
    def duration_us(self) -> int:
        """Length of a recording, in microseconds."""
        return SACCADES * self.saccade_us


def simulate_saccades(
    image: npt.ArrayLike,
    camera: SaccadeCamera = SaccadeCamera(),
    *,
    seed: int = 0,
) -> npt.NDArray[np.void]:
    r"""Simulate the recording of one picture with three saccades of an event camera.

    With the picture :math:`I` in [0, 1], Gaussian blur :math:`G` and path :math:`d(t)`, a pixel at
    :math:`u` sees

    .. math::
        L(u, t) = \log\bigl(\varepsilon + 1 - (G * I)(u - d(t))\bigr)

    and fires ON at :math:`L - L_{ref} \ge \theta_{on}`, OFF at
    :math:`L_{ref} - L \ge \theta_{off}`. It is blind for the refractory time that follows, at
    whose end :math:`L_{ref} = L`. At the start :math:`L_{ref}` lies at random within half a
    threshold of :math:`L`. Bright pixels of the picture are dark to the camera: in the recordings
    an edge fires ON where a bright stroke leaves. Background events are a Poisson process.

    Args:
        image: Grey picture, uint8 in 0..255 or float in [0, 1]. Any size: scaled so that its longer
            side spans the 28 pixels of a MNIST digit, aspect kept, centred, zero around it.
        camera: Parameters of the camera and its mount.
        seed: Seed of the initial references and of the noise.

    Returns:
        Events of dtype ``EVENT_DTYPE``, shape :math:`(N,)`, sorted by ``t`` in microseconds, from 0
        up to but without ``camera.duration_us``.

    Shape:
        - image: :math:`(H, W)`, rows from the top
        - output: :math:`(N,)`

    Raises:
        DataError: The image is not 2-D, is empty, of another dtype, not finite or out of range.

    Example:
        >>> bar = np.zeros((8, 8))
        >>> bar[:, 3:5] = 1.0
        >>> events = simulate_saccades(bar, seed=1)
        >>> events.dtype.names, 1_000 < len(events) < 10_000
        (('x', 'y', 't', 'p'), True)

    Reference:
        G. Orchard, A. Jayawant, G. K. Cohen, N. Thakor, "Converting Static Image Datasets to
        Spiking Neuromorphic Datasets Using Saccades", Frontiers in Neuroscience 9:437, 2015.
        Deviates: a simulation, not a recording; the path is fitted to the events, not the
        published motor commands; no flicker of a monitor, no row arbitration of the sensor, no
        differences between pixels or recordings.
    """
    rng = np.random.default_rng(seed)
    field = _field(_checked(image))
    across, down = _projections(camera)
    picture = down @ np.tensordot(field, across, axes=1).transpose(1, 0, 2)
    light = np.maximum(1 - picture.reshape(len(picture), -1).T, 0)
    level = np.log(light + np.float32(camera.log_offset))
    pixel, time_us, is_on = _crossings(level, camera, rng)
    return _with_noise(pixel, time_us, is_on, camera, rng)


def _checked(image: npt.ArrayLike) -> _Light:
    pixels: npt.NDArray[Any] = np.asarray(image)
    remedy = "give a 2-D array, uint8 in 0..255 or float in [0, 1]"
    if pixels.ndim != 2 or pixels.size == 0:
        raise DataError(f"image has shape {pixels.shape}; {remedy}, with at least one pixel")
    if pixels.dtype == np.uint8:
        scaled: _Light = pixels.astype(np.float32) / np.float32(255)
        return scaled
    if not np.issubdtype(pixels.dtype, np.floating):
        raise DataError(f"image has dtype {pixels.dtype}; {remedy}: convert it first")
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high <= 1):  # also false for NaN
        raise DataError(f"image has values from {low} to {high}; {remedy}: rescale it first")
    return pixels.astype(np.float32)


def _field(pixels: _Light) -> _Light:
    """Scale a picture to (FIELD_PX, FIELD_PX), aspect kept, centred, zero around it."""
    longest = max(pixels.shape)
    down, across = (_resize_weights(side, longest) for side in pixels.shape)
    field: _Light = down @ pixels @ across.T
    return field


@lru_cache(maxsize=64)
def _resize_weights(side: int, longest: int) -> _Light:
    """Bilinear weights (FIELD_PX, side); the tent widens when the picture shrinks."""
    step = longest / FIELD_PX
    centre = (np.arange(FIELD_PX) - (FIELD_PX - 1) / 2) * step + (side - 1) / 2
    overlap = np.minimum(centre + step / 2, side - 0.5) - np.maximum(centre - step / 2, -0.5)
    covered = np.maximum(overlap, 0) / step
    distance = np.abs(np.clip(centre, 0, side - 1)[:, None] - np.arange(side))
    tent = np.maximum(1 - distance / max(step, 1.0), 0)
    weights: _Light = (tent * (covered / tent.sum(axis=1))[:, None]).astype(np.float32)
    return weights


@lru_cache(maxsize=8)
def _projections(camera: SaccadeCamera) -> tuple[_Light, _Light]:
    """Weights from field to sensor at each step: (FIELD_PX, T, X) and (T, Y, FIELD_PX)."""
    time = np.linspace(0, len(camera.path_px) - 1, SACCADES * STEPS_PER_SACCADE + 1)
    knots = np.arange(len(camera.path_px))
    pixel = np.arange(camera.sensor_px) - (camera.sensor_px - 1) / 2
    grid = np.arange(FIELD_PX) - (FIELD_PX - 1) / 2
    weights = []
    for way in np.transpose(camera.path_px):
        # The mount has mass: speed does not jump at a way point.
        shift = np.mean([np.interp(time + lag, knots, way) for lag in (-1 / 3, 0, 1 / 3)], axis=0)
        distance = pixel[:, None] - shift[:, None, None] - grid
        gauss = np.exp(-0.5 * (distance / camera.blur_px) ** 2)
        weights.append((gauss / (camera.blur_px * np.sqrt(2 * np.pi))).astype(np.float32))
    across, down = weights
    return np.ascontiguousarray(across.transpose(2, 0, 1)), down


def _crossings(
    level: _Light, camera: SaccadeCamera, rng: np.random.Generator
) -> tuple[_Index, npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Pixel, time and polarity of every event of the levels (P, T), linear between the steps."""
    on, off = np.float32(camera.on_threshold), np.float32(camera.off_threshold)
    least = min(on, off)
    step_us = camera.saccade_us / STEPS_PER_SACCADE
    pixel = np.flatnonzero(np.ptp(level, axis=1) > least / 2)
    level = level[pixel]
    reference = level[:, 0] + least * rng.uniform(-0.5, 0.5, len(pixel)).astype(np.float32)
    which, time, is_on = crossings(level, reference, on, off, camera.refractory_us / step_us)
    return pixel[which], (time * step_us).astype(np.int64), is_on


def _with_noise(
    pixel: _Index,
    time_us: npt.NDArray[np.int64],
    is_on: npt.NDArray[np.bool_],
    camera: SaccadeCamera,
    rng: np.random.Generator,
) -> npt.NDArray[np.void]:
    """Add background events wherever the pixel is not blind, and sort all by time."""
    area = camera.sensor_px**2
    count = rng.poisson(camera.noise_rate_hz * camera.duration_us * 1e-6 * area)
    is_noise = np.arange(len(pixel) + count) >= len(pixel)
    pixel = np.concatenate([pixel, rng.integers(area, size=count)])
    time_us = np.concatenate([time_us, rng.integers(camera.duration_us, size=count)])
    is_on = np.concatenate([is_on, np.ones(count, dtype=np.bool_)])

    order = np.argsort(pixel * camera.duration_us + time_us)
    clash = (np.diff(time_us[order]) < camera.refractory_us) & (np.diff(pixel[order]) == 0)
    blind = np.zeros(len(pixel), dtype=np.bool_)
    blind[order[1:]] = clash
    blind[order[:-1]] |= clash
    keep = np.flatnonzero(~(is_noise & blind) & (time_us < camera.duration_us))
    keep = keep[np.argsort(time_us[keep] * area + pixel[keep], kind="stable")]

    events = np.empty(len(keep), dtype=EVENT_DTYPE)
    events["y"], events["x"] = np.divmod(pixel[keep], camera.sensor_px)
    events["t"] = time_us[keep]
    events["p"] = is_on[keep]
    return events
