"""Batches of recordings from a store: one call each, the same for any number of processes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info
from torch.utils.data.distributed import DistributedSampler

from snnplug.data.augmentation import Augmentation, Streams
from snnplug.data.frames import EventCounts, Framing
from snnplug.data.mixing import Mixture, cut_mixed, mixed, rectangle, sites_within
from snnplug.data.slots import Slots, Values, as_tensors
from snnplug.data.store import EventStore
from snnplug.kernels import native
from snnplug.kernels.arrival import take
from snnplug.kernels.located import Recording

Place = tuple[int, int]

_BYTE = 255


class EventBatches(Dataset[Any]):
    """Recordings of a store as frames ``(T, B, *)`` and targets ``(B,)``, some or all of them.

    A batch is asked for by ``(epoch, index)`` of each recording, which is what
    :class:`EpochSampler` gives, and depends on nothing else: not on the process that loads it,
    nor on what was loaded before. With ``variable_length`` a third tensor ``(B,)`` holds the steps
    of each recording, and ``T`` is the most of them. With ``sequences`` a target is one of several
    classes, ``(B, L)`` filled up with -1, and a last tensor ``(B,)`` says how many each has.

    Args:
        store: The recordings.
        framing: How events become frames.
        indices: Which recordings, in order; None takes all.
        augmentation: What is drawn anew for each recording in each epoch.
        seed: Seed of that.
        sequences: The classes of each recording of the store, where it has several.
    """

    def __init__(
        self,
        store: EventStore,
        framing: Framing,
        indices: npt.NDArray[np.int64] | None = None,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        sequences: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self.sequences = sequences
        self.store = store
        self.framing = framing
        self.indices = np.arange(len(store)) if indices is None else indices
        self.augmentation = augmentation or Augmentation()
        self._seed = seed
        self._slots: Slots | None = None
        options = framing.options
        #: The same frames in bytes, where none of them is above what a byte holds.
        self._in_bytes = replace(framing, options=replace(options, dtype="uint8"))
        self._may_overflow = options.dtype == "float32" and not framing.binary
        self._may_overflow &= options.most is None

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self.indices)

    def __getitem__(self, place: Place) -> tuple[Tensor, ...]:
        """Return a batch of one."""
        return self.__getitems__([place])

    def __getitems__(self, places: Sequence[Place]) -> tuple[Tensor, ...]:
        """Return a batch: torch's loader asks for it as a whole."""
        sent: Any = self._sent(places)
        if sent is not None:
            return sent  # type: ignore[no-any-return]  # unpickled, it is a tuple of tensors
        frames, _, lengths, mixed_targets = self._framed(self.framing, places, None)
        rest: Any = map(as_tensors, self._rest(places, lengths, mixed_targets))
        if self.framing.options.variable_length:
            frames = frames[: int(lengths.max())]
        return frames, *rest

    def _rest(
        self,
        places: Sequence[Place],
        lengths: npt.NDArray[np.int64],
        mixed_targets: tuple[npt.NDArray[Any], ...] | None,
    ) -> list[Values]:
        """Return what comes with the frames: targets, steps, and number of targets."""
        chosen = self._chosen(places)
        steps: list[Values] = [lengths] if self.framing.options.variable_length else []
        if mixed_targets is not None:
            return [mixed_targets, *steps]
        if self.sequences is None:
            return [self.store.labels[chosen], *steps]
        several = [self.sequences[index] for index in chosen.tolist()]
        counts = np.array([len(classes) for classes in several])
        targets = np.full((len(several), counts.max()), -1)
        targets[np.arange(counts.max()) < counts[:, None]] = np.concatenate(several)
        return [targets, *steps, counts]

    def _mixture(self, place: Place, streams: Streams) -> Mixture:
        """Return how a recording is mixed."""
        own = int(self.indices[place[1]])
        return self.augmentation.mixture(streams(place[0], own, 1), own, self.indices)

    def sending(self) -> EventBatches:
        """Return the same batches, which worker processes give away as bytes in shared memory.

        What arrives is the same; between the processes only :func:`as_is` may collate them.
        """
        other = copy(self)
        other._slots = Slots()
        return other

    def _sent(self, places: Sequence[Place]) -> Any:
        """Return a batch in shared memory, or None where it cannot be or need not be."""
        most = self.framing.options.most
        if self._slots is None or get_worker_info() is None or (most or 0) > _BYTE:
            return None
        shape = (self.framing.num_steps, len(places), *self.framing.frame_shape)
        slot = self._slots.free(prod(shape))
        if slot is None:
            return None
        out = slot.content[: prod(shape)]
        _, counts, lengths, mixed_targets = self._framed(self._in_bytes, places, out)
        if self._may_overflow and counts.clipped.any():
            return None
        rest = self._rest(places, lengths, mixed_targets)
        if self.framing.options.variable_length:
            shape = (int(lengths.max()), *shape[1:])
        return slot.send(shape, self.framing.options.dtype == "float32", rest)

    def batch(self, places: Sequence[Place]) -> tuple[Tensor, EventCounts, npt.NDArray[np.int64]]:
        """Return frames, what became of every event, and the steps of each recording.

        Of a recording that is mixed the events of both are counted.
        """
        frames, counts, lengths, _ = self._framed(self.framing, places, None)
        return frames, counts, lengths

    def _framed(self, framing: Framing, places: Sequence[Place], out: Tensor | None) -> Any:
        """Return what :meth:`batch` does, and the targets of what is mixed, or None."""
        chosen = self._chosen(places)
        if self.augmentation.is_none():
            return *framing(self.store.recordings(chosen), out=out), None

        # Anew, since loaders may prepare batches of one set in several threads.
        streams = Streams(self._seed)

        def draws(b: int) -> np.random.Generator:
            return streams(places[b][0], int(chosen[b]))

        if not self.augmentation.is_mixing:
            recordings = self.store.recordings(chosen)
            return *framing(recordings, self.augmentation, draws, out), None
        both, left_out, targets = self._mixed(places, streams)
        frames, counts, lengths = framing(both, self.augmentation, draws, out)
        return frames, counts._replace(thinned=counts.thinned + left_out), lengths, targets

    def _mixed(
        self, places: Sequence[Place], streams: Streams
    ) -> tuple[list[Recording], npt.NDArray[np.int64], tuple[npt.NDArray[Any], ...]]:
        """Return recordings, some of them mixed, what each leaves out of both, and the targets."""
        recordings: list[Recording] = []
        left_out = np.zeros(len(places), dtype=np.int64)
        classes = np.empty((2, len(places)), dtype=np.int64)
        weights = np.ones(len(places), dtype=np.float32)
        axes = self.framing.layout.axes
        for b, (epoch, index) in enumerate(places):
            own = int(self.indices[index])
            mixture = self._mixture((epoch, index), streams)
            recording: Recording = self.store.arrays(own)
            weight = mixture.share
            if weight < 1.0:
                other = self.store.arrays(mixture.partner)
                if mixture.place is None:
                    rng = streams(epoch, own, 2)
                    recording, left_out[b] = mixed(recording, other, weight, rng)
                else:
                    inside = sites_within(rectangle(mixture, axes), axes)
                    recording, left_out[b], weight = cut_mixed(recording, other, inside)
            recordings.append(recording)
            of_most = [own, mixture.partner] if weight >= 0.5 else [mixture.partner, own]
            classes[:, b] = self.store.labels[of_most]
            weights[b] = max(weight, 1.0 - weight)
        return recordings, left_out, (*classes, weights)

    def _chosen(self, places: Sequence[Place]) -> npt.NDArray[np.int64]:
        """Return the places in the store."""
        return self.indices[[index for _, index in places]]

    def count_events(self) -> tuple[int, int]:
        """Return how many events all recordings hold, and how many are outside the window."""
        start, length = self.framing.window_us
        total = int(self.store.num_events[self.indices].sum())
        late = self.store.last_us[self.indices] >= start + length
        # Without a start, recordings that end within the window need not be read.
        outside = 0
        for index in self.indices[late] if start == 0 else self.indices:
            t, _ = self.store.arrays(int(index))
            first, last = np.searchsorted(t, (start, start + length)).tolist()
            outside += len(t) - last + first
        return total, outside


