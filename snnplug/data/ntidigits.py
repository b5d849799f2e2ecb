"""Spoken digits as events of a 64-channel cochlea, from a file in the N-TIDIGITS18 format."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from snnplug.data.augmentation import Augmentation
from snnplug.data.download import fetch
from snnplug.data.event_data_module import EventDataModule
from snnplug.data.frames import FrameOptions
from snnplug.data.hdf5 import read_hdf5
from snnplug.data.split import group_split
from snnplug.errors import ArgumentError, DataError, DataNotFoundError

CHANNELS = 64
_FILE = Path("NTIDIGITS18", "n-tidigits.hdf5")
# Address and MD5 sum of the published file, as tonic 1.7 has them.
_URL = (
    "https://www.dropbox.com/scl/fi/1x4lxt9yyw25sc3tez8oi/n-tidigits.hdf5"
    "?e=2&rlkey=w8gi5udvib2zqzosusa5tr3wq&dl=1"
)
_MD5 = "360a2d11e5429555c9197381cf6b58e0"
# TIDIGITS has 112 + 113 adult speakers of 22 single digits and 77 utterances each. One of the 8,624
# + 8,701 is the count of a split, by whether single digits alone are asked for.
_OFFICIAL = {
    (True, True): 2_464,
    (False, True): 2_486,
    (True, False): 8_624,
    (False, False): 8_701,
}
# A freely licensed file in the same format: the Free Spoken Digit Dataset through a synthetic
# cochlea. Its size, its sum, and what a result on it is a result on.
_SYNTHETIC_BYTES = 12_215_506
_SYNTHETIC_SHA256 = "37be4a6f33273ea59e884d48cc3ec9da0deb1a27933e5eb1b9153abefd4f11f4"
_SYNTHETIC = "FSDD-cochlea (synthetic events, not N-TIDIGITS)"

_CLASSES = ("o", *"123456789", "z")
_ID = re.compile(r"([^-]+)-([^-]+)-[^-]+-([o1-9z]+)")
_US_PER_S = 1e6
_DAMAGED = "it is no whole HDF5 file in the N-TIDIGITS18 format; copy or download it again"


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
        self.path = Path(root) / _FILE
        self.train = train
        self.single_digits = single_digits
        if not self.path.is_file():
            _fetch(self.path, download)
        found = [_parsed(name, self.path) for name in self._names()]
        kept = [entry for entry in found if len(entry[2]) == 1 or not single_digits]
        if not kept:
            raise DataError(f"{self.path} holds no {self._split} utterance of one digit")
        #: Name of each utterance in the file, its speaker, and the digits that are spoken.
        self.ids = [name for name, _, _ in kept]
        self.speakers = [speaker for _, speaker, _ in kept]
        self.digits = [digits for _, _, digits in kept]
        self.targets = [_CLASSES.index(d) if len(d) == 1 else -1 for d in self.digits]
        self.title = self._title()

    @property
    def _split(self) -> str:
        return "train" if self.train else "test"

    def _names(self) -> list[str]:
        (names,) = read_hdf5(self.path, [(f"{self._split}_labels", None)], remedy=_DAMAGED)
        try:
            return [name.decode("ascii") for name in names.tolist()]
        except (AttributeError, TypeError, UnicodeDecodeError) as error:
            raise DataError(
                f"{self.path}: its {self._split}_labels are {names.dtype} {names.shape}, no names "
                f"({error}); {_DAMAGED}"
            ) from error

    def _title(self) -> str:
        if len(self) == _OFFICIAL[self.train, self.single_digits]:
            return "N-TIDIGITS18"
        if self.path.stat().st_size == _SYNTHETIC_BYTES:
            digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
            if digest == _SYNTHETIC_SHA256:
                return _SYNTHETIC
        return "a file in the N-TIDIGITS18 format (not the published one)"

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
        name = self.ids[index]
        places = [(f"{self._split}_{part}/{name}", None) for part in ("addresses", "timestamps")]
        x, seconds = read_hdf5(self.path, places, name, _DAMAGED)
        return _events(x, seconds, f"{self.path}: {name}"), self.targets[index]


def _events(x: npt.NDArray[Any], seconds: npt.NDArray[Any], origin: str) -> npt.NDArray[np.void]:
    kinds = x.dtype.kind in "iu" and seconds.dtype.kind in "iuf"
    if x.ndim != 1 or x.shape != seconds.shape or not kinds:
        raise DataError(
            f"{origin} has {x.dtype} addresses {x.shape} and {seconds.dtype} times "
            f"{seconds.shape}; they have to be integers and numbers, of one length; {_DAMAGED}"
        )
    seconds = seconds.astype(np.float64)
    if x.size and not (int(x.min()) >= 0 and int(x.max()) < CHANNELS):
        raise DataError(
            f"{origin} has channels from {x.min()} to {x.max()}, not in 0 … {CHANNELS - 1}; "
            f"{_DAMAGED}"
        )
    # 32 bits of µs; also false for NaN.
    if seconds.size and not (seconds.min() >= 0 and seconds.max() * _US_PER_S < 2**32):
        raise DataError(
            f"{origin} has times from {seconds.min()} to {seconds.max()} s, not in 0 … 4294; "
            f"{_DAMAGED}"
        )
    events = np.empty(x.size, dtype=[("x", np.int64), ("t", np.int64)])
    events["x"] = x
    # The file's float32 seconds are a little off; to cut them would move a 3 ms event to 2,999 µs.
    events["t"] = np.rint(seconds * _US_PER_S)
    ordered: npt.NDArray[np.void] = events[np.argsort(events["t"], kind="stable")]
    return ordered


def _parsed(name: str, path: Path) -> tuple[str, str, str]:
    """Return name, speaker and digits of ``gender-speaker-sample-digits``."""
    match = _ID.fullmatch(name)
    if match is None:
        raise DataError(
            f"{path} names an utterance {name!r}, not gender-speaker-sample-digits; {_DAMAGED}"
        )
    gender, speaker, digits = match.groups()
    # In the synthetic file the number of the utterance is part of the speaker: ids are unique.
    return name, f"{gender}-{speaker.rstrip('0123456789')}", digits


def _fetch(path: Path, download: bool) -> None:
    by_hand = (
        f"put n-tidigits.hdf5 into {path.parent.resolve()}; its address is {_URL}, its MD5 sum "
        f"{_MD5}"
    )
    if not download:
        raise DataNotFoundError(
            f"no {path.resolve()}; set root to the folder that holds {_FILE}, or download: true "
            f"to fetch it, or {by_hand}"
        )
    fetch(_URL, path, f"md5:{_MD5}", by_hand)


class NTIDIGITSDataModule(EventDataModule):
    """Spoken digits of :class:`NTIDIGITS`, one a recording, as time-first frames.

    Validation speakers are held out whole, so ``val/acc`` is that of unknown voices, as the test is
    on the published file.

    With ``digits="sequences"`` the utterances of up to seven digits are there as well, for a loss
    that needs no place of each digit, such as :class:`torch.nn.CTCLoss`; recordings then have their
    own number of steps, and targets their own number of digits. Such batches are not for
    :class:`~snnplug.training.classifier.SpikingClassifier`, which names one class.

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
        digits: ``"single"`` takes utterances of one digit, ``"sequences"`` all.

    Shape:
        - batch: frames ``(T, B, 64)``, targets ``(B,)``
        - batch of sequences: frames ``(T, B, 64)``, targets ``(B, L)`` filled up with -1, steps of
          each ``(B,)``, digits of each ``(B,)``

    Raises:
        ArgumentError: ``digits`` is neither.

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
        digits: Literal["single", "sequences"] = "single",
    ) -> None:
        if digits not in ("single", "sequences"):
            raise ArgumentError(f"digits is {digits!r}; accepted are single and sequences")
        if digits == "sequences":
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

    def prepare_data(self) -> None:
        """Download the file if it is missing and may be fetched, and pack its utterances."""
        NTIDIGITS(self.root, download=self.download)
        super().prepare_data()

    def recordings(self, train: bool) -> NTIDIGITS:
        """Return the training or the test utterances."""
        return NTIDIGITS(self.root, train=train, single_digits=self.digits == "single")

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
