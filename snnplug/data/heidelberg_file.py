"""Files of the Heidelberg spiking data sets: fetched, read and checked, whatever their size."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import tonic.dataset

from snnplug.data.hdf5 import Place, read_hdf5
from snnplug.errors import ArgumentError, DataError, DataNotFoundError

#: Channels of the inner ear.
CHANNELS = 700
_US_PER_S = 1e6
# Beyond the 32 bits of µs of a store, and far from what an integer cannot hold.
_TOO_LATE_S = 1e4
_EVENT = np.dtype([("x", np.int64), ("t", np.int64)])


class HeidelbergFile:
    """What both sets share, before one of tonic's classes: any size of file, and every one checked.

    tonic's classes ask for the downloaded archive beside the file and read damaged ones unseen.
    """

    sensor_size: ClassVar[tuple[int, ...]] = (CHANNELS,)
    num_classes: ClassVar[int]
    official: ClassVar[dict[str, int]]
    # Of tonic's classes.
    location_on_system: str
    base_url: str

    def __init__(self, root: str | Path, split: str, download: bool) -> None:
        if split not in self.official:
            raise ArgumentError(f"split is {split!r}; accepted are {', '.join(self.official)}")
        self._split, self._may_download = split, download
        # Not that of tonic's classes, which open the file: HDF5 can crash on a damaged one.
        tonic.dataset.Dataset.__init__(self, str(root))
        self.filename: str = getattr(self, f"{split}_zip")
        self.data_filename = self.filename.removesuffix(".zip")
        self.url = self.base_url + self.filename
        self.file_md5: str = getattr(self, f"{split}_md5")
        if not self._check_exists():
            self.download()
        labels, speakers, keys, times, units = self._read(
            "it",
            ("labels", None),
            ("extra/speaker", None),
            ("extra/keys", None),
            ("spikes/times", "shape"),
            ("spikes/units", "shape"),
        )
        self._speaker = speakers
        self.speakers: list[str] = [str(s) for s in np.atleast_1d(speakers).tolist()]
        keys, counts = np.atleast_1d(keys).tolist(), [times.tolist(), units.tolist()]
        one_each = counts == [[len(self.speakers)]] * 2 and labels.shape == (len(self.speakers),)
        if labels.dtype.kind not in "iu" or not one_each:
            raise DataError(
                self._damaged(
                    f"it has {labels.dtype} labels {labels.shape}, {len(self.speakers)} speakers, "
                    f"{counts} recordings"
                )
            )
        if len(keys) != self.num_classes or not ((labels >= 0) & (labels < self.num_classes)).all():
            raise DataError(
                self._damaged(
                    f"it has {len(keys)} classes and labels up to {labels.max(initial=0)}"
                )
            )
        try:
            #: Name of each class, class and speaker of each recording.
            self.classes = tuple(k.decode() if isinstance(k, bytes) else str(k) for k in keys)
        except UnicodeDecodeError as error:
            raise DataError(self._damaged(f"a class has no name ({error})")) from error
        self.targets: list[int] = labels.tolist()
        name, expected = type(self).__name__, self.official[self._split]
        self.title = name if len(self) == expected else f"{name} subset"

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.location_on_system, self.data_filename)

    @property
    def _remedy(self) -> str:
        return f"it is no whole {type(self).__name__} file: copy or download it again"

    def _damaged(self, what: str) -> str:
        return f"{self.path}: {what}; {self._remedy}"

    def _read(self, what: str, *places: Place) -> list[npt.NDArray[Any]]:
        return read_hdf5(self.path, places, what, self._remedy)

    def _check_exists(self) -> bool:
        return self.path.is_file()

    def download(self) -> None:
        """Fetch and unpack the file, checked against its MD5 sum."""
        by_hand = (
            f"put {self.data_filename}, unpacked from {self.url} (MD5 {self.file_md5}), into "
            f"{self.path.parent.resolve()}"
        )
        if not self._may_download:
            raise DataNotFoundError(
                f"no {self.path.resolve()}; set root to the folder that holds "
                f"{self.path.parent.name}/, or download: true to fetch it, or {by_hand}"
            )
        try:
            super().download()  # type: ignore[misc]  # tonic's
        except (OSError, RuntimeError, ValueError) as error:
            raise DataNotFoundError(f"could not fetch {self.url}: {error}; {by_hand}") from error

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.void], int]:
        """Return the events of one recording (fields x, channel, and t in µs), and its class."""
        index = range(len(self))[index]
        seconds, x = self._read(
            f"recording {index}", ("spikes/times", index), ("spikes/units", index)
        )
        kinds = x.dtype.kind in "iu" and seconds.dtype.kind in "iuf"
        if x.shape != seconds.shape or x.ndim != 1 or not kinds:
            raise DataError(
                self._damaged(
                    f"recording {index} has {x.dtype} channels {x.shape}, {seconds.dtype} times "
                    f"{seconds.shape}"
                )
            )
        seconds = seconds.astype(np.float64)
        if not (np.abs(seconds) < _TOO_LATE_S).all():  # false for what is not finite as well
            raise DataError(
                self._damaged(f"recording {index} has a time that is not finite, or too large")
            )
        events = np.empty(len(x), dtype=_EVENT)
        events["x"], events["t"] = x, np.rint(seconds * _US_PER_S)
        return events[np.argsort(events["t"], kind="stable")], self.targets[index]

    @property
    def key(self) -> dict[str, Any]:
        """What a store of these recordings depends on."""
        state = self.path.stat()
        name, split = type(self).__name__, self._split
        return {"name": name, "split": split, "bytes": state.st_size, "time": state.st_mtime_ns}
