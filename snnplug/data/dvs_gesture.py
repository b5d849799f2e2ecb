"""DVS128 Gesture: eleven hand and arm gestures before an event camera."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import tonic.datasets

from snnplug.data.augmentation import Augmentation
from snnplug.data.event_data_module import EventDataModule
from snnplug.data.events import EVENT_DTYPE
from snnplug.data.frames import FrameOptions
from snnplug.data.split import group_split
from snnplug.errors import DataError, DataNotFoundError

# What is no time in ms, nor an address: it would overflow in µs, or when it becomes an integer.
_TOO_LARGE = 2**31
_US_PER_MS = 1_000
_COLUMNS = ("x", "y", "p", "t")
_CLASSES = tuple(tonic.datasets.DVSGesture.classes)
# 98 and 24 trials of eleven gestures, of which one was not recorded; not checked against the files.
_OFFICIAL = {True: 1_077, False: 264}


class DVSGesture(tonic.datasets.DVSGesture):  # type: ignore[misc]  # tonic ships no types
    """Gestures before an event camera, cut to one per recording, in tonic's version.

    tonic's class refuses fewer than 100 recordings and reads damaged ones unseen; this one takes
    what is there and checks every file.

    1,077 + 264 recordings of some seconds in steps of 1 ms, 128x128 pixels, two polarities, eleven
    classes, 29 subjects in three kinds of light, different ones in the test; 2.7 + 0.7 GB to
    download. Licence CC BY 4.0.

    Args:
        root: The folder that holds ``DVSGesture/ibmGestureTrain/<user>_<light>/<class>.npy`` and
            ``DVSGesture/ibmGestureTest/…``.
        train: Training or test recordings.
        download: Fetch the files when there are none, checked against their MD5 sum.

    Raises:
        DataNotFoundError: There is no recording, and ``download`` is false or failed.
        DataError: A file is damaged; raised when it is read, or for its name at once.

    Example:
        >>> recordings = DVSGesture("data")                  # doctest: +SKIP
        >>> events, label = recordings[0]                    # doctest: +SKIP

    Reference:
        A. Amir et al., "A Low Power, Fully Event-Based Gesture Recognition System", CVPR 2017.
        Deviation: times are whole milliseconds, in tonic's version of the files.
    """

    sensor_size: ClassVar[tuple[int, int, int]] = (128, 128, 2)

    def __init__(self, root: str | Path, train: bool = True, download: bool = False) -> None:
        self._may_download = download
        try:
            super().__init__(str(root), train=train)
        except ValueError as error:
            raise DataError(
                f"{self._folder} holds a name that is not user<number>_<light>/<class>.npy: {error}"
            ) from error
        paths: list[str] = self.data
        order = sorted(range(len(paths)), key=lambda k: paths[k])
        self.data: list[str] = [paths[k] for k in order]
        self.targets: list[int] = [self.targets[k] for k in order]
        self.users: list[int] = [self.users[k] for k in order]
        outside = [p for p, t in zip(self.data, self.targets, strict=True) if not 0 <= t < 11]
        if outside or not self.data:
            raise DataError(
                f"{outside[0] if outside else self._folder}: class and file have to be "
                "user<number>_<light>/0.npy to 10.npy"
            )

    @property
    def title(self) -> str:
        """What these recordings may be called: the whole set, or a part of it."""
        return "DVS128 Gesture" + ("" if len(self) == _OFFICIAL[self.train] else " subset")

    @property
    def _folder(self) -> Path:
        return Path(self.location_on_system, self.folder_name)

    def _check_exists(self) -> bool:
        return any(self._folder.glob("*/*.npy"))

    def download(self) -> None:
        """Fetch and unpack the recordings, checked against their MD5 sum."""
        by_hand = (
            f"unpack {self.filename} from {self.url} (MD5 {self.file_md5}) into "
            f"{self._folder.parent.resolve()}"
        )
        if not self._may_download:
            raise DataNotFoundError(
                f"no recording under {self._folder.resolve()}/*/*.npy; set root to the folder that "
                f"holds DVSGesture/, or download: true to fetch them, or {by_hand}"
            )
        try:
            super().download()
        except (OSError, RuntimeError, ValueError) as error:
            raise DataNotFoundError(f"could not fetch {self.url}: {error}; {by_hand}") from error

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.void], int]:
        """Return the events of one recording and its class."""
        path = self.data[index]
        try:
            with Path(path).open("rb") as file:
                table = np.load(file, allow_pickle=False)
                if file.read(1):
                    raise ValueError("there are more bytes than its header states")
        # numpy reads the header as an expression of Python; damaged, it fails in every way.
        except Exception as error:
            raise DataError(f"{path} cannot be read: {error}; download it again") from error
        if table.ndim != 2 or table.shape[1] != 4 or table.dtype.kind not in "iuf":
            raise DataError(
                f"{path} holds {table.dtype} {table.shape}, not events in rows of x, y, polarity "
                "and ms; download it again"
            )
        if not np.isfinite(table).all():
            raise DataError(f"{path} holds a value that is not finite; download it again")
        if len(table) and max(abs(float(table.max())), abs(float(table.min()))) >= _TOO_LARGE:
            raise DataError(f"{path} holds a value of {_TOO_LARGE} or more; download it again")
        events = np.empty(len(table), dtype=EVENT_DTYPE)
        for column, name in enumerate(_COLUMNS):
            events[name] = table[:, column]
            if name != "t" and (events[name] != table[:, column]).any():
                raise DataError(f"{path}: a {name} is no address or polarity; download it again")
        events["t"] *= _US_PER_MS
        return events, self.targets[index]

    @property
    def key(self) -> dict[str, Any]:
        """What a store of these recordings depends on."""
        digest = hashlib.sha256()
        for path in map(Path, self.data):
            state = path.stat()
            digest.update(f"{path.parent.name}/{path.name} {state.st_size} ".encode())
            digest.update(f"{state.st_mtime_ns}\n".encode())
        return {"name": "DVSGesture", "train": self.train, "files": digest.hexdigest()}


class DVSGestureDataModule(EventDataModule):
    """:class:`DVSGesture` as time-first frames, packed once; validated on subjects held out.

    Args:
        root: The folder that holds ``DVSGesture/``.
        num_steps: Time bins per recording.
        duration_us: Window, in µs; what is later is dropped.
        batch_size: Recordings per batch.
        binary: Clip counts to 1.
        val_fraction: Share of the training subjects held out for validation; at least one.
        split_seed: Seed of that choice.
        num_workers: Processes that load in the background.
        augmentation: What is changed at random in each training recording, anew each epoch.
        frames: How events become frames, beyond bins and window.
        download: Fetch the files when there are none.

    Shape:
        - batch: frames ``(T, B, 2, 128, 128)``, targets ``(B,)``

    Example:
        >>> data = DVSGestureDataModule()
        >>> data.num_classes, data.in_shape, data.classes[0]
        (11, (2, 128, 128), 'Hand clapping')

    Reference:
        As :class:`DVSGesture`. Deviation: published work often validates on the test set; this
        does not.
    """

    classes: ClassVar[tuple[str, ...]] = _CLASSES
    sensor_size: ClassVar[tuple[int, ...]] = DVSGesture.sensor_size

    def __init__(
        self,
        root: str = "data",
        num_steps: int = 25,
        duration_us: int = 1_500_000,
        batch_size: int = 16,
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

    def prepare_data(self) -> None:
        """Download the recordings if they are missing and may be fetched, and pack them."""
        for train in (True, False):
            DVSGesture(self.root, train, self.download)
        super().prepare_data()

    def recordings(self, train: bool) -> DVSGesture:
        """Return the training or the test recordings."""
        return DVSGesture(self.root, train)

    def split(self, recordings: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Hold whole subjects out."""
        users = [str(user) for user in recordings.users]
        return group_split(users, self.val_fraction, self.split_seed)
