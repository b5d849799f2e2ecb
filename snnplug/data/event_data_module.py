"""What the data modules of event recordings share: frames, split, loaders, description."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from snnplug.data.frames import Framing, time_first
from snnplug.data.split import stratified_split
from snnplug.errors import ArgumentError

# Data sets up to this size are scanned once for events outside the window.
_SCAN_AT_MOST = 4000


class Recordings(Protocol):
    """A data set of events: what tonic's data sets are."""

    @property
    def targets(self) -> list[int]:
        """Class of each recording."""
        ...

    @property
    def title(self) -> str:
        """What a result on these recordings is a result on."""
        ...

    def __len__(self) -> int:
        """Return the number of recordings."""
        ...

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.void], int]:
        """Return events and class."""
        ...


class FramedRecordings(Dataset[tuple[npt.NDArray[Any], int]]):
    """Recordings as frames ``(T, P, H, W)``, some or all of a data set.

    Args:
        recordings: Events and class by index.
        framing: How events become frames.
        indices: Which recordings, in order; None takes all.
        shift_px: Move each recording by up to so many pixels in x and in y, drawn anew each time;
            what leaves the sensor is lost.
    """

    def __init__(
        self,
        recordings: Recordings,
        framing: Framing,
        indices: npt.NDArray[np.int64] | None = None,
        shift_px: int = 0,
    ) -> None:
        self.shift_px = shift_px
        self.recordings = recordings
        self.framing = framing
        self.indices = np.arange(len(recordings)) if indices is None else indices

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[Any], int]:
        """Return frames and class."""
        events, target = self.recordings[int(self.indices[index])]
        if self.shift_px:
            events = self._shifted(events)
        return self.framing(events)[0], target

    def _shifted(self, events: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
        width, height = self.framing.sensor_size[:2]
        # torch's generator: seeded with the run, and differently in each worker process.
        dx, dy = torch.randint(-self.shift_px, self.shift_px + 1, (2,)).tolist()
        moved = events.copy()
        moved["x"] += dx
        moved["y"] += dy
        inside = (
            (moved["x"] >= 0) & (moved["x"] < width) & (moved["y"] >= 0) & (moved["y"] < height)
        )
        kept: npt.NDArray[np.void] = moved[inside]
        return kept

    def count_events(self) -> tuple[int, int]:
        """Return how many events all recordings hold, and how many the window drops."""
        total = dropped = 0
        for index in self.indices:
            events = self.recordings[int(index)][0]
            total += len(events)
            dropped += self.framing(events)[1]
        return total, dropped


class EventDataModule(pl.LightningDataModule):
    """Event recordings as time-first batches: frames ``(T, B, P, H, W)`` and targets ``(B,)``.

    A subclass names its classes and returns its recordings. The validation set is held out of the
    training recordings, class by class and seeded; the test set is never used for it.

    Args:
        num_steps: Time bins per recording.
        duration_us: Window that the bins divide, in µs; events after it are dropped and reported.
        batch_size: Recordings per batch.
        binary: Clip counts to 1, so that the input is spikes.
        val_fraction: Share of the training recordings held out for validation.
        split_seed: Seed of that choice.
        num_workers: Processes that load in the background; 0 loads in this one.
        shift_px: Move each training recording by up to so many pixels, anew each epoch.
    """

    classes: ClassVar[Sequence[str]]
    sensor_size: ClassVar[tuple[int, ...]]

    def __init__(
        self,
        num_steps: int,
        duration_us: int,
        batch_size: int,
        binary: bool,
        val_fraction: float,
        split_seed: int,
        num_workers: int,
        shift_px: int,
    ) -> None:
        super().__init__()
        if batch_size < 1 or num_workers < 0 or shift_px < 0:
            raise ArgumentError(
                f"batch_size is {batch_size}, num_workers {num_workers}, shift_px {shift_px}; they "
                "have to be at least 1, 0 and 0"
            )
        self.shift_px = shift_px
        self.framing = Framing(num_steps, duration_us, self.sensor_size, binary)
        self.batch_size = batch_size
        self.val_fraction = val_fraction
        self.split_seed = split_seed
        self.num_workers = num_workers
        self._sets: dict[str, FramedRecordings] = {}

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one frame: polarities, height, width; or channels."""
        return self.framing.frame_shape

    @property
    def num_steps(self) -> int:
        """Time steps per recording."""
        return self.framing.num_steps

    @abstractmethod
    def recordings(self, train: bool) -> Recordings:
        """Return the training or the test recordings."""

    def split(self, recordings: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return which training recordings to train on, and which to validate on."""
        return stratified_split(recordings.targets, self.val_fraction, self.split_seed)

    def setup(self, stage: str) -> None:
        """Open the recordings that the stage needs, and say what was found."""
        if stage in ("fit", "validate") and "train" not in self._sets:
            recordings = self.recordings(train=True)
            kept, held_out = self.split(recordings)
            self._sets["train"] = FramedRecordings(recordings, self.framing, kept, self.shift_px)
            self._sets["val"] = FramedRecordings(recordings, self.framing, held_out)
            self._describe("train", "val")
        if stage in ("test", "predict") and "test" not in self._sets:
            self._sets["test"] = FramedRecordings(self.recordings(train=False), self.framing)
            self._describe("test")

    def _describe(self, *names: str) -> None:
        sets = [self._sets[name] for name in names]
        sizes = " + ".join(f"{len(s)} {name}" for s, name in zip(sets, names, strict=True))
        text = (
            f"{sets[0].recordings.title}: {sizes} recordings, {self.num_steps} steps over "
            f"{self.framing.duration_us / 1000:g} ms"
        )
        if sum(len(s) for s in sets) <= _SCAN_AT_MOST:
            total, dropped = (
                sum(counts) for counts in zip(*(s.count_events() for s in sets), strict=True)
            )
            text += f", {dropped:,} of {total:,} events outside the window and dropped"
        rank_zero_info(text)

    def _loader(self, name: str, shuffle: bool = False) -> DataLoader[tuple[Tensor, Tensor]]:
        return DataLoader(
            self._sets[name],  # type: ignore[arg-type]  # collated into tensors
            batch_size=self.batch_size,
            shuffle=shuffle,
            num_workers=self.num_workers,
            collate_fn=time_first,
            persistent_workers=self.num_workers > 0,
        )

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return shuffled training batches."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return validation batches."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return test batches."""
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return test batches."""
        return self._loader("test")
