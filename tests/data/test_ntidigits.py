"""N-TIDIGITS18's format: every utterance as it is in the file, and damaged files refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from snnplug.data import ntidigits_file
from snnplug.data.ntidigits import NTIDIGITS, NTIDIGITSDataModule
from snnplug.errors import ArgumentError, DataError, DataNotFoundError
from tests.support.datasets import SNNPLUG_DATA, needs_cochlea
from tests.support.events import write_ntidigits


def test_reads_what_the_file_holds(tmp_path: Path) -> None:
    path = write_ntidigits(tmp_path)
    utterances = NTIDIGITS(tmp_path, train=False)
    with h5py.File(path) as file:
        names = [n.decode() for n in file["test_labels"][()]]
        singles = [n for n in names if len(n.rsplit("-", 1)[1]) == 1]
        assert utterances.ids == singles
        for index, name in enumerate(singles):
            events, label = utterances[index]
            assert events.dtype.names == ("x", "t")
            assert events["x"].tolist() == file["test_addresses"][name][()].tolist()
            seconds = file["test_timestamps"][name][()].tolist()
            assert events["t"].tolist() == [round(s * 1e6) for s in seconds]
            assert label == {"o": 0, "z": 10}.get(name[-1]) or str(label) == name[-1]


def test_o_and_z_are_two_classes_with_their_names(tmp_path: Path) -> None:
    write_ntidigits(tmp_path)
    utterances = NTIDIGITS(tmp_path)
    assert NTIDIGITS.classes == ("o", "1", "2", "3", "4", "5", "6", "7", "8", "9", "z")
    spoken = dict(zip(utterances.digits, utterances.targets, strict=True))
    assert spoken == {name: k for k, name in enumerate(NTIDIGITS.classes)}


def test_sequences_keep_their_digits(tmp_path: Path) -> None:
    write_ntidigits(tmp_path)
    utterances = NTIDIGITS(tmp_path, single_digits=False)
    singles = NTIDIGITS(tmp_path)
    assert len(utterances) > len(singles)
    assert len(utterances.digits) == len(utterances.targets) == len(utterances)
    index = next(i for i, d in enumerate(utterances.digits) if d == "1z3")
    assert utterances[index][1] == utterances.targets[index] == -1


def test_validation_speakers_are_nobody_else(tmp_path: Path) -> None:
    write_ntidigits(tmp_path)
    data = NTIDIGITSDataModule(root=str(tmp_path), num_steps=5, batch_size=4, val_fraction=0.3)
    data.prepare_data()
    data.setup("fit")
    recordings: Any = data.recordings(train=True)
    voices = [{recordings.speakers[i] for i in data._sets[s].indices} for s in ("train", "val")]
    assert voices[0]
    assert voices[1]
    assert not voices[0] & voices[1]
    frames, targets = next(iter(data.train_dataloader()))
    assert frames.shape == (5, 4, 64)
    assert targets.shape == (4,)
    assert (data.num_classes, data.in_shape, data.num_steps) == (11, (64,), 5)


def test_sequences_come_with_their_steps_and_digits(tmp_path: Path) -> None:
    write_ntidigits(tmp_path)
    data = NTIDIGITSDataModule(
        root=str(tmp_path), num_steps=40, batch_size=16, val_fraction=0.3, digits="sequences"
    )
    for stage in ("fit", "test"):
        data.setup(stage)
    utterances = NTIDIGITS(tmp_path, train=False, single_digits=False)
    seen: list[list[int]] = []
    for frames, targets, steps, counts in data.test_dataloader():
        assert frames.shape[0] == steps.max()
        assert targets.shape == (frames.shape[1], counts.max())
        seen += [row[:count].tolist() for row, count in zip(targets, counts, strict=True)]
        for row, count in zip(targets, counts, strict=True):
            assert (row[count:] == -1).all()
    assert seen == [[NTIDIGITS.classes.index(d) for d in said] for said in utterances.digits]
    assert {len(row) for row in seen} == {1, 2, 3}
    train, val = ({data.recordings(True).speakers[i] for i in data._sets[s].indices}
                  for s in ("train", "val"))  # fmt: skip
    assert not train & val
    assert data.num_classes == 12  # and the blank


def test_digits_of_another_kind_are_refused() -> None:
    with pytest.raises(ArgumentError, match="single, sequences and joined"):
        NTIDIGITSDataModule(digits="all")  # type: ignore[arg-type]


@pytest.mark.parametrize("single", [True, False])
def test_says_whether_it_is_the_published_file(
    tmp_path: Path, single: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ntidigits(tmp_path)
    assert "not the published one" in NTIDIGITS(tmp_path, single_digits=single).title
    count = len(NTIDIGITS(tmp_path, single_digits=single))
    monkeypatch.setitem(ntidigits_file.OFFICIAL, (True, single), count)
    assert NTIDIGITS(tmp_path, single_digits=single).title == "N-TIDIGITS18"


def test_counts_of_the_published_file() -> None:
    # 112 and 113 adult speakers, 11 words twice each, 77 utterances each.
    assert ntidigits_file.OFFICIAL == {
        (True, True): 112 * 22,
        (False, True): 113 * 22,
        (True, False): 112 * 77,
        (False, False): 113 * 77,
    }


def test_a_missing_file_names_folder_file_address_and_sum(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError) as raised:
        NTIDIGITS(tmp_path)
    for part in (
        str(tmp_path),
        "n-tidigits.hdf5",
        "https://",
        ntidigits_file._MD5,
        "download: true",
    ):
        assert part in str(raised.value)


def test_a_failed_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pooch

    def offline(*args: Any, **kwargs: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", offline)
    with pytest.raises(DataNotFoundError, match="no route to host"):
        NTIDIGITSDataModule(root=str(tmp_path), download=True).prepare_data()


def test_travels_to_other_processes(tmp_path: Path) -> None:
    write_ntidigits(tmp_path)
    utterances = NTIDIGITS(tmp_path)
    events, label = utterances[1]
    again = pickle.loads(pickle.dumps(utterances))
    assert np.array_equal(again[1][0], events)
    assert again[1][1] == label


def test_a_worker_process_changes_nothing(tmp_path: Path) -> None:
    write_ntidigits(tmp_path)
    data = NTIDIGITSDataModule(root=str(tmp_path), num_steps=3)
    data.setup("test")
    here = torch.cat([frames for frames, _ in data.test_dataloader()], dim=1)
    data.num_workers = 1
    there = torch.cat([frames for frames, _ in data.test_dataloader()], dim=1)
    assert torch.equal(here, there)


def _set(file: Any, place: str, value: Any) -> None:
    del file[place]
    file[place] = value


NAME = "man-aa-a-o"
DAMAGE: dict[str, Any] = {
    "channel": (lambda f: _set(f, f"train_addresses/{NAME}", [64] * 30), "channels from 64"),
    "negative": (lambda f: _set(f, f"train_addresses/{NAME}", [-1] * 30), "channels from -1"),
    "float": (lambda f: _set(f, f"train_addresses/{NAME}", [0.5] * 30), "float64 addresses"),
    "length": (lambda f: _set(f, f"train_addresses/{NAME}", [1] * 29), "one length"),
    "nan": (lambda f: _set(f, f"train_timestamps/{NAME}", [np.nan] * 30), "times from nan"),
    "late": (lambda f: _set(f, f"train_timestamps/{NAME}", [5000.0] * 30), "times from 5000"),
    "early": (lambda f: _set(f, f"train_timestamps/{NAME}", [-1.0] * 30), "times from -1"),
    "gone": (lambda f: f["train_addresses"].pop(NAME), "cannot be read"),
    "text": (lambda f: _set(f, f"train_timestamps/{NAME}", "now"), r"\|S3 times"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_utterance_is_named(tmp_path: Path, what: str) -> None:
    path = write_ntidigits(tmp_path)
    damage, message = DAMAGE[what]
    with h5py.File(path, "r+") as file:
        damage(file)
    utterances = NTIDIGITS(tmp_path)
    with pytest.raises(DataError, match=message) as raised:
        utterances[utterances.ids.index(NAME)]
    assert NAME in str(raised.value)


def test_unsorted_times_are_sorted_with_their_channels(tmp_path: Path) -> None:
    path = write_ntidigits(tmp_path)
    with h5py.File(path, "r+") as file:
        _set(file, f"train_timestamps/{NAME}", np.linspace(0.3, 0.01, 30, dtype=np.float32))
        _set(file, f"train_addresses/{NAME}", np.arange(30))
    utterances = NTIDIGITS(tmp_path)
    events, _ = utterances[utterances.ids.index(NAME)]
    assert events["x"].tolist() == list(range(29, -1, -1))


@pytest.mark.parametrize("labels", [[b"man-aa-o"], [b"x"], [b"\xff"], [b"man-aa-a-q"]])
def test_labels_of_another_form_are_refused(tmp_path: Path, labels: list[bytes]) -> None:
    path = write_ntidigits(tmp_path)
    with h5py.File(path, "r+") as file:
        _set(file, "train_labels", np.array(labels))
    with pytest.raises(DataError, match="N-TIDIGITS18 format"):
        NTIDIGITS(tmp_path)


@needs_cochlea
def test_the_synthetic_file_says_that_it_is_one() -> None:
    train, test = (NTIDIGITS(SNNPLUG_DATA, train=t) for t in (True, False))
    assert train.title == test.title == "FSDD-cochlea (synthetic events, not N-TIDIGITS)"
    assert (len(train), len(test)) == (2250, 250)
    assert np.bincount(train.targets, minlength=11).tolist() == [0] + [225] * 10
    names = ("george", "jackson", "nicolas", "theo", "yweweler")
    assert sorted(set(train.speakers)) == [f"man-{name}" for name in names]
    counts = [len(test[i][0]) for i in range(len(test))]
    # Published with the file: 301 to 1,543 events, 820 on average.
    assert (min(counts), max(counts), round(np.mean(counts))) == (301, 1543, 820)
