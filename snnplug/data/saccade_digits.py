"""Event recordings that need no download: scikit-learn's digits before a simulated event camera."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from snnplug.data.augmentation import Augmentation
from snnplug.data.event_data_module import EventDataModule
from snnplug.data.frames import FrameOptions
from snnplug.data.saccades import SIMULATION, SaccadeCamera, simulate_saccades
from snnplug.data.split import stratified_split

_TEST_SHARE = 0.2
_TEST_SEED = 0


class SaccadeDigits:
    """1,797 real handwritten digits, recorded by a simulated event camera.

    scikit-learn's digits (8x8 pixels, from the UCI repository, CC BY 4.0) through
    :func:`~snnplug.data.saccades.simulate_saccades`. It has the format of N-MNIST (34x34 pixels,
    two polarities, three saccades in 315 ms, ten classes) and is not N-MNIST. A fifth of each
    class, the same in every run, is the test set.

    A recording is simulated when it is asked for.

    Args:
        train: Training or test recordings: 1,438 or 359.
        camera: Parameters of the simulation.
        seed: Seed of the camera's noise.

    Example:
        >>> recordings = SaccadeDigits(train=False)
        >>> events, digit = recordings[0]
        >>> events.dtype.names, digit == recordings.targets[0]
        (('x', 'y', 't', 'p'), True)

    Reference:
        E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
        Repository, 1998; the camera as in ``simulate_saccades``.
    """

    title = "SaccadeDigits (simulated events)"

    def __init__(
        self, train: bool = True, camera: SaccadeCamera | None = None, seed: int = 0
    ) -> None:
        from sklearn.datasets import load_digits

        digits: Any = load_digits()
        kept, held_out = stratified_split(digits.target, _TEST_SHARE, _TEST_SEED)
        self._indices = kept if train else held_out
        # Sixteen grey levels and white on black; the camera takes light in [0, 1].
        self._images = (digits.images[self._indices] / 16.0).astype(np.float32)
        self.targets: list[int] = digits.target[self._indices].tolist()
        self._camera = camera or SaccadeCamera()
        self._seed = seed

    @property
    def key(self) -> dict[str, Any]:
        """What the recordings are simulated from; the version changes with the simulation."""
        return {
            "name": "SaccadeDigits",
            "version": SIMULATION,
            "camera": asdict(self._camera),
            "seed": self._seed,
            "indices": hashlib.sha256(self._indices.tobytes()).hexdigest(),
        }

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.void], int]:
        """Return the events of one recording and its digit."""
        seed = self._seed * 10_000 + int(self._indices[index])
        events = simulate_saccades(self._images[index], self._camera, seed=seed)
        return events, self.targets[index]


class SaccadeDigitsDataModule(EventDataModule):
    """:class:`SaccadeDigits` as time-first frames; nothing to download.

    Args:
        num_steps: Time bins per recording.
        duration_us: Window, in µs.
        batch_size: Recordings per batch.
        binary: Clip counts to 1.
        val_fraction: Share of the training recordings held out for validation.
        split_seed: Seed of that choice.
        num_workers: Processes that load in the background.
        augmentation: What is changed at random in each training recording, anew each epoch.
        frames: How events become frames, beyond bins and window.

    Shape:
        - batch: frames ``(T, B, 2, 34, 34)``, targets ``(B,)``

    Example:
        >>> SaccadeDigitsDataModule(num_steps=10).in_shape
        (2, 34, 34)

    Reference:
        As :class:`SaccadeDigits`.
    """

    classes: ClassVar[tuple[str, ...]] = tuple(str(digit) for digit in range(10))
    sensor_size: ClassVar[tuple[int, int, int]] = (34, 34, 2)

    def __init__(
        self,
        num_steps: int = 10,
        duration_us: int = 316_000,
        batch_size: int = 64,
        binary: bool = True,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        num_workers: int = 0,
        augmentation: Augmentation | None = None,
        frames: FrameOptions | None = None,
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

    def recordings(self, train: bool) -> SaccadeDigits:
        """Return the training or the test recordings."""
        return SaccadeDigits(train=train)
