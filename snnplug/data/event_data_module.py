"""What the data modules of event recordings share: store, frames, split, loaders, description."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader

from snnplug.data.ahead import AheadLoader
from snnplug.data.augmentation import Augmentation
from snnplug.data.event_batches import EpochSampler, EventBatches, as_is, run_seed, widened
from snnplug.data.frames import FrameOptions, Framing
from snnplug.data.packing import pack
from snnplug.data.split import stratified_split
from snnplug.data.store import EventStore
from snnplug.errors import ArgumentError
from snnplug.files import cache_folder


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

    @property
    def key(self) -> dict[str, Any]:
        """What the recordings are and depend on, of JSON's types; another key is packed anew."""
        ...

    def __len__(self) -> int:
        """Return the number of recordings."""
        ...

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.void], int]:
        """Return events and class."""
        ...


class EventDataModule(pl.LightningDataModule):
    """Event recordings as time-first batches: frames ``(T, B, P, H, W)`` and targets ``(B,)``.

    A subclass names its classes and returns its recordings. They are packed into one file per split
    the first time, in :func:`cache_folder`, and read from there. The validation set is held out of
    the training recordings, class by class and seeded; the test set is never used for it.

    A seed gives the same batches for any number of workers, however they are started, and the
    samples of an epoch do not depend on the number of processes that share it.

    Args:
        num_steps: Time bins per recording.
        duration_us: Window that the bins divide, in µs; events after it are dropped and reported.
        batch_size: Recordings per batch.
        binary: Clip counts to 1, so that the input is spikes.
        val_fraction: Share of the training recordings held out for validation.
        split_seed: Seed of that choice.
        num_workers: Processes that load in the background; 0 loads in this one.
        augmentation: What is changed at random in each training recording, anew each epoch.
        frames: How events become frames, beyond bins and window.
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
        augmentation: Augmentation | None = None,
        frames: FrameOptions | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1 or num_workers < 0:
            raise ArgumentError(
                f"batch_size is {batch_size}, num_workers {num_workers}; they have to be at least "
                "1 and 0"
            )
        self.augmentation = augmentation or Augmentation()
        options = frames or FrameOptions()
        self.framing = Framing(num_steps, duration_us, self.sensor_size, binary, options)
        self.batch_size = batch_size
        self.val_fraction = val_fraction
        self.split_seed = split_seed
        self.num_workers = num_workers
        self._sets: dict[str, EventBatches] = {}

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

    def prepare_data(self) -> None:
        """Pack the recordings where that has not been done; one process of each machine does."""
        for train in (True, False):
            self.store(train)

    def store(self, train: bool) -> EventStore:
        """Return the packed training or test recordings, and pack them if that was not done."""
        return self._packed(self.recordings(train))

    def setup(self, stage: str) -> None:
        """Open the recordings that the stage needs, and say what was found."""
        if stage in ("fit", "validate") and "train" not in self._sets:
            recordings = self.recordings(train=True)
            store, seed = self._packed(recordings), run_seed()
            kept, held_out = self.split(recordings)
            self._sets["train"] = EventBatches(store, self.framing, kept, self.augmentation, seed)
            self._sets["val"] = EventBatches(store, self.framing, held_out)
            self._describe("train", "val")
        if stage in ("test", "predict") and "test" not in self._sets:
            self._sets["test"] = EventBatches(self.store(train=False), self.framing)
            self._describe("test")

    def _packed(self, recordings: Recordings) -> EventStore:
        name = type(recordings).__name__.lower().lstrip("_")
        digest = hashlib.sha256(json.dumps(recordings.key, sort_keys=True).encode()).hexdigest()
        return pack(
            recordings,
            cache_folder() / f"{name}-{digest[:16]}.events",
            self.sensor_size,
            recordings.key,
            recordings.title,
            progress=True,
        )

    def _describe(self, *names: str) -> None:
        sets = [self._sets[name] for name in names]
        sizes = " + ".join(f"{len(s)} {name}" for s, name in zip(sets, names, strict=True))
        counts = [events.count_events() for events in sets]
        total, dropped = (sum(column) for column in zip(*counts, strict=True))
        rank_zero_info(
            f"{sets[0].store.title}: {sizes} recordings, {self.num_steps} steps over "
            f"{self.framing.window_us[1] / 1000:g} ms, {dropped:,} of {total:,} events outside the "
            "window and dropped"
        )

    def _loader(self, name: str, shuffle: bool = False) -> DataLoader[tuple[Tensor, ...]]:
        samples = self._sets[name].sending()
        # A run that goes on begins with a later epoch; `current_epoch` follows this count too late.
        epoch = 0
        if self.trainer is not None:
            progress: Any = self.trainer.fit_loop.epoch_progress.current
            epoch = progress.processed
        return AheadLoader(
            samples,
            batch_size=self.batch_size,
            sampler=EpochSampler(len(samples), shuffle, run_seed(), epoch),
            num_workers=self.num_workers,
            collate_fn=as_is,
            persistent_workers=self.num_workers > 0,
        )

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Widen frames of bytes, on the device that they are on now."""
        frames, *rest = batch
        return (widened(frames), *rest)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Return shuffled training batches."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Return validation batches."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Return test batches."""
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Return test batches."""
        return self._loader("test")
