"""Pictures of what passes through a network, with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from snnplug.hardware.report_plot import COLOURS, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]


def plot_raster(spikes: Mapping[str, Array], ax: Axes | None = None) -> Axes:
    """Draw when each neuron spikes, the layers above one another.

    Args:
        spikes: Of each layer, ``(T, N)``; what is not 0 is a spike.
        ax: Where to draw; None makes new axes.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    ax = axes(ax)
    first = 0
    ticks = []
    # About as high as a neuron's share of 300 points, the height of the axes.
    size = min(max(300 / max(sum(spk.shape[1] for spk in spikes.values()), 1), 1), 6)
    for place, (name, spk) in enumerate(spikes.items()):
        step, neuron = np.nonzero(spk)
        shade = COLOURS[place % len(COLOURS)]
        ax.scatter(step, first + neuron, s=size**2, marker="s", color=shade, linewidths=0)
        ticks.append((first + spk.shape[1] / 2, name))
        first += spk.shape[1]
    ax.set_yticks([y for y, _ in ticks], [name for _, name in ticks])
    steps = max((len(spk) for spk in spikes.values()), default=1)
    ax.set(xlabel="time step", xlim=(-0.5, steps - 0.5), ylim=(-0.5, max(first, 1) - 0.5))
    return ax


def plot_frames(frames: Array, num_frames: int = 6) -> Figure:
    """Draw what one sample gives the network.

    Args:
        frames: ``(T, P, H, W)``, two polarities drawn as ON minus OFF; or ``(T, *)``, drawn as
            channels over time.
        num_frames: Pictures of a camera's sample; each is the sum of its share of the steps.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    ax = axes(None)
    figure: Any = ax.figure
    if frames.ndim != 4:
        flat = frames.reshape(len(frames), -1)
        ax.imshow(flat.T, aspect="auto", cmap="Greys", interpolation="nearest")
        ax.set(xlabel="time step", ylabel="input")
        return figure  # type: ignore[no-any-return]
    shares = np.array_split(frames, min(num_frames, len(frames)))
    sums = np.stack([share.sum(0) for share in shares])
    # ON minus OFF; a sample with one polarity, or with colours, as their sum.
    shown = sums[:, 1] - sums[:, 0] if sums.shape[1] == 2 else sums.sum(1)
    most = max(float(np.abs(shown).max()), 1e-9)
    height, width = shown.shape[1:]
    gap = max(1, width // 8)
    # Side by side in one picture: axes of their own would take several times as long to draw.
    row = np.full((height, len(shown), width + gap), np.nan)
    row[:, :, :width] = shown.transpose(1, 0, 2)
    ax.imshow(row.reshape(height, -1)[:, :-gap], cmap="coolwarm", vmin=-most, vmax=most)
    for place in range(len(shown)):
        middle = place * (width + gap) + (width - 1) / 2
        ax.text(middle, -1, _steps(shares, place), ha="center", va="bottom", fontsize=8)
    ax.set_axis_off()
    figure.set_size_inches(1.5 * len(shown), 1.7)
    return figure  # type: ignore[no-any-return]


def _steps(shares: Sequence[Array], place: int) -> str:
    """Return which steps a picture is the sum of."""
    start = sum(map(len, shares[:place]))
    last = start + len(shares[place]) - 1
    return f"t = {start}" if last == start else f"t = {start} … {last}"


def plot_confusion(counts: Array, ax: Axes | None = None) -> Axes:
    """Draw which class is taken for which.

    Args:
        counts: ``(C, C)``, true classes down, decided ones across.
        ax: Where to draw; None makes new axes.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    ax = axes(ax)
    of_class = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    ax.imshow(of_class, cmap="Blues", vmin=0, vmax=1)
    if len(counts) <= 20:  # more figures cannot be read
        for row, column in zip(*np.nonzero(counts), strict=True):
            shade = "white" if of_class[row, column] > 0.5 else "black"
            ax.text(
                column,
                row,
                counts[row, column],
                ha="center",
                va="center",
                color=shade,
                size=7,
                in_layout=False,
            )
    ax.set(xlabel="decided", ylabel="true class")
    return ax
