"""The Heidelberg spiking data sets SHD and SSC: spoken words as spikes of 700 channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import tonic.dataset
import tonic.datasets

from snnplug.data.augmentation import Augmentation
from snnplug.data.event_data_module import EventDataModule, Recordings
from snnplug.data.frames import FrameOptions
from snnplug.data.hdf5 import Place, read_hdf5
from snnplug.data.split import group_split
from snnplug.errors import ArgumentError, DataError, DataNotFoundError

CHANNELS = 700
_US_PER_S = 1e6
# Beyond the 32 bits of µs of a store, and far from what an integer cannot hold.
_TOO_LATE_S = 1e4
_EVENT = np.dtype([("x", np.int64), ("t", np.int64)])
_DIGITS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("null", "eins", "zwei", "drei", "vier", "fuenf", "sechs", "sieben", "acht", "neun"),
)


class _Heidelberg:
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


class SHD(_Heidelberg, tonic.datasets.SHD):  # type: ignore[misc]  # tonic ships no types
    """Spiking Heidelberg Digits: English and German digits through a model of the inner ear.

    8,156 + 2,264 recordings of up to 1.4 s, 700 channels, twenty classes, twelve speakers of whom
    two are in the test alone; 0.13 + 0.04 GB to download. Licence CC BY 4.0.

    Args:
        root: The folder that holds ``SHD/shd_train.h5`` and ``SHD/shd_test.h5``.
        train: Training or test recordings.
        download: Fetch the file when there is none, checked against its MD5 sum.

    Raises:
        DataNotFoundError: There is no file, and ``download`` is false or failed.
        DataError: The file is damaged, or a recording is; the latter when it is read.

    Example:
        >>> recordings = SHD("data")                         # doctest: +SKIP
        >>> events, label = recordings[0]                    # doctest: +SKIP

    Reference:
        B. Cramer, Y. Stradmann, J. Schemmel, F. Zenke, "The Heidelberg Spiking Data Sets for the
        Systematic Evaluation of Spiking Neural Networks", IEEE TNNLS 33(7), 2022.
    """

    num_classes: ClassVar[int] = 20
    official: ClassVar[dict[str, int]] = {"train": 8_156, "test": 2_264}

    def __init__(self, root: str | Path, train: bool = True, download: bool = False) -> None:
        super().__init__(root, "train" if train else "test", download)


class SSC(_Heidelberg, tonic.datasets.SSC):  # type: ignore[misc]  # tonic ships no types
    """Spiking Speech Commands: English words of many speakers through a model of the inner ear.

    75,466 + 9,981 + 20,382 recordings of 1 s to train on, validate and test, 700 channels, 35
    classes; 1.6 GB to download. Licence CC BY 4.0.

    Args:
        root: The folder that holds ``SSC/ssc_train.h5``, ``ssc_valid.h5`` and ``ssc_test.h5``.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        download: Fetch the file when there is none, checked against its MD5 sum.

    Raises:
        DataNotFoundError: There is no file, and ``download`` is false or failed.
        DataError: The file is damaged, or a recording is; the latter when it is read.

    Example:
        >>> recordings = SSC("data", "valid")                # doctest: +SKIP
        >>> events, label = recordings[0]                    # doctest: +SKIP

    Reference:
        As :class:`SHD`; the words are Google's Speech Commands.
    """

    num_classes: ClassVar[int] = 35
    official: ClassVar[dict[str, int]] = {"train": 75_466, "valid": 9_981, "test": 20_382}

    def __init__(self, root: str | Path, split: str = "train", download: bool = False) -> None:
        super().__init__(root, split, download)


class _TrainAndValid:
    """The training recordings of SSC, and behind them those of its validation."""

    def __init__(self, train: SSC, valid: SSC) -> None:
        self.train, self.valid = train, valid
        self.targets = train.targets + valid.targets
        self.title = train.title
        self.key: dict[str, Any] = {"train": train.key, "valid": valid.key}

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.void], int]:
        behind = index - len(self.train)
        return self.train[index] if behind < 0 else self.valid[behind]


class _HeidelbergDataModule(EventDataModule):
    """What the data modules of both sets share."""

    sensor_size: ClassVar[tuple[int, ...]] = (CHANNELS,)

    def __init__(
        self,
        root: str = "data",
        num_steps: int = 100,
        duration_us: int = 1_400_000,
        batch_size: int = 64,
        binary: bool = True,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        num_workers: int = 0,
        augmentation: Augmentation | None = None,
        frames: FrameOptions | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(
            num_steps,
            duration_us,
            batch_size,
            binary,
            val_fraction,
            split_seed,
            num_workers,
            augmentation,
            frames,
        )
        self.root = root
        self.download = download


class SHDDataModule(_HeidelbergDataModule):
    """:class:`SHD` as time-first frames, packed once; validated on speakers that are held out.

    Args:
        root: The folder that holds ``SHD/``.
        num_steps: Time bins per recording.
        duration_us: Window, in µs; what is later is dropped.
        batch_size: Recordings per batch.
        binary: Clip counts to 1.
        val_fraction: Share of the training speakers held out for validation; at least one.
        split_seed: Seed of that choice.
        num_workers: Processes that load in the background.
        augmentation: What is changed at random in each training recording, anew each epoch.
        frames: How events become frames, beyond bins and window.
        download: Fetch the files when there are none.

    Shape:
        - batch: frames ``(T, B, 700)``, targets ``(B,)``

    Example:
        >>> data = SHDDataModule()
        >>> data.num_classes, data.in_shape
        (20, (700,))

    Reference:
        As :class:`SHD`. Deviation: published work often validates on the test set; this does not.
    """

    classes: ClassVar[tuple[str, ...]] = _DIGITS

    def prepare_data(self) -> None:
        """Download the files if they are missing and may be fetched, and pack them."""
        for train in (True, False):
            SHD(self.root, train, self.download)
        super().prepare_data()

    def recordings(self, train: bool) -> SHD:
        """Return the training or the test recordings."""
        return SHD(self.root, train)

    def split(self, recordings: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Hold whole speakers out."""
        return group_split(recordings.speakers, self.val_fraction, self.split_seed)


