"""Batches from a store: the same samples and moves, whoever loads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from snnplug.data.augmentation import Augmentation
from snnplug.data.event_batches import EpochSampler, EventBatches
from snnplug.data.frames import Framing
from snnplug.data.nmnist import NMNISTDataModule
from snnplug.data.packing import pack
from snnplug.data.store import EventStore
from tests.support.events import random_events, write_nmnist
from tests.support.slow_frames import slow_frames

FRAMING = Framing(5, 300_000)


@pytest.fixture
def store(tmp_path: Path) -> EventStore:
    source = [(random_events(50 + k, k), k % 3) for k in range(10)]
    return pack(source, tmp_path / "a.events", (34, 34, 2), {"name": "ten"})


def test_a_batch_is_its_recordings_in_order(store: EventStore) -> None:
    batches = EventBatches(store, FRAMING, np.array([7, 2, 4]))
    frames, targets = batches.__getitems__([(0, 2), (0, 0)])
    assert targets.tolist() == [4 % 3, 7 % 3]
    for b, index in enumerate((4, 7)):
        assert np.array_equal(frames[:, b].numpy(), slow_frames(store[index][0], FRAMING)[0])


def test_a_move_shifts_every_event_alike_and_drops_what_leaves(store: EventStore) -> None:
    moved = EventBatches(store, FRAMING, augmentation=Augmentation(shift_px=6), seed=3)
    seen = set()
    for epoch in range(20):
        frames, _ = moved[epoch, 1]
        plain = slow_frames(store[1][0], FRAMING)[0]
        fits = [
            (dx, dy)
            for dx in range(-6, 7)
            for dy in range(-6, 7)
            if np.array_equal(frames[:, 0].numpy(), _shifted(plain, dx, dy))
        ]
        assert len(fits) == 1
        seen.update(fits)
        assert torch.equal(frames, moved[epoch, 1][0])
    assert len(seen) > 10
    for axis in zip(*seen, strict=True):
        assert {-1, 1} <= {int(np.sign(move)) for move in axis}


def _shifted(frames: Any, dx: int, dy: int) -> Any:
    padded = np.pad(frames, ((0, 0), (0, 0), (6, 6), (6, 6)))
    return padded[..., 6 - dy : 40 - dy, 6 - dx : 40 - dx]


@pytest.mark.parametrize("count", [1, 7, 8])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_an_epoch(count: int, processes: int) -> None:
    def shares(shuffle: bool, epoch: int) -> list[list[Any]]:
        found = []
        for rank in range(processes):
            sampler = EpochSampler(count, shuffle, seed=5)
            sampler.num_replicas, sampler.rank = processes, rank
            sampler.set_epoch(epoch)
            found.append(list(sampler))
            assert len(found[-1]) == len(sampler)
        return found

    training = shares(True, 2)
    assert len({len(share) for share in training}) == 1
    assert {place for share in training for place in share} == {(2, k) for k in range(count)}
    evaluation = [place for share in shares(False, 0) for place in share]
    assert sorted(evaluation) == [(0, k) for k in range(count)]


def test_orders_differ_by_epoch_and_seed_and_go_on_by_themselves() -> None:
    sampler = EpochSampler(50, shuffle=True, seed=1)
    first, second = ([index for _, index in sampler] for _ in range(2))
    assert first != second
    assert first == [index for _, index in EpochSampler(50, shuffle=True, seed=1)]
    assert second == [index for _, index in EpochSampler(50, shuffle=True, seed=1, epoch=1)]
    assert first != [index for _, index in EpochSampler(50, shuffle=True, seed=2)]


@pytest.mark.parametrize(
    ("method", "workers"), [("fork", 1), ("fork", 2), ("spawn", 1), ("forkserver", 1)]
)
def test_workers_change_nothing(tmp_path: Path, method: str, workers: int) -> None:
    root = str(write_nmnist(tmp_path))

    def epochs(num_workers: int) -> list[Any]:
        data = NMNISTDataModule(
            root,
            3,
            batch_size=8,
            augmentation=Augmentation(4, 900.0, 0.1, 0.5, 0.5, 6),
            num_workers=num_workers,
            val_fraction=0.25,
        )
        data.setup("fit")
        loader = data.train_dataloader()
        if num_workers:
            loader.multiprocessing_context = method
        return [list(loader) for _ in range(2)]

    for here, there in zip(epochs(0), epochs(workers), strict=True):
        for (frames, targets), (same, also) in zip(here, there, strict=True):
            assert torch.equal(frames, same)
            assert torch.equal(targets, also)


def test_a_store_is_packed_once_and_again_when_a_file_changes(tmp_path: Path) -> None:
    root = write_nmnist(tmp_path)
    data = NMNISTDataModule(str(root), val_fraction=0.25)
    data.prepare_data()
    data.setup("test")
    path = data._sets["test"].store.path
    written = path.stat().st_mtime_ns
    again = NMNISTDataModule(str(root), val_fraction=0.25)
    again.setup("test")
    assert again._sets["test"].store.path.stat().st_mtime_ns == written
    changed = next((root / "NMNIST/Test").rglob("*.bin"))
    changed.write_bytes(changed.read_bytes()[:-5])
    third = NMNISTDataModule(str(root), val_fraction=0.25)
    third.setup("test")
    assert third._sets["test"].store.path != path
    assert third._sets["test"].count_events()[0] == data._sets["test"].count_events()[0] - 1