def as_is(batch: Any) -> Any:
    """Return the batch: there is nothing left to collate."""
    return batch


def widened(frames: Tensor) -> Tensor:
    """Return frames of bytes in torch's default dtype; on the CPU in memory that was used before.

    Args:
        frames: Of any shape and dtype; floating-point ones are returned as they are.

    Example:
        >>> widened(torch.tensor([0, 255], dtype=torch.uint8)).tolist()
        [0.0, 255.0]
    """
    if frames.is_floating_point():
        return frames
    dtype = torch.get_default_dtype()
    if not frames.is_cpu:
        return frames.to(dtype)
    shape = tuple(frames.shape)
    if native.library() is None or (frames.dtype, dtype) != (torch.uint8, torch.float32):
        return native.empty(shape, dtype).copy_(frames)
    return take(frames.reshape(-1), torch.ones(1, dtype=torch.int64), shape, dtype)


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
        #: Indices given in the present epoch, so far.
        self.drawn: list[int] = []

    def __len__(self) -> int:
        """Return the number of samples of this process."""
        return len(self._share(np.arange(self.count)))

    def __iter__(self) -> Iterator[Any]:
        """Yield epoch and index of each sample of this process."""
        epoch, self.epoch = self.epoch, self.epoch + 1
        order = np.arange(self.count)
        if self.shuffle:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.count)
        self.drawn = []
        for index in self._share(order).tolist():
            self.drawn.append(index)
            yield epoch, index

    def _share(self, order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        if self.shuffle:
            each = -(-len(order) // self.num_replicas)
            order = np.resize(order, each * self.num_replicas)
        return order[self.rank :: self.num_replicas]


def run_seed() -> int:
    """Return the seed of ``seed_everything``; 0 without one."""
    return int(os.environ.get("PL_GLOBAL_SEED", 0))
