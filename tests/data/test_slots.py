"""Frames out of worker processes: what arrives is what was sent, in memory that is used again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten
from torch.utils.data import DataLoader

from snnplug.data import slots
from snnplug.data.augmentation import Augmentation
from snnplug.data.event_batches import EpochSampler, EventBatches, as_is
from snnplug.data.frames import FrameOptions, Framing
from snnplug.data.packing import pack
from snnplug.data.store import EventStore
from snnplug.mixed import Mixed
from tests.support.events import random_events

SENSOR = (34, 34, 2)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EventStore:
    source: list[Any] = [(random_events(300, k), k % 3) for k in range(24)]
    hot = source[5][0].copy()
    hot["t"], hot["x"], hot["y"], hot["p"] = 10, 3, 3, 1  # more in one bin than a byte holds
    source[5] = hot, 2
    return pack(source, tmp_path_factory.mktemp("a") / "a.events", SENSOR, {"name": "24"})


def _epochs(batches: EventBatches, workers: int) -> Iterator[Any]:
    loader: Any = DataLoader(
        batches,
        batch_size=3,
        sampler=EpochSampler(len(batches), shuffle=True),
        num_workers=workers,
        collate_fn=as_is,
        persistent_workers=workers > 0,
        multiprocessing_context="fork" if workers else None,
    )
    for _ in range(3):
        yield from loader


@pytest.mark.parametrize(
    ("binary", "options"),
    [
        (True, FrameOptions()),
        (False, FrameOptions()),
        (False, FrameOptions(dtype="uint8", variable_length=True)),
        (False, FrameOptions(most=300)),
    ],
)
def test_what_arrives_is_what_one_process_makes(
    store: EventStore, binary: bool, options: FrameOptions
) -> None:
    batches = EventBatches(store, Framing(7, 300_000, SENSOR, binary, options))
    arrived = list(_epochs(batches.sending(), 2))
    expected = list(_epochs(batches, 0))
    assert len(arrived) == len(expected) == 24
    for batch, same in zip(arrived, expected, strict=True):
        assert len(batch) == len(same) == 2 + options.variable_length
        for values, others in zip(batch, same, strict=True):
            assert values.dtype == others.dtype
            assert torch.equal(values, others)
    highest = max(frames.max().item() for frames, *_ in arrived)
    assert highest == (1 if binary else 255 if options.dtype == "uint8" else 300)


@pytest.mark.parametrize("sequences", [False, True])
def test_what_has_targets_of_several_tensors_goes_the_same_way(
    store: EventStore, sequences: bool
) -> None:
    framing = Framing(7, 300_000, SENSOR, options=FrameOptions(variable_length=sequences))
    several = [[k % 3, *[1] * (k % 4)] for k in range(24)] if sequences else None
    changes = Augmentation(mix=0.3, cut_mix=0.3) if several is None else None
    batches = EventBatches(store, framing, None, changes, sequences=several)
    slots._KNOWN.clear()
    arrived = list(_epochs(batches.sending(), 1))
    assert slots._KNOWN
    for batch, same in zip(arrived, _epochs(batches, 0), strict=True):
        assert len(batch) == (4 if sequences else 2)
        assert isinstance(batch[1], Tensor if sequences else Mixed)
        (ours, kind), (theirs, same_kind) = tree_flatten(batch), tree_flatten(same)
        assert kind == same_kind
        for one, other in zip(ours, theirs, strict=True):
            assert one.dtype == other.dtype
            assert torch.equal(one, other)


def test_a_few_slots_serve_all_batches_and_go_with_their_workers(store: EventStore) -> None:
    batches = EventBatches(store, Framing(7, 300_000, SENSOR)).sending()
    for _ in range(2):
        assert len(list(_epochs(batches, 1))) == 24
        assert 1 <= len(slots._KNOWN) <= slots._MOST


def test_a_slot_is_taken_until_its_batch_arrives() -> None:
    own, taken = slots.Slots(), []
    for _ in range(slots._MOST):
        slot: Any = own.free(100)
        taken.append(slot.send((100,), False, []).__reduce__())
    assert own.free(100) is None
    first, arguments = taken[0]
    assert first(*arguments)[0].shape == (100,)
    assert own.free(100) is not None
    assert own.free(101) is None


def test_as_if_sent_here_without_a_worker(store: EventStore) -> None:
    batches = EventBatches(store, Framing(7, 300_000, SENSOR))
    places = [(0, 4), (0, 5)]
    frames, targets = batches.sending().__getitems__(places)
    assert torch.equal(frames, batches.__getitems__(places)[0])
    assert np.array_equal(targets, store.labels[[4, 5]])
