"""Spoken digits as events of a 64-channel cochlea, from a file in the N-TIDIGITS18 format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from snnplug.data.augmentation import Augmentation
from snnplug.data.event_data_module import EventDataModule
from snnplug.data.frames import FrameOptions
from snnplug.data.joined_digits import JoinedDigits
from snnplug.data.ntidigits_file import (
    CHANNELS,
    FILE,
    events_of,
    fetch_file,
    names_of,
    parsed,
    title_of,
)
from snnplug.data.split import group_split
from snnplug.errors import ArgumentError, DataError

_CLASSES = ("o", *"123456789", "z")


class NTIDIGITS:
    """Spoken digits as events of a cochlea, one file for both splits.

    Published N-TIDIGITS18: 2,464 + 2,486 utterances of one digit, 8,624 + 8,701 in all with those
    of up to seven digits, 64 channels, times in seconds, eleven words: ``o`` and ``z`` both mean 0.
    Recorded from TIDIGITS, whose licence (LDC93S10) forbids to pass it on; no licence of the events
    is known. The speakers of the two splits are disjoint. Any file in the format is read, and
    :attr:`title` says what it is: results on another file are not N-TIDIGITS results.

    Args:
        root: The folder that holds ``NTIDIGITS18/n-tidigits.hdf5``.
        train: Training or test utterances.
        single_digits: Only utterances of one digit, whose class is 0 for ``o``, 1 … 9, and 10 for
            ``z``. False takes all; their class is -1, and :attr:`digits` says what is spoken.
        download: Fetch the published file when there is none, checked against its MD5 sum.

    Raises:
        DataNotFoundError: There is no file, and ``download`` is false or failed.
        DataError: The file is damaged or of another format, or an utterance is; the latter when
            it is read.

    Example:
        >>> utterances = NTIDIGITS("data")                   # doctest: +SKIP
        >>> events, label = utterances[0]                    # doctest: +SKIP
        >>> NTIDIGITS.classes[label], utterances.speakers[0] # doctest: +SKIP

    Reference:
        J. Anumula, D. Neil, T. Delbruck, S.-C. Liu, "Feature Representations for Neuromorphic Audio
        Spike Streams", Frontiers in Neuroscience 12:23, 2018. Classes as in tonic's code; other
        readers have ``z`` 0 and ``o`` 10.
    """

    classes: ClassVar[tuple[str, ...]] = _CLASSES
    sensor_size: ClassVar[tuple[int]] = (CHANNELS,)

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        single_digits: bool = True,
        download: bool = False,
    ) -> None:
        self.path = Path(root) / FILE
        self.train = train
        self.single_digits = single_digits
        if not self.path.is_file():
            fetch_file(self.path, download)
        found = [parsed(name, self.path) for name in names_of(self.path, self._split)]
        kept = [entry for entry in found if len(entry[2]) == 1 or not single_digits]
        if not kept:
            raise DataError(f"{self.path} holds no {self._split} utterance of one digit")
        #: Name of each utterance in the file, its speaker, and the digits that are spoken.
        self.ids = [name for name, _, _ in kept]
        self.speakers = [speaker for _, speaker, _ in kept]
        self.digits = [digits for _, _, digits in kept]
        self.targets = [_CLASSES.index(d) if len(d) == 1 else -1 for d in self.digits]
        self.title = title_of(self.path, len(self), train, single_digits)

    @property
    def _split(self) -> str:
        return "train" if self.train else "test"

    @property
    def key(self) -> dict[str, Any]:
        """The file with its size and time, and which of its utterances."""
        found = self.path.stat()
        return {
            "name": "N-TIDIGITS",
            "file": [str(self.path.resolve()), found.st_size, found.st_mtime_ns],
            "split": self._split,
            "single_digits": self.single_digits,
        }

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.void], int]:
        """Return the events of one utterance (fields x, the channel, and t in µs) and its class."""
        return events_of(self.path, self._split, self.ids[index]), self.targets[index]


class NTIDIGITSDataModule(EventDataModule):
    """Spoken digits of :class:`NTIDIGITS`, one a recording, as time-first frames.

    Validation speakers are held out whole, so ``val/acc`` is that of unknown voices, as the test is
    on the published file.

    With ``digits="sequences"`` the utterances of up to seven digits are there as well, and with
    ``"joined"`` sequences of up to ``most_digits`` that are put together from utterances of one,
    for files that have no others. Recordings then have their own number of steps, targets their own
    number of digits, and there is one class more, the blank of
    :class:`~snnplug.training.ctc.CTC`, which is the loss for them.

    Args:
        root: The folder that holds ``NTIDIGITS18/``.
        num_steps: Time bins per recording.
        duration_us: Window, in µs; what is later is dropped and reported.
        batch_size: Recordings per batch.
        binary: Clip counts to 1.
        val_fraction: Share of the training speakers held out for validation; at least one.
        split_seed: Seed of that choice.
        num_workers: Processes that load in the background.
        augmentation: What is changed at random in each training recording, anew each epoch.
        frames: How events become frames, beyond bins and window.
        download: Fetch the published file when there is none.
        digits: ``"single"`` takes utterances of one digit, ``"sequences"`` all, ``"joined"`` makes
            :class:`~snnplug.data.joined_digits.JoinedDigits` of those of one.
        most_digits: Digits of the longest that is joined.

    Shape:
        - batch: frames ``(T, B, 64)``, targets ``(B,)``
        - batch of sequences: frames ``(T, B, 64)``, targets ``(B, L)`` filled up with -1, steps of
          each ``(B,)``, digits of each ``(B,)``

    Raises:
        ArgumentError: ``digits`` is none of these.

    Example:
        >>> data = NTIDIGITSDataModule(num_steps=50)
        >>> data.num_classes, data.in_shape, data.classes[10]
        (11, (64,), 'z')

    Reference:
        As :class:`NTIDIGITS`. Deviation: published work often validates on the test set; this does
        not.
    """

    classes: ClassVar[tuple[str, ...]] = _CLASSES
    sensor_size: ClassVar[tuple[int, ...]] = (CHANNELS,)

    def __init__(
        self,
        root: str = "data",
        num_steps: int = 50,
        duration_us: int = 1_000_000,
        batch_size: int = 64,
        binary: bool = True,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        num_workers: int = 0,
        augmentation: Augmentation | None = None,
        frames: FrameOptions | None = None,
        download: bool = False,
        digits: Literal["single", "sequences", "joined"] = "single",
        most_digits: int = 5,
    ) -> None:
        if digits not in ("single", "sequences", "joined"):
            raise ArgumentError(f"digits is {digits!r}; accepted are single, sequences and joined")
        if digits != "single":
            if augmentation is not None and augmentation.is_mixing:
                raise ArgumentError(
                    "sequences cannot be mixed; leave augmentation.mix and cut_mix at 0"
                )
            frames = replace(frames or FrameOptions(), variable_length=True)
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
        self.digits = digits
        self.most_digits = most_digits

    @property
    def num_classes(self) -> int:
        """Outputs of the network: the digits, and where there are several the blank behind them."""
        return len(self.classes) + (self.digits != "single")

    def prepare_data(self) -> None:
        """Download the file if it is missing and may be fetched, and pack its utterances."""
        NTIDIGITS(self.root, download=self.download)
        super().prepare_data()

    def recordings(self, train: bool) -> NTIDIGITS | JoinedDigits:
        """Return the training or the test utterances."""
        utterances = NTIDIGITS(self.root, train, single_digits=self.digits != "sequences")
        if self.digits != "joined":
            return utterances
        return JoinedDigits(utterances, self.most_digits, seed=0 if train else 1)

    def setup(self, stage: str) -> None:
        """Open the utterances that the stage needs, and what is spoken in each."""
        super().setup(stage)
        if self.digits == "single":
            return
        for name, batches in self._sets.items():
            if batches.sequences is None:
                spoken = self.recordings(train=name != "test").digits
                batches.sequences = [[_CLASSES.index(digit) for digit in said] for said in spoken]

    def split(self, recordings: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Hold whole speakers out."""
        return group_split(recordings.speakers, self.val_fraction, self.split_seed)
