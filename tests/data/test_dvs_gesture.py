"""DVS Gesture from small files in tonic's format: everything kept, damaged files refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tonic.datasets

from snnplug.data.dvs_gesture import DVSGesture, DVSGestureDataModule
from snnplug.errors import DataError, DataNotFoundError
from snnplug.files import cache_folder
from tests.support.mutations import COUNT, damaged


def write_gestures(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, users in (("Train", (1, 2, 3, 10)), ("Test", (24, 25))):
        for user in users:
            folder = root / "DVSGesture" / f"ibmGesture{split}" / f"user{user:02d}_led"
            folder.mkdir(parents=True)
            for label in range(11):
                table = rng.integers(0, 128, (50 + label, 4))
                table[:, 2] = rng.integers(0, 2, len(table))
                table[:, 3] = np.sort(rng.integers(0, 2_000, len(table)))
                np.save(folder / f"{label}.npy", table.astype(np.float64))
    return root


def test_reads_what_the_files_hold(tmp_path: Path) -> None:
    recordings = DVSGesture(write_gestures(tmp_path))
    assert isinstance(recordings, tonic.datasets.DVSGesture)
    assert len(recordings) == 44
    assert sorted(set(recordings.users)) == [1, 2, 3, 10]
    assert recordings.title == "DVS128 Gesture subset"
    for index, path in enumerate(recordings.data):
        table = np.load(path)
        events, label = recordings[index]
        assert label == recordings.targets[index] == int(Path(path).stem)
        assert events.dtype.names == ("x", "y", "t", "p")
        for column, name in enumerate(("x", "y", "p", "t")):
            scale = 1000 if name == "t" else 1
            assert events[name].tolist() == (table[:, column] * scale).tolist()


def test_packed_batches_and_subjects_held_out(tmp_path: Path) -> None:
    data = DVSGestureDataModule(
        root=str(write_gestures(tmp_path)), num_steps=3, batch_size=4, val_fraction=0.25
    )
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    frames, targets = next(iter(data.train_dataloader()))
    assert frames.shape == (3, 4, 2, 128, 128)
    assert targets.shape == (4,)
    users = np.array(data.recordings(train=True).users)
    train, val = (set(users[data._sets[name].indices].tolist()) for name in ("train", "val"))
    assert (len(train), len(val)) == (3, 1)
    assert not train & val
    assert len(data._sets["test"]) == 22
    assert data.classes[3] == "Right arm cw"


def test_a_missing_set_names_folder_address_and_sum(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError) as raised:
        DVSGesture(tmp_path)
    folder = str(tmp_path / "DVSGesture" / "ibmGestureTrain")
    for part in (folder, "ibmGestureTrain.tar.gz", "https://figshare.com", "MD5", "download: true"):
        assert part in str(raised.value)


def test_a_failed_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(self: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(tonic.datasets.DVSGesture, "download", offline)
    with pytest.raises(DataNotFoundError, match=r"no route to host.*unpack ibmGestureTrain"):
        DVSGestureDataModule(root=str(tmp_path), download=True).prepare_data()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"\x93NUMPY\x01\x00", "cannot be read"),
        (np.zeros((3, 3)), r"\(3, 3\)"),
        (np.zeros(4), r"\(4,\)"),
        (np.full((3, 4), np.nan), "not finite"),
        (np.array([["a"] * 4]), "<U1"),
        (np.array([[None] * 4]), "cannot be read"),
        (np.array([[128, 0, 0, 0]]), "x = 128"),
        (np.array([[0, 0, 2, 0]]), "p = 2"),
        (np.array([[0, 0, 0, -1]]), "-1000"),
    ],
)
def test_a_damaged_recording_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any, message: str
) -> None:
    monkeypatch.setenv("SNNPLUG_CACHE", str(tmp_path / "cache"))
    write_gestures(tmp_path)
    path = tmp_path / "DVSGesture" / "ibmGestureTrain" / "user01_led" / "3.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        DVSGestureDataModule(root=str(tmp_path)).prepare_data()
    assert not list(cache_folder().glob("*.events"))


@pytest.mark.parametrize("name", ["user01_led/11.npy", "user01_led/a.npy", "nobody_led/1.npy"])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_gestures(tmp_path) / "DVSGesture" / "ibmGestureTrain"
    (folder / name).parent.mkdir(exist_ok=True)
    np.save(folder / name, np.zeros((1, 4)))
    with pytest.raises(DataError, match="user<number>_<light>"):
        DVSGesture(tmp_path)


def test_every_mutation_of_a_recording_is_refused_or_gives_events(tmp_path: Path) -> None:
    recordings = DVSGesture(write_gestures(tmp_path))
    path = Path(recordings.data[0])
    np.save(path, np.load(path)[:8])
    refused = 0
    # Half of them in the header, where shape and type stand.
    for _ in damaged(path, header=128):
        try:
            events, label = recordings[0]
        except DataError:
            refused += 1
            continue
        assert label == 0
        assert events.dtype.names == ("x", "y", "t", "p")
        assert len(events) == 8
    assert COUNT / 5 < refused < COUNT
