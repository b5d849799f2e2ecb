"""The Heidelberg spiking data sets SHD and SSC: spoken words as spikes of 700 channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import tonic.datasets

from snnplug.data.augmentation import Augmentation
from snnplug.data.event_data_module import EventDataModule, Recordings
from snnplug.data.frames import FrameOptions
from snnplug.data.heidelberg_file import CHANNELS, HeidelbergFile
from snnplug.data.split import group_split

_DIGITS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("null", "eins", "zwei", "drei", "vier", "fuenf", "sechs", "sieben", "acht", "neun"),
)


class SHD(HeidelbergFile, tonic.datasets.SHD):  # type: ignore[misc]  # tonic ships no types
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


class SSC(HeidelbergFile, tonic.datasets.SSC):  # type: ignore[misc]  # tonic ships no types
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
