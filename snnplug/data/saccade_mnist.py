"""All of MNIST before a simulated event camera: a set of N-MNIST's size that can be generated."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from snnplug.data.augmentation import Augmentation
from snnplug.data.event_data_module import EventDataModule, Recordings
from snnplug.data.frames import FrameOptions
from snnplug.data.mnist import load_mnist
from snnplug.data.saccades import SIMULATION, SaccadeCamera, simulate_saccades
from snnplug.errors import ArgumentError

_TRAIN, _TEST = 60_000, 10_000


class SaccadeMNIST:
    """60,000 + 10,000 MNIST digits, recorded by a simulated event camera.

    MNIST (28x28 pixels) through :func:`~snnplug.data.saccades.simulate_saccades`: 34x34 pixels, two
    polarities, three saccades in 309 ms, about 4,000 events, ten digits, in MNIST's order. It has
    the format and size of N-MNIST and is not N-MNIST; recording i is of the same image as N-MNIST's
    recording i + 1. MNIST is CC BY-SA 3.0 by common attribution, and so are recordings of it.

    A recording is simulated each time it is asked for; the data module packs all of them into the
    cache (1.5 + 0.25 GB, two minutes on one core).

    Args:
        root: The folder that holds ``mnist/``; the one that SNNPLUG_DATA names is tried as well.
        train: Training or test recordings.
        camera: Parameters of the simulation.
        seed: Seed of the camera's noise; each recording has its own.
        limit: Only the first so many.
        download: Fetch MNIST when there is none (11 MB).

    Raises:
        DataNotFoundError: There is no MNIST, and it may not, or could not, be fetched.
        DataError: The copy of MNIST is damaged.
        ArgumentError: ``seed`` or ``limit`` is out of range.

    Example:
        >>> recordings = SaccadeMNIST("data")                # doctest: +SKIP
        >>> events, digit = recordings[0]                    # doctest: +SKIP

    Reference:
        Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits"; the camera
        as in ``simulate_saccades``.
    """

    title = "SaccadeMNIST (simulated events, not N-MNIST)"
    classes: ClassVar[tuple[str, ...]] = tuple(str(digit) for digit in range(10))
    sensor_size: ClassVar[tuple[int, int, int]] = (34, 34, 2)

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        camera: SaccadeCamera | None = None,
        seed: int = 0,
        limit: int | None = None,
        download: bool = False,
    ) -> None:
        if seed < 0 or (limit is not None and limit < 1):
            raise ArgumentError(f"seed is {seed}, limit {limit}; give at least 0, and 1 or None")
        arrays = load_mnist(root, download=download)
        self.train = train
        self._images = arrays["x_train" if train else "x_test"][:limit]
        self.targets: list[int] = arrays["y_train" if train else "y_test"][:limit].tolist()
        self._camera = camera or SaccadeCamera()
        self._seed = seed

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.void], int]:
        """Return the events of one recording and its digit."""
        index = range(len(self))[index]
        number = index if self.train else _TRAIN + index
        seed = self._seed * (_TRAIN + _TEST) + number
        return simulate_saccades(self._images[index], self._camera, seed=seed), self.targets[index]

    @property
    def key(self) -> dict[str, Any]:
        """What the recordings are simulated from; the version changes with the simulation."""
        return {
            "name": "SaccadeMNIST",
            "version": SIMULATION,
            "train": self.train,
            "seed": self._seed,
            "camera": asdict(self._camera),
            "images": hashlib.sha256(self._images.tobytes()).hexdigest(),
        }


class SaccadeMNISTDataModule(EventDataModule):
    """:class:`SaccadeMNIST` as time-first frames; simulated once, into the cache.

    Args:
        root: The folder that holds ``mnist/``; the one that SNNPLUG_DATA names is tried as well.
        num_steps: Time bins per recording.
        duration_us: Window, in µs.
        batch_size: Recordings per batch.
        binary: Clip counts to 1.
        val_fraction: Share of the training recordings held out for validation.
        split_seed: Seed of that choice.
        num_workers: Processes that load in the background.
        augmentation: What is changed at random in each training recording, anew each epoch.
        frames: How events become frames, beyond bins and window.
        leave_out: Neither train nor validate on the first so many training images. The real
            recordings that a transfer is tested on may be of these.
        limit: Only the first so many images of each split.
        download: Fetch MNIST when there is none.

    Shape:
        - batch: frames ``(T, B, 2, 34, 34)``, targets ``(B,)``

    Raises:
        ArgumentError: A number is out of range.

    Example:
        >>> SaccadeMNISTDataModule(num_steps=10).in_shape
        (2, 34, 34)

    Reference:
        As :class:`SaccadeMNIST`.
    """

    classes: ClassVar[tuple[str, ...]] = SaccadeMNIST.classes
    sensor_size: ClassVar[tuple[int, ...]] = SaccadeMNIST.sensor_size

    def __init__(
        self,
        root: str = "data",
        num_steps: int = 10,
        duration_us: int = 316_000,
        batch_size: int = 64,
        binary: bool = True,
        val_fraction: float = 1 / 12,
        split_seed: int = 0,
        num_workers: int = 0,
        augmentation: Augmentation | None = None,
        frames: FrameOptions | None = None,
        leave_out: int = 0,
        limit: int | None = None,
        download: bool = True,
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
        if leave_out < 0:
            raise ArgumentError(f"leave_out is {leave_out}; it has to be at least 0")
        self.root = root
        self.leave_out = leave_out
        self.limit = limit
        self.download = download

    def prepare_data(self) -> None:
        """Download MNIST if it is missing and may be fetched, and simulate its recordings."""
        SaccadeMNIST(self.root, limit=self.limit, download=self.download)
        super().prepare_data()

    def recordings(self, train: bool) -> SaccadeMNIST:
        """Return the training or the test recordings."""
        return SaccadeMNIST(self.root, train, limit=self.limit)

    def split(self, recordings: Recordings) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Hold out a share of each class, and leave out the first recordings."""
        kept, held_out = super().split(recordings)
        return kept[kept >= self.leave_out], held_out[held_out >= self.leave_out]
