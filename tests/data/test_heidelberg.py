"""SHD and SSC from small files in their format: everything kept, damaged files refused."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tonic.datasets

from snnplug.data.heidelberg import SHD, SSC, SHDDataModule, SSCDataModule
from snnplug.errors import DataError, DataNotFoundError
from tests.support.events import write_heidelberg

SETS: dict[str, tuple[Callable[..., Any], Any, int]] = {
    "shd": (SHD, True, 20),
    "ssc": (SSC, "train", 35),
}


@pytest.mark.parametrize("name", SETS)
def test_reads_what_the_file_holds(tmp_path: Path, name: str) -> None:
    build, split, classes = SETS[name]
    path = write_heidelberg(tmp_path, name, "train", 40)
    recordings = build(tmp_path, split)
    assert isinstance(recordings, (tonic.datasets.SHD, tonic.datasets.SSC))
    assert len(recordings) == len(recordings.speakers) == 40
    assert recordings.classes == tuple(f"word {k}" for k in range(classes))
    assert "subset" in recordings.title
    with h5py.File(path) as file:
        for index in range(40):
            events, label = recordings[index]
            assert label == recordings.targets[index] == file["labels"][index] == index % classes
            seconds = file["spikes/times"][index].astype(np.float64)
            order = np.argsort(np.rint(seconds * 1e6), kind="stable")
            assert events["t"].tolist() == np.rint(seconds * 1e6)[order].tolist()
            assert events["x"].tolist() == file["spikes/units"][index][order].tolist()
    assert np.array_equal(recordings[-1][0], recordings[39][0])
    with pytest.raises(IndexError):
        recordings[40]


def test_packed_batches_and_speakers_held_out(tmp_path: Path) -> None:
    for split, count in (("train", 60), ("test", 10)):
        write_heidelberg(tmp_path, "shd", split, count)
    data = SHDDataModule(root=str(tmp_path), num_steps=7, batch_size=4, val_fraction=0.3)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    frames, targets = next(iter(data.test_dataloader()))
    assert frames.shape == (7, 4, 700)
    assert targets.tolist() == [0, 1, 2, 3]
    speakers = np.array(data.recordings(train=True).speakers)
    train, val = (set(speakers[data._sets[name].indices].tolist()) for name in ("train", "val"))
    assert train
    assert val
    assert not train & val
    store = data.store(train=True)
    source = SHD(tmp_path)
    for index in range(len(source)):
        assert np.array_equal(store[index][0]["x"], source[index][0]["x"])
        assert np.array_equal(store[index][0]["t"], source[index][0]["t"])
    assert len(data.classes) == data.num_classes == 20


def test_ssc_validates_on_its_own_recordings(tmp_path: Path) -> None:
    for split, count in (("train", 20), ("valid", 6), ("test", 5)):
        write_heidelberg(tmp_path, "ssc", split, count)
    data = SSCDataModule(root=str(tmp_path))
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    assert [len(data._sets[name]) for name in ("train", "val", "test")] == [20, 6, 5]
    held_out = SSC(tmp_path, "valid")
    store = data.store(train=True)
    for k, index in enumerate(data._sets["val"].indices):
        assert np.array_equal(store[int(index)][0]["x"], held_out[k][0]["x"])


def test_a_changed_file_is_packed_again(tmp_path: Path) -> None:
    for count in (20, 21):
        for split in ("train", "test"):
            write_heidelberg(tmp_path, "shd", split, count)
        data = SHDDataModule(root=str(tmp_path))
        assert len(data.store(train=True)) == count


@pytest.mark.parametrize("name", SETS)
def test_a_missing_file_names_folder_file_address_and_sum(tmp_path: Path, name: str) -> None:
    build, split, _ = SETS[name]
    with pytest.raises(DataNotFoundError) as raised:
        build(tmp_path, split)
    folder = str(tmp_path / name.upper())
    for part in (folder, f"{name}_train.h5", "https://zenkelab.org", "MD5", "download: true"):
        assert part in str(raised.value)


def test_a_failed_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(self: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(tonic.datasets.SHD, "download", offline)
    with pytest.raises(DataNotFoundError, match=r"no route to host.*unpacked from https"):
        SHDDataModule(root=str(tmp_path), download=True).prepare_data()


def test_a_downloaded_archive_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # tonic fetches into SHD/; an archive that is there already is taken if its sum is right.
    folder = tmp_path / "SHD"
    made = write_heidelberg(tmp_path, "shd", "train", 20)
    with zipfile.ZipFile(folder / "shd_train.h5.zip", "w") as archive:
        archive.write(made, made.name)
    made.unlink()
    with pytest.raises(DataNotFoundError, match="could not fetch"):
        SHD(tmp_path, download=True)
    from tonic.download_utils import calculate_md5

    right = calculate_md5(str(folder / "shd_train.h5.zip"))
    monkeypatch.setattr(tonic.datasets.SHD, "train_md5", right)
    assert len(SHD(tmp_path, download=True)) == 20


def _set(file: Any, place: str, value: Any) -> None:
    del file[place]
    file[place] = value


DAMAGE: dict[str, Any] = {
    "labels": (lambda f: _set(f, "labels", np.full(20, 20)), "labels up to 20"),
    "negative": (lambda f: _set(f, "labels", np.full(20, -1)), "20 classes and labels"),
    "float": (lambda f: _set(f, "labels", np.full(20, 0.5)), "float64 labels"),
    "few": (lambda f: _set(f, "labels", np.zeros(19, int)), r"labels \(19,\)"),
    "keys": (lambda f: _set(f, "extra/keys", [b"a"]), "1 classes"),
    "gone": (lambda f: f.pop("spikes"), "cannot be read"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_file_is_refused(tmp_path: Path, what: str) -> None:
    damage, message = DAMAGE[what]
    with h5py.File(write_heidelberg(tmp_path, "shd", "train", 20), "r+") as file:
        damage(file)
    with pytest.raises(DataError, match=message) as raised:
        SHD(tmp_path)
    assert "shd_train.h5" in str(raised.value)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = write_heidelberg(tmp_path, "shd", "train", 20)
    whole = path.read_bytes()
    for length in (0, 100, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="copy or download it again"):
            SHD(tmp_path)


@pytest.mark.parametrize(
    ("times", "units", "message"),
    [([np.nan], [1], "not finite"), ([0.1, 0.2], [1], "channels"), ([0.1], [700], "700")],
)
def test_a_damaged_recording_is_named(
    tmp_path: Path, times: list[float], units: list[int], message: str
) -> None:
    write_heidelberg(tmp_path, "shd", "test", 20)
    with h5py.File(write_heidelberg(tmp_path, "shd", "train", 20), "r+") as file:
        file["spikes/times"][3] = np.array(times, dtype=np.float16)
        file["spikes/units"][3] = np.array(units, dtype=np.int64)
    with pytest.raises(DataError, match=message) as raised:
        SHDDataModule(root=str(tmp_path)).prepare_data()
    assert "recording 3" in str(raised.value)
