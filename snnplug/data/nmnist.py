"""N-MNIST: tonic's data set and download, any folder of recordings, and damaged files refused."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import tonic.datasets

from snnplug.data.augmentation import Augmentation
from snnplug.data.event_data_module import EventDataModule
from snnplug.data.frames import FrameOptions
from snnplug.data.recording import read_arrays, read_recording
from snnplug.errors import DataError, DataNotFoundError
from snnplug.kernels.event_parse import Parsed

_OFFICIAL = {True: 60_000, False: 10_000}


class NMNIST(tonic.datasets.NMNIST):  # type: ignore[misc]  # tonic ships no types
    """Event recordings of MNIST digits, from tonic's download or from any folder of them.

    tonic's class refuses a folder with fewer recordings than the official 60,000 and 10,000, and
    reads a damaged file without a word. This one takes what is there and checks every file.

    60,000 + 10,000 recordings of about 300 ms and 4,000 events, 34x34 pixels, two polarities, ten
    digits; 1.2 GB to download. Licence CC BY-SA 4.0.

    Args:
        root: The folder that holds ``NMNIST/Train/<digit>/*.bin`` and ``NMNIST/Test/…``.
        train: Training or test recordings.
        download: Fetch the official files when there are none.
        transform: As tonic's: applied to the events.
        target_transform: As tonic's: applied to the class.
        transforms: As tonic's: applied to both.

    Raises:
        DataNotFoundError: There is no recording, and ``download`` is false.
        DataError: A file is empty, truncated or corrupt; raised when it is read.

    Example:
        >>> recordings = NMNIST("data")                      # doctest: +SKIP
        >>> events, digit = recordings[0]                    # doctest: +SKIP

    Reference:
        G. Orchard, A. Jayawant, G. K. Cohen, N. Thakor, "Converting Static Image Datasets to
        Spiking Neuromorphic Datasets Using Saccades", Frontiers in Neuroscience 9:437, 2015.
    """

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        download: bool = False,
        transform: Callable[..., Any] | None = None,
        target_transform: Callable[..., Any] | None = None,
        transforms: Callable[..., Any] | None = None,
    ) -> None:
        self._may_download = download
        super().__init__(
            str(root),
            train=train,
            transform=transform,
            target_transform=target_transform,
            transforms=transforms,
        )
        if not self.data:
            raise DataNotFoundError(self._missing())

    def _check_exists(self) -> bool:
        found = any(self._folder.glob("*/*.bin"))
        if not found and not self._may_download:
            raise DataNotFoundError(self._missing())
        return found

    @property
    def title(self) -> str:
        """What these recordings may be called: the official set, or a part of it."""
        return "N-MNIST" if len(self) == _OFFICIAL[self.train] else "N-MNIST subset"

    @property
    def key(self) -> dict[str, Any]:
        """Every file with its size and time: a change of any packs them anew."""
        digest = hashlib.sha256(f"{self._folder.resolve()}\n".encode())
        for path in self.data:
            found = os.stat(path)
            digest.update(f"{path} {found.st_size} {found.st_mtime_ns}\n".encode())
        return {"name": "N-MNIST", "files": digest.hexdigest()}

    @property
    def _folder(self) -> Path:
        return Path(self.location_on_system, self.folder_name)

    def _missing(self) -> str:
        return (
            f"no N-MNIST recording under {self._folder.resolve()}/<digit>/*.bin; set root to the "
            "folder that holds NMNIST/, or download: true to fetch it (1.2 GB, Mendeley Data, doi "
            "10.17632/468j46mzdv.1)"
        )

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.void], int]:
        """Return the events of one recording, checked, and its digit."""
        events: Any = read_recording(self.data[index], self.sensor_size)
        target: Any = self.targets[index]
        if self.transform is not None:
            events = self.transform(events)
        if self.target_transform is not None:
            target = self.target_transform(target)
        if self.transforms is not None:
            events, target = self.transforms(events, target)
        return events, target

    def arrays(self, index: int) -> Parsed:
        """Return times (µs) and sites of one recording, for packing; transforms are not applied."""
        return read_arrays(self.data[index], self.sensor_size)


class NMNISTDataModule(EventDataModule):
    """N-MNIST, or any folder of its recordings, as time-first frames.

    Args:
        root: The folder that holds ``NMNIST/``.
        num_steps: Time bins per recording.
        duration_us: Window, in µs; the last events come at about 315 ms.
        batch_size: Recordings per batch.
        binary: Clip counts to 1.
        val_fraction: Share of the training recordings held out for validation.
        split_seed: Seed of that choice.
        num_workers: Processes that load in the background.
        augmentation: What is changed at random in each training recording, anew each epoch.
        frames: How events become frames, beyond bins and window.
        download: Fetch the official files when there are none.

    Shape:
        - batch: frames ``(T, B, 2, 34, 34)``, targets ``(B,)``

    Example:
        >>> data = NMNISTDataModule(root="data", num_steps=16)
        >>> data.num_classes, data.in_shape
        (10, (2, 34, 34))

    Reference:
        As :class:`NMNIST`. Deviation: published work often validates on the test set; this does
        not.
    """

    classes: ClassVar[tuple[str, ...]] = tuple(str(digit) for digit in range(10))
    sensor_size: ClassVar[tuple[int, int, int]] = (34, 34, 2)

    def __init__(
        self,
        root: str = "data",
        num_steps: int = 16,
        duration_us: int = 316_000,
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

    def prepare_data(self) -> None:
        """Download the recordings if they are missing and may be fetched, and pack them."""
        for train in (True, False):
            NMNIST(self.root, train=train, download=self.download)
        super().prepare_data()

    def recordings(self, train: bool) -> NMNIST:
        """Return the training or the test recordings."""
        recordings = NMNIST(self.root, train=train)
        if len(set(recordings.targets)) < 2:
            raise DataError(f"{recordings._folder} holds recordings of one digit only")
        return recordings
