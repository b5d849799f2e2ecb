"""One recording to look at: frames, and the events over time; in the terminal or as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snnplug.data.store import EventStore
from snnplug.errors import ArgumentError, DataError, MissingExtraError

_SHADES = " ░▒▓█"
_COLUMNS, _ROWS = 78, 16


def draw(
    store: EventStore, index: int, num_frames: int = 6, classes: Sequence[str] | None = None
) -> str:
    """Return a recording as text: frames side by side (of a camera), then events over time.

    Each character is a patch of pixels, or of sites and time; the darker, the more events.

    Args:
        store: The recordings.
        index: Which one.
        num_frames: Frames that share its time equally.
        classes: Name of each class.

    Raises:
        ArgumentError: ``num_frames`` is below 1.
        DataError: The recording is damaged.

    Example:
        >>> import tempfile
        >>> from snnplug.data.packing import pack
        >>> events = np.zeros(9, dtype=[("t", int), ("x", int)])
        >>> store = pack([(events, 1)], tempfile.mkdtemp() + "/a.events", (64,), {})
        >>> print(draw(store, 0).splitlines()[0])
        recording 0: class 1, 9 events in 0 ms
    """
    counts = _counts(store, index, num_frames)
    lines = [_headline(store, index, classes)]
    if counts.ndim == 4:
        height, width = counts.shape[2:]
        across = max(1, (_COLUMNS - num_frames) // num_frames)
        # A character is twice as high as it is wide.
        cut = min(across, width)
        pictures = [
            _shade(_patches(frame, max(1, height * cut // width // 2), cut))
            for frame in counts.sum(axis=1)
        ]
        lines += ["", *(" ".join(row) for row in zip(*pictures, strict=True))]
    t, site = store.arrays(index)
    sites = int(np.prod(store.sensor_size))
    last = int(t[-1]) + 1 if len(t) else 1
    raster = np.zeros((min(_ROWS, sites), _COLUMNS), dtype=np.int64)
    rows = site.astype(np.int64) * len(raster) // sites
    np.add.at(raster, (rows, t.astype(np.int64) * _COLUMNS // last), 1)
    lines += ["", *_shade(raster), f"0 ms{last / 1000:>{_COLUMNS - 7}.0f} ms"]
    return "\n".join(lines)


def plot(
    store: EventStore,
    index: int,
    num_frames: int = 6,
    classes: Sequence[str] | None = None,
    path: str | Path = "recording.png",
) -> None:
    """Write a picture of a recording: frames (ON red, OFF blue), then every event over time.

    Args:
        store: The recordings.
        index: Which one.
        num_frames: Frames that share its time equally.
        classes: Name of each class.
        path: The file; its ending chooses the format.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ArgumentError: ``num_frames`` is below 1, or the ending is unknown.
        DataError: The recording is damaged, or the file cannot be written.
    """
    counts = _counts(store, index, num_frames)
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "a picture needs matplotlib; install snnplug[viz], or leave --out away"
        ) from error
    figure = Figure(figsize=(9, 5 if counts.ndim == 4 else 3), layout="constrained")
    figure.suptitle(_headline(store, index, classes))
    grid = figure.add_gridspec(2 if counts.ndim == 4 else 1, num_frames)
    if counts.ndim == 4:
        most = max(1, int(counts.max()))
        for k, frame in enumerate(counts):
            axes = figure.add_subplot(grid[0, k])
            axes.imshow(frame[-1] - frame[0], cmap="coolwarm", vmin=-most, vmax=most)
            axes.set_axis_off()
    t, site = store.arrays(index)
    axes = figure.add_subplot(grid[-1, :])
    axes.scatter(t / 1000, site, s=0.3, c="black", linewidths=0)
    axes.set(xlabel="time (ms)", ylabel="site", ylim=(-0.5, np.prod(store.sensor_size) - 0.5))
    try:
        figure.savefig(path, dpi=120)
    except ValueError as error:
        raise ArgumentError(f"cannot draw {path}: {error}") from error
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error


def _headline(store: EventStore, index: int, classes: Sequence[str] | None) -> str:
    label = int(store.labels[index])
    known = classes is not None and 0 <= label < len(classes)
    name = classes[label] if classes is not None and known else f"{label}"
    count, last = int(store.num_events[index]), max(0, int(store.last_us[index]))
    return f"recording {index}: class {name}, {count:,} events in {last / 1000:g} ms"


def _counts(store: EventStore, index: int, num_frames: int) -> npt.NDArray[np.int64]:
    """Return ``(T, P, H, W)`` or ``(T, channels)`` over the recording's own time."""
    if num_frames < 1:
        raise ArgumentError(f"the number of frames is {num_frames}; it has to be at least 1")
    t, site = store.arrays(index)
    sites = int(np.prod(store.sensor_size))
    last = int(t[-1]) + 1 if len(t) else 1
    bins = t.astype(np.int64) * num_frames // last * sites + site
    counts = np.bincount(bins, minlength=num_frames * sites)
    return counts.reshape(num_frames, *store.sensor_size[::-1])


def _patches(frame: npt.NDArray[Any], rows: int, columns: int) -> npt.NDArray[np.int64]:
    """Sum a frame over ``rows`` times ``columns`` patches of nearly equal size."""
    for axis, parts in ((0, rows), (1, columns)):
        starts = np.arange(parts) * frame.shape[axis] // parts
        frame = np.add.reduceat(frame, starts, axis=axis)
    return frame


def _shade(counts: npt.NDArray[np.int64]) -> list[str]:
    most = max(1, int(counts.max(initial=0)))
    levels = -(-counts * (len(_SHADES) - 1) // most)
    return ["".join(_SHADES[level] for level in row) for row in levels.tolist()]
