"""Event recordings in one memory-mapped file."""

from __future__ import annotations

import os
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snnplug.data import store_format as fmt
from snnplug.data.addresses import SensorSize, decode_events, site_dtype
from snnplug.errors import DataError
from snnplug.kernels.located import Located


class EventStore:
    """Recordings of one split, as :func:`~snnplug.data.packing.pack` wrote them.

    Opening reads the header, the description and the columns, and checks them; of the recordings
    nothing. A recording is checked against its checksum when it is first read in a process. The
    object pickles as its path: a worker process maps the same pages again.

    Args:
        path: The file.

    Raises:
        DataError: The file is no store, truncated or damaged; for a recording, when it is read.

    Example:
        >>> store = EventStore("nmnist-test.events")         # doctest: +SKIP
        >>> events, label = store[0]                         # doctest: +SKIP
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._open()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(
                f"{self.path} is no whole event store: {error}; delete it and pack again"
            ) from error

    def _open(self) -> None:
        size = os.path.getsize(self.path)
        with self.path.open("rb") as file:
            self.digest, footer_at, stated = fmt.parse_header(file.read(fmt.HEADER_BYTES))
            if footer_at < fmt.HEADER_BYTES or stated != size:
                raise ValueError(f"it has {size:,} bytes and states {stated:,}")
            file.seek(footer_at)
            self._description, columns = fmt.parse_footer(file.read())
        self.sensor_size: SensorSize = tuple(self._description["sensor_size"])
        self._dtype = site_dtype(self.sensor_size)
        #: One value per recording.
        self.labels: npt.NDArray[np.int64] = columns.pop("label")
        self.num_events: npt.NDArray[np.int64] = columns.pop("num_events")
        self.last_us: npt.NDArray[np.int64] = columns.pop("last_us")
        self.columns = columns
        lengths = [fmt.record_bytes(int(n), self._dtype.itemsize) for n in self.num_events]
        #: Where each recording begins in the file, and where the last ends.
        self.starts = np.concatenate([[fmt.HEADER_BYTES], lengths]).cumsum().astype(np.int64)
        if self.starts[-1] != footer_at or len(self.labels) != len(self.num_events):
            raise ValueError("its recordings do not fill it")
        # A plain view: every slice of a memmap object costs microseconds.
        self._bytes = np.memmap(self.path, dtype=np.uint8, mode="r").view(np.ndarray)
        self._checked = np.zeros(len(self.labels), dtype=bool)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]  # maps the file again

    @property
    def key(self) -> dict[str, Any]:
        """What the store was built from."""
        key: dict[str, Any] = self._description["key"]
        return key

    @property
    def targets(self) -> list[int]:
        """Class of each recording."""
        targets: list[int] = self.labels.tolist()
        return targets

    @property
    def title(self) -> str:
        """What a result on these recordings is a result on."""
        return str(self._description["title"])

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self.labels)

    def arrays(self, index: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.unsignedinteger]]:
        """Return times (µs, ascending) and sites of one recording, as views of the file.

        Raises:
            DataError: The recording is damaged.
        """
        index = range(len(self))[index]
        raw = self._bytes[self.starts[index] : self.starts[index + 1]]
        count = int(self.num_events[index])
        t = raw[fmt.HEAD_BYTES : fmt.HEAD_BYTES + 4 * count].view("<u4")
        sites_at = fmt.HEAD_BYTES + 4 * count
        site = raw[sites_at : sites_at + count * self._dtype.itemsize].view(self._dtype)
        if not self._checked[index]:
            self._check(index, raw, t, site)
        return t, site

    def recordings(self, indices: npt.NDArray[np.int64]) -> Located:
        """Return several recordings, as :meth:`arrays` each.

        Raises:
            DataError: One is damaged.
        """
        for index in indices[~self._checked[indices]].tolist():
            self.arrays(index)
        return Located(
            self._bytes,
            self.starts[indices] + fmt.HEAD_BYTES,
            self.num_events[indices],
            self._dtype,
            in_order=True,
        )

    def _check(
        self,
        index: int,
        raw: npt.NDArray[np.uint8],
        t: npt.NDArray[np.uint32],
        site: npt.NDArray[np.unsignedinteger],
    ) -> None:
        stated = (self.num_events[index], index, self.labels[index], self.last_us[index])
        content = raw.tobytes()
        try:
            head = fmt.parse_head(content[: fmt.HEAD_BYTES])
            same = (head.num_events, head.index, head.label, head.last_us) == stated
            whole = same and fmt.record_is_whole(content)
        except ValueError:
            whole = False
        if not whole or (site >= prod(self.sensor_size)).any() or (t[1:] < t[:-1]).any():
            raise DataError(
                f"{self.path}: recording {index} is damaged; delete the file and pack again"
            )
        self._checked[index] = True

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.void], int]:
        """Return the events of one recording, sorted by time, and its class."""
        t, site = self.arrays(index)
        return decode_events(t, site, self.sensor_size), int(self.labels[index])

    def verify(self) -> None:
        """Read every recording and compare its checksum.

        Raises:
            DataError: One is damaged.
        """
        for index in range(len(self)):
            self.arrays(index)