class SSCDataModule(_HeidelbergDataModule):
    """:class:`SSC` as time-first frames, packed once, with its own validation recordings.

    Args:
        root: The folder that holds ``SSC/``.
        num_steps: Time bins per recording.
        duration_us: Window, in µs; what is later is dropped.
        batch_size: Recordings per batch.
        binary: Clip counts to 1.
        val_fraction: Not used: the set has validation recordings of its own.
        split_seed: Not used.
        num_workers: Processes that load in the background.
        augmentation: What is changed at random in each training recording, anew each epoch.
        frames: How events become frames, beyond bins and window.
        download: Fetch the files when there are none.

    Shape:
        - batch: frames ``(T, B, 700)``, targets ``(B,)``

    Example:
        >>> data = SSCDataModule()
        >>> data.num_classes, data.in_shape
        (35, (700,))

    Reference:
        As :class:`SHD`. The classes are numbers here; :attr:`SSC.classes` has the file's names.
    """

    classes: ClassVar[tuple[str, ...]] = tuple(str(k) for k in range(35))

    def prepare_data(self) -> None:
        """Download the files if they are missing and may be fetched, and pack them."""
        for split in SSC.official:
            SSC(self.root, split, self.download)
        super().prepare_data()

    def recordings(self, train: bool) -> Recordings:
        """Return the training recordings followed by those of the validation, or the test's."""
        if not train:
            return SSC(self.root, "test")
        return _TrainAndValid(SSC(self.root, "train"), SSC(self.root, "valid"))

    def split(self, recordings: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Keep the training recordings and hold out those of the validation."""
        count = len(recordings.train)
        return np.arange(count), np.arange(count, len(recordings))
