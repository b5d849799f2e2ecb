"""Batches of recordings from a store: one call each, the same for any number of processes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed
from torch import Tensor
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from snnplug.data.frames import Framing
from snnplug.data.store import EventStore
from snnplug.kernels.frames import Recording

Place = tuple[int, int]


class EventBatches(Dataset[Any]):
    """Recordings of a store as frames ``(T, B, *)`` and targets ``(B,)``, some or all of them.

    A batch is asked for by ``(epoch, index)`` of each recording, which is what
    :class:`EpochSampler` gives, and depends on nothing else: not on the process that loads it,
    nor on what was loaded before.

    Args:
        store: The recordings.
        framing: How events become frames.
        indices: Which recordings, in order; None takes all.
        shift_px: Move each recording by up to so many pixels in x and in y, drawn anew in each
            epoch; what leaves the sensor is lost.
        seed: Seed of those moves.
    """

    def __init__(
        self,
        store: EventStore,
        framing: Framing,
        indices: npt.NDArray[np.int64] | None = None,
        shift_px: int = 0,
        seed: int = 0,
    ) -> None:
        self.store = store
        self.framing = framing
        self.indices = np.arange(len(store)) if indices is None else indices
        self.shift_px = shift_px
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self.indices)

    def __getitem__(self, place: Place) -> tuple[Tensor, Tensor]:
        """Return a batch of one."""
        return self.__getitems__([place])

    def __getitems__(self, places: Sequence[Place]) -> tuple[Tensor, Tensor]:
        """Return a batch: torch's loader asks for it as a whole."""
        chosen = [(epoch, int(self.indices[index])) for epoch, index in places]
        recordings: list[Recording] = [self.store.arrays(index) for _, index in chosen]
        if self.shift_px:
            recordings = [
                self._shifted(recording, place)
                for recording, place in zip(recordings, chosen, strict=True)
            ]
        targets = torch.from_numpy(self.store.labels[[index for _, index in chosen]])
        return self.framing(recordings)[0], targets

    def _shifted(self, recording: Recording, place: Place) -> Recording:
        t, site = recording
        width, height, _ = self.framing.sensor_size
        rng = np.random.default_rng((self.seed, *place))
        dx, dy = rng.integers(-self.shift_px, self.shift_px + 1, 2).tolist()
        x, row = site % width, site // width  # rows of one polarity after the other
        y = row % height
        inside = (x < width - dx) & (y < height - dy)
        if dx < 0:
            inside &= x >= -dx
        if dy < 0:
            inside &= y >= -dy
        kept = site[inside].astype(np.int64) + (dy * width + dx)
        return t[inside], kept.astype(site.dtype)

    def count_events(self) -> tuple[int, int]:
        """Return how many events all recordings hold, and how many the window drops."""
        duration_us = self.framing.duration_us
        late = self.indices[self.store.last_us[self.indices] >= duration_us]
        dropped = 0
        for index in late:
            t, _ = self.store.arrays(int(index))
            dropped += len(t) - int(np.searchsorted(t, duration_us))
        return int(self.store.num_events[self.indices].sum()), dropped


def as_is(batch: Any) -> Any:
    """Return the batch: there is nothing left to collate."""
    return batch


class EpochSampler(DistributedSampler[Any]):
    """The order of an epoch, from the seed and the epoch's number, shared among processes.

    Gives ``(epoch, index)``. Lightning sets the epoch; a loop without Lightning goes through
    epochs 0, 1, 2 … by itself. Training gives every process equally many samples, some of them
    twice if they do not come out even; evaluation gives each sample once.

    Args:
        count: Number of samples.
        shuffle: In a new order each epoch, and evenly shared; else in the given order.
        seed: Seed of the orders.
        epoch: The first epoch.

    Example:
        >>> sampler = EpochSampler(3, shuffle=True)
        >>> sorted(index for _, index in sampler), [epoch for epoch, _ in sampler]
        ([0, 1, 2], [1, 1, 1])
    """

    def __init__(self, count: int, shuffle: bool, seed: int = 0, epoch: int = 0) -> None:
        shared = torch.distributed.is_available() and torch.distributed.is_initialized()
        super().__init__(
            range(count),  # type: ignore[arg-type]  # only its length is asked for
            num_replicas=None if shared else 1,
            rank=None if shared else 0,
            shuffle=shuffle,
            seed=seed,
        )
        self.count = count
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of samples of this process."""
        return len(self._share(np.arange(self.count)))

    def __iter__(self) -> Iterator[Any]:
        """Yield epoch and index of each sample of this process."""
        epoch, self.epoch = self.epoch, self.epoch + 1
        order = np.arange(self.count)
        if self.shuffle:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.count)
        yield from ((epoch, index) for index in self._share(order).tolist())

    def _share(self, order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        if self.shuffle:
            each = -(-len(order) // self.num_replicas)
            order = np.resize(order, each * self.num_replicas)
        return order[self.rank :: self.num_replicas]


def run_seed() -> int:
    """Return the seed of ``seed_everything``; 0 without one."""
    return int(os.environ.get("PL_GLOBAL_SEED", 0))
