"""SaccadeMNIST: MNIST's images in order, simulated once into a store, the same in every process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnplug.data.packing import pack
from snnplug.data.saccade_mnist import SaccadeMNIST, SaccadeMNISTDataModule
from snnplug.data.saccades import SaccadeCamera, simulate_saccades
from snnplug.data.store import EventStore
from snnplug.errors import ArgumentError, DataNotFoundError
from tests.data.test_mnist import blank, write_archive
from tests.support.datasets import SNNPLUG_DATA, needs_mnist


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SNNPLUG_DATA", raising=False)
    arrays = blank()
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        arrays[f"x_{split}"][:60, 8:20, 8:20] = rng.integers(0, 256, (60, 12, 12))
        arrays[f"y_{split}"][:60] = np.arange(60) % 10
    write_archive(tmp_path, arrays)
    return tmp_path


def test_recordings_are_those_of_the_images_in_order(root: Path) -> None:
    recordings = SaccadeMNIST(root, train=False, seed=1)
    assert len(recordings) == 10_000
    image = recordings._images[3]
    events, digit = recordings[3]
    assert digit == 3
    assert np.array_equal(events, simulate_saccades(image, seed=70_000 + 60_003))
    assert not np.array_equal(events, SaccadeMNIST(root, train=False)[3][0])
    assert not np.array_equal(events, SaccadeMNIST(root, train=True, seed=1)[3][0])
    assert np.array_equal(recordings[-1][0], recordings[9_999][0])


def packed(recordings: SaccadeMNIST, path: Path) -> EventStore:
    return pack(recordings, path, recordings.sensor_size, recordings.key, recordings.title)


def test_a_store_holds_them_and_is_remade_for_another_camera(root: Path) -> None:
    recordings = SaccadeMNIST(root, limit=12)
    store = packed(recordings, root / "store")
    assert len(store) == 12
    assert store.targets == recordings.targets
    assert store.title == SaccadeMNIST.title
    for index in range(12):
        events = recordings[index][0]
        mine = store[index][0]
        assert all(np.array_equal(mine[name], events[name]) for name in ("x", "y", "t", "p"))
    again = packed(SaccadeMNIST(root, limit=12), root / "store")
    assert again.digest == store.digest
    other = SaccadeMNIST(root, limit=12, camera=SaccadeCamera(noise_rate_hz=5.0))
    assert packed(other, root / "store").digest != store.digest


def test_batches_and_images_left_out(root: Path) -> None:
    data = SaccadeMNISTDataModule(
        root=str(root), num_steps=4, batch_size=5, val_fraction=0.2, leave_out=20, limit=60
    )
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    frames, targets = next(iter(data.train_dataloader()))
    assert frames.shape == (4, 5, 2, 34, 34)
    assert frames.sum() > 0
    assert targets.shape == (5,)
    train, val = (set(data._sets[name].indices.tolist()) for name in ("train", "val"))
    assert train | val == set(range(20, 60))
    assert not train & val
    assert len(data._sets["test"]) == 60
    assert (data.num_classes, data.in_shape, data.num_steps) == (10, (2, 34, 34), 4)


@pytest.mark.parametrize("arguments", [{"leave_out": -1}, {"limit": 0}, {"batch_size": 0}])
def test_refuses_impossible_numbers(root: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        SaccadeMNISTDataModule(root=str(root), **arguments).recordings(train=True)


def test_without_mnist_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SNNPLUG_DATA", raising=False)
    with pytest.raises(DataNotFoundError, match="mnist"):
        SaccadeMNIST(tmp_path)


@needs_mnist
def test_full_size_and_the_event_count_of_n_mnist() -> None:
    train, test = (SaccadeMNIST(SNNPLUG_DATA, train=t) for t in (True, False))
    assert (len(train), len(test)) == (60_000, 10_000)
    counts = [len(train[index][0]) for index in range(0, 60_000, 600)]
    # N-MNIST's first thousand have 4,133 events on average, from 1,112 to 7,152.
    assert np.mean(counts) == pytest.approx(4_133, rel=0.1)
