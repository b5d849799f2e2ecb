"""N-MNIST from a folder: any number of recordings, and errors that say what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tonic.datasets

from snnplug.data.nmnist import NMNIST, NMNISTDataModule
from snnplug.errors import ArgumentError, DataError, DataNotFoundError
from tests.support.datasets import SNNPLUG_DATA, needs_nmnist
from tests.support.events import write_nmnist


def test_is_tonics_data_set_over_any_number_of_recordings(tmp_path: Path) -> None:
    recordings = NMNIST(write_nmnist(tmp_path), train=False)
    assert isinstance(recordings, tonic.datasets.NMNIST)
    assert (len(recordings), recordings.targets[:3]) == (20, [0, 0, 1])
    events, digit = recordings[2]
    assert digit == 1
    assert events.dtype.names == ("x", "y", "t", "p")
    assert recordings.title == "N-MNIST subset"


def test_applies_tonics_transforms(tmp_path: Path) -> None:
    recordings = NMNIST(
        write_nmnist(tmp_path),
        transform=lambda events: events[:10],
        target_transform=lambda digit: -digit,
        transforms=lambda events, digit: (events[:5], digit - 1),
    )
    events, digit = recordings[-1]
    assert (len(events), digit) == (5, -10)


def test_missing_recordings_name_the_folder_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError) as raised:
        NMNIST(tmp_path)
    assert str(tmp_path / "NMNIST" / "Train") in str(raised.value)
    assert "download: true" in str(raised.value)
    with pytest.raises(DataNotFoundError):
        NMNISTDataModule(root=str(tmp_path)).prepare_data()


def test_a_damaged_recording_is_named_when_it_is_read(tmp_path: Path) -> None:
    write_nmnist(tmp_path)
    (tmp_path / "NMNIST/Train/0/00000.bin").write_bytes(b"abc")
    with pytest.raises(DataError, match=r"00000\.bin is truncated"):
        NMNIST(tmp_path)[0]
    with pytest.raises(DataError, match=r"00000\.bin is truncated"):
        NMNISTDataModule(root=str(tmp_path), val_fraction=0.25).setup("fit")


def test_batches_are_time_first_and_sets_disjoint(tmp_path: Path) -> None:
    root = str(write_nmnist(tmp_path))
    data = NMNISTDataModule(root=root, num_steps=6, batch_size=8, val_fraction=0.25)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    frames, targets = next(iter(data.train_dataloader()))
    assert frames.shape == (6, 8, 2, 34, 34)
    assert set(frames.unique().tolist()) == {0.0, 1.0}
    assert targets.shape == (8,)
    sizes = [
        sum(len(t) for _, t in loader)
        for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    ]
    assert sizes == [30, 10, 20]
    train, val = data._sets["train"], data._sets["val"]
    assert not set(train.indices) & set(val.indices)
    assert (data.num_classes, data.in_shape, data.num_steps) == (10, (2, 34, 34), 6)


def test_says_what_it_found_and_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = NMNISTDataModule(root=str(write_nmnist(tmp_path)), duration_us=150_000)
    with caplog.at_level("INFO"):
        data.setup("test")
    total, dropped = data._sets["test"].count_events()
    assert 0 < dropped < total == 20 * 300
    assert f"{dropped:,} of {total:,} events outside the window" in caplog.text
    assert "N-MNIST subset: 20 test recordings" in caplog.text


@pytest.mark.parametrize("arguments", [{"batch_size": 0}, {"num_workers": -1}, {"num_steps": 0}])
def test_refuses_impossible_numbers(arguments: dict[str, int]) -> None:
    with pytest.raises(ArgumentError):
        NMNISTDataModule(**arguments)  # type: ignore[arg-type]


@needs_nmnist
def test_real_recordings_are_all_kept() -> None:
    data = NMNISTDataModule(root=str(SNNPLUG_DATA), num_steps=10)
    data.setup("test")
    total, dropped = data._sets["test"].count_events()
    assert dropped == 0
    assert len(data._sets["test"]) == 100
    assert np.bincount(data._sets["test"].store.targets).tolist() == [
        10, 10, 6, 7, 10, 11, 12, 19, 7, 8,
    ]  # fmt: skip
    assert 3000 * 100 < total < 5000 * 100
