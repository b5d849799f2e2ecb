"""Batches from a store: the same samples and moves, whoever loads them."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from snnplug.data.augmentation import Augmentation, Streams
from snnplug.data.event_batches import EpochSampler, EventBatches, widened
from snnplug.data.frames import Framing
from snnplug.data.mixing import Mixture, rectangle
from snnplug.data.nmnist import NMNISTDataModule
from snnplug.data.packing import pack
from snnplug.data.store import EventStore
from snnplug.mixed import Mixed
from snnplug.networks.dense import DenseSNN
from snnplug.training.classifier import SpikingClassifier
from tests.support.events import random_events, write_nmnist
from tests.support.slow_frames import slow_frames

FRAMING = Framing(5, 300_000)
COUNTS = Framing(5, 300_000, binary=False)
SENSOR = (34, 34, 2)


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


def test_mixed_recordings_lose_no_event_unseen_and_depend_on_seed_and_epoch_alone(
    store: EventStore,
) -> None:
    def batches() -> EventBatches:
        return EventBatches(store, FRAMING, np.arange(1, 10), Augmentation(mix=0.7), seed=3)

    mixing, places = batches(), [(epoch, k) for epoch in range(60) for k in range(9)]
    frames, counts, _ = mixing.batch(places)
    _, targets = mixing.__getitems__(places)
    own = store.num_events[[1 + k for _, k in places]]
    assert targets.targets.tolist() == [(1 + k) % 3 for _, k in places]
    is_mixed = (targets.weights < 1).numpy()
    assert is_mixed.mean() == pytest.approx(0.7, abs=4 * (0.21 / len(places)) ** 0.5)
    assert 0.5 < targets.weights.min() < 0.55
    plain = EventBatches(store, FRAMING)
    for b, place in enumerate(places):
        partner, weight, _ = mixing._mixture(place, Streams(mixing._seed))
        assert partner in range(1, 10)
        assert targets.others[b] == (store.labels[partner] if weight < 1 else targets.targets[b])
        both = own[b] + (store.num_events[partner] if weight < 1 else 0)
        assert counts.kept[b] + counts.dropped[b] == both
        if weight == 1:
            assert torch.equal(frames[:, b], plain[0, 1 + place[1]][0][:, 0])
        else:  # what is kept is of one or of the other
            either = plain[0, 1 + place[1]][0][:, 0] + plain[0, partner][0][:, 0]
            assert (frames[:, b] <= either).all()
    # Of all events a share of the weight is kept.
    left = own[is_mixed].sum() * float(targets.weights[is_mixed].mean())
    assert counts.thinned.sum() > 0
    assert counts.kept[is_mixed].sum() > 0.9 * left
    # Alone, in another batch, in another object: the same.
    for place in places[5::97]:
        some, of = batches()[place]
        assert torch.equal(some[:, 0], frames[:, places.index(place)])
        assert of.weights[0] == targets.weights[places.index(place)]
    # It leaves what others draw alone.
    shifted, both = (Augmentation(shift_px=3, mix=mix) for mix in (0.0, 1e-12))
    for place in ((0, 1), (4, 2)):
        one, two = (EventBatches(store, FRAMING, augmentation=a, seed=3) for a in (shifted, both))
        assert torch.equal(one[place][0], two[place][0])


def test_a_rectangle_of_another_recording_is_weighed_by_the_events_of_each(
    store: EventStore,
) -> None:
    def batches() -> EventBatches:
        return EventBatches(store, COUNTS, np.arange(1, 10), Augmentation(cut_mix=0.7), seed=3)

    mixing, places = batches(), [(epoch, k) for epoch in range(60) for k in range(9)]
    frames, counts, _ = mixing.batch(places)
    _, targets = mixing.__getitems__(places)
    plain = EventBatches(store, COUNTS).__getitems__([(0, k) for k in range(10)])[0]
    areas, swapped = [], 0
    for b, (epoch, k) in enumerate(places):
        partner, share, at = mixing._mixture((epoch, k), Streams(mixing._seed))
        own, kept = plain[:, 1 + k], float(frames[:, b].sum())
        assert counts.kept[b] == kept
        classes = store.labels[1 + k], store.labels[partner]
        if at is None:
            assert share == targets.weights[b] == 1
            assert torch.equal(frames[:, b], own)
            continue
        assert counts.kept[b] + counts.dropped[b] == own.sum() + plain[:, partner].sum()
        # Pixel by pixel: the other's within the rectangle, its own elsewhere.
        left, top, width, height = rectangle(Mixture(partner, share, at), SENSOR)
        expected = own.clone()
        within = (..., slice(top, top + height), slice(left, left + width))
        expected[within] = plain[:, partner][within]
        assert torch.equal(frames[:, b], expected)
        weight = (kept - float(expected[within].sum())) / kept
        swapped += weight < 0.5
        assert targets.weights[b] == pytest.approx(max(weight, 1 - weight))
        heavier = classes if weight >= 0.5 else classes[::-1]
        assert (int(targets.targets[b]), int(targets.others[b])) == heavier
        areas.append(width * height / 34**2)
        assert areas[-1] == pytest.approx(1 - share, abs=1 / 34)
    assert len(areas) / len(places) == pytest.approx(0.7, abs=4 * (0.21 / len(places)) ** 0.5)
    assert min(areas) < 0.01
    assert max(areas) > 0.49
    assert 0 < swapped < len(areas) / 4
    for place in places[5::97]:  # alone, in another object: the same
        some, of = batches()[place]
        assert torch.equal(some[:, 0], frames[:, places.index(place)])
        assert of.weights[0] == targets.weights[places.index(place)]


def test_a_rectangle_without_events_leaves_the_targets_alone(tmp_path: Path) -> None:
    source = [(random_events(0), 0), (random_events(40), 1)]
    store = pack(source, tmp_path / "a.events", SENSOR, {"name": "two"})
    mixing = EventBatches(store, COUNTS, augmentation=Augmentation(cut_mix=1.0))
    for epoch in range(20):
        frames, targets = mixing.__getitems__([(epoch, 0), (epoch, 1)])
        for b in range(2):
            if (
                frames[:, b].sum()
                and mixing._mixture((epoch, b), Streams(mixing._seed)).partner != b
            ):
                assert (targets.targets[b], targets.weights[b]) == (1, 1)  # all events are of one
            elif not frames[:, b].sum():
                assert targets.weights[b] == 1


def test_a_network_trains_on_mixed_recordings(tmp_path: Path) -> None:
    data = NMNISTDataModule(
        str(write_nmnist(tmp_path)), 3, batch_size=10,
        augmentation=Augmentation(mix=0.4, cut_mix=0.4), val_fraction=0.25,
    )  # fmt: skip
    model = SpikingClassifier(DenseSNN((2, 34, 34), 10, hidden=(8,)), 10)
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data)
    epochs = []
    for data.num_workers in (0, 1):
        epochs.append(list(data.train_dataloader()))
    for (frames, mixed), (same, also) in zip(*epochs, strict=True):
        assert isinstance(also, Mixed)
        assert torch.equal(frames, same)
        assert all(torch.equal(a, b) for a, b in zip(mixed, also, strict=True))
    assert 0 <= trainer.callback_metrics["train/acc"] <= 1
    assert trainer.callback_metrics["train/loss"].isfinite()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bytes_are_widened_to_the_default_dtype_in_memory_used_before(dtype: torch.dtype) -> None:
    rng, before = np.random.default_rng(0), torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        frames = torch.from_numpy(rng.integers(0, 256, (5, 60, 2, 34, 34), np.uint8))
        wide = widened(frames)
        assert wide.dtype == dtype
        assert np.array_equal(wide.numpy(), frames.numpy())
        assert widened(wide) is wide
        place = wide.data_ptr()
        del wide
        assert widened(frames).data_ptr() == place
    finally:
        torch.set_default_dtype(before)


def _rank(rank: int, ranks: int, folder: Path) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet-{ranks}", rank=rank, world_size=ranks
    )
    data = NMNISTDataModule(
        str(folder),
        3,
        batch_size=4,
        augmentation=Augmentation(4, 900.0, 0.1, 0.5, 0.5, 6),
        val_fraction=0.25,
    )
    data.setup("fit")
    found = []
    for loader in (data.train_dataloader(), data.val_dataloader()):
        for _ in range(2):
            frames, targets = zip(*loader, strict=True)
            drawn = loader.sampler.drawn  # type: ignore[attr-defined]
            found.append((drawn, torch.cat(frames, dim=1), torch.cat(targets)))
    torch.save(found, folder / f"{ranks}-{rank}.pt")
    torch.distributed.destroy_process_group()


def test_ranks_change_nothing(tmp_path: Path) -> None:
    write_nmnist(tmp_path, train=42)
    context = multiprocessing.get_context("fork")
    found: dict[int, list[Any]] = {}
    for ranks in (1, 2, 3):  # of 32 to train on, and 10 to validate on, 3 make no equal parts
        several = [context.Process(target=_rank, args=(k, ranks, tmp_path)) for k in range(ranks)]
        for process in several:
            process.start()
        for process in several:
            process.join()
            assert process.exitcode == 0
        found[ranks] = [torch.load(tmp_path / f"{ranks}-{k}.pt") for k in range(ranks)]
    for epoch in range(4):
        order, frames, targets = found[1][0][epoch]
        assert len(order) == (32 if epoch < 2 else 10)
        for ranks in (2, 3):
            shares = [share[epoch] for share in found[ranks]]
            # One after the other they go through the order of a single process, and in training
            # begin again to come out even.
            longest = max(len(drawn) for drawn, _, _ in shares)
            together = [d[k] for k in range(longest) for d, _, _ in shares if k < len(d)]
            assert together[: len(order)] == order
            assert together[len(order) :] == (order[: -len(order) % ranks] if epoch < 2 else [])
            place = {index: k for k, index in enumerate(order)}
            for drawn, some, of in shares:
                at = [place[index] for index in drawn]
                assert torch.equal(some, frames[:, at])
                assert torch.equal(of, targets[at])
    first, second = found[1][0][:2]
    assert first[0] != second[0]


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
