"""Recordings that lie in one array, by where they are: a batch of them needs no object for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt

Recording = tuple[npt.NDArray[Any], npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Located(Sequence[Recording]):
    """Recordings within an array of bytes: times (uint32, µs), then sites, of each.

    Args:
        raw: The bytes, contiguous.
        at: Where the times of each begin, a multiple of four.
        events: How many each has; what they take lies within ``raw``.
        dtype: Of the sites, uint16 or uint32.
        in_order: Times are known to ascend.

    Example:
        >>> raw = np.array([5, 0, 0, 0, 7, 0], dtype=np.uint8)
        >>> held = Located(raw, np.array([0]), np.array([1]), np.dtype("u2"))
        >>> [values.tolist() for values in held[0]]
        [[5], [7]]
    """

    raw: npt.NDArray[np.uint8]
    at: npt.NDArray[np.int64]
    events: npt.NDArray[np.int64]
    dtype: np.dtype[Any]
    in_order: bool = False

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self.at)

    @overload
    def __getitem__(self, b: int) -> Recording: ...

    @overload
    def __getitem__(self, b: slice) -> Located: ...

    def __getitem__(self, b: int | slice) -> Recording | Located:
        """Return times and sites of one, as views; or some of the recordings."""
        if isinstance(b, slice):
            return Located(self.raw, self.at[b], self.events[b], self.dtype, self.in_order)
        at, events = int(self.at[b]), int(self.events[b])
        middle = at + 4 * events
        sites = self.raw[middle : middle + events * self.dtype.itemsize]
        return self.raw[at:middle].view("<u4"), sites.view(self.dtype)

    def addresses(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """Return where times and sites of each begin in memory."""
        times = self.raw.ctypes.data + self.at
        return times.astype(np.uint64), (times + 4 * self.events).astype(np.uint64)
