"""Shape of a convolution: what a crossbar has to know beside the counts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Window:
    """Shape of a convolution with zeros around its input.

    Attributes:
        in_shape: Channels and places of the input.
        out_shape: Channels and places of the output.
        kernel: Taps along each axis of places.
        stride: Step between outputs.
        padding: Zeros before the first place of each axis.
        dilation: Step between taps.
        groups: Parts of the channels that do not meet.
    """

    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    @property
    def filters(self) -> int:
        """Output channels."""
        return self.out_shape[0]

    @property
    def places(self) -> int:
        """Outputs of one filter."""
        return prod(self.out_shape[1:])

    @property
    def weights_per_place(self) -> int:
        """Inputs that meet at one output, borders aside."""
        return self.in_shape[0] // self.groups * prod(self.kernel)

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> Window:
        """Read what ``dataclasses.asdict`` made of one, and JSON of that.

        Raises:
            ValueError: A number is no positive integer, or the axes do not agree.
        """
        shapes = {key: value for key, value in entry.items() if key != "groups"}
        values = {key: tuple(value) for key, value in shapes.items()}
        window = cls(**values, groups=entry["groups"])
        numbers = [n for value in values.values() for n in value] + [window.groups]
        whole = all(isinstance(n, int) and not isinstance(n, bool) for n in numbers)
        axes = {len(window.in_shape) - 1, len(window.out_shape) - 1} | {
            len(values[key]) for key in ("kernel", "stride", "padding", "dilation")
        }
        if not whole or len(axes) != 1 or min(numbers) < 0 or window.groups < 1:
            raise ValueError(f"{entry} is no shape of a convolution")
        if min(*window.in_shape, *window.out_shape, *window.kernel, *window.stride) < 1:
            raise ValueError(f"{entry} is no shape of a convolution")
        return window


@lru_cache(maxsize=64)
def toeplitz_tiles(window: Window, rows: int, columns: int, cells: int) -> int | None:
    """Return the tiles that hold a synapse when every synapse is a cell of its own.

    Inputs and outputs lie in the order of their places, the channels of a place together; an
    output takes ``cells`` columns. Tiles cut this matrix into blocks of ``rows`` x ``columns``.

    Args:
        window: The convolution.
        rows: Rows of a tile.
        columns: Columns of a tile.
        cells: Cells of one weight.

    Returns:
        Their number; None for a convolution of more than 10 million pairs of places.

    Example:
        >>> one_by_one = Window((4, 8), (4, 8), (1,), (1,), (0,), (1,))
        >>> toeplitz_tiles(one_by_one, rows=4, columns=8, cells=2)   # a tile per place
        8
    """
    sources, targets = _pairs(window)
    per_group = window.in_shape[0] // window.groups, window.filters // window.groups
    if len(sources) * window.groups > 10_000_000:
        return None
    seen: set[int] = set()
    across = -(-window.places * window.filters * cells // columns)
    for group in range(window.groups):
        first = sources * window.in_shape[0] + group * per_group[0]
        start = (targets * window.filters + group * per_group[1]) * cells
        tops = _blocks(first, per_group[0], rows)
        sides = _blocks(start, per_group[1] * cells, columns)
        for top, has_row in tops:
            for side, has_column in sides:
                both = has_row & has_column
                seen.update(np.unique(top[both] * across + side[both]).tolist())
    return len(seen)


def _blocks(first: Any, length: int, size: int) -> list[tuple[Any, Any]]:
    """Return the blocks that intervals touch: the k-th of each, and whether it has one."""
    low, high = first // size, (first + length - 1) // size
    most = int((high - low).max()) + 1 if len(first) else 0
    return [(low + k, low + k <= high) for k in range(most)]


def _pairs(window: Window) -> tuple[Any, Any]:
    """Return every pair of an input place and an output place that a synapse joins."""
    sources, targets = np.zeros(1, np.int64), np.zeros(1, np.int64)
    for axis in range(len(window.kernel)):
        size, outputs = window.in_shape[1 + axis], window.out_shape[1 + axis]
        out, tap = np.divmod(np.arange(outputs * window.kernel[axis]), window.kernel[axis])
        read = out * window.stride[axis] + tap * window.dilation[axis] - window.padding[axis]
        inside = (read >= 0) & (read < size)
        out, read = out[inside], read[inside]
        sources = (sources[:, None] * size + read).ravel()
        targets = (targets[:, None] * outputs + out).ravel()
    return sources, targets
