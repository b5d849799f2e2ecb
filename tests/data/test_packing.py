"""The packed store: what went in comes out, once, whatever happens on the way."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from snnplug.data import packing
from snnplug.data.addresses import decode_events, encode_events
from snnplug.data.nmnist import NMNIST
from snnplug.data.packing import pack
from snnplug.data.store import EventStore
from snnplug.errors import ArgumentError, DataError
from tests.support.datasets import SNNPLUG_DATA, needs_nmnist
from tests.support.events import random_events
from tests.support.mutations import damaged

SENSOR = (34, 34, 2)


class Source:
    """Recordings of different lengths, which count how often they are read."""

    def __init__(self, count: int = 20, delay_s: float = 0.0, log: Path | None = None) -> None:
        self.count, self.delay_s, self.log = count, delay_s, log
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.void], int]:
        if index >= self.count:
            raise IndexError
        self.read.append(index)
        if self.log is not None:
            with self.log.open("a") as file:
                file.write("r")
        time.sleep(self.delay_s)
        return random_events(3 * index, seed=index), index % 10


def packed(source: Any, path: Path, **key: Any) -> EventStore:
    return pack(source, path, SENSOR, {"name": "test", **key})


def assert_holds(store: EventStore, source: Source) -> None:
    assert len(store) == len(source)
    for index in range(len(source)):
        events, label = store[index]
        expected = source[index]
        assert np.array_equal(events, expected[0])
        assert label == expected[1] == store.targets[index]


def test_keeps_every_event_and_packs_once(tmp_path: Path) -> None:
    source = Source()
    assert_holds(packed(source, tmp_path / "a.events"), source)
    source.read.clear()
    packed(source, tmp_path / "a.events")
    assert source.read == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.events", "a.events.lock"]


def test_another_key_or_a_damaged_file_packs_again(tmp_path: Path) -> None:
    path = tmp_path / "a.events"
    packed(Source(), path, version=1)
    again = Source(5)
    assert packed(again, path, version=2).key == {"name": "test", "version": 2}
    assert again.read == [0, 1, 2, 3, 4]
    path.write_bytes(path.read_bytes()[:-1])
    again.read.clear()
    assert_holds(packed(again, path, version=2), Source(5))
    assert again.read == [0, 1, 2, 3, 4]


def test_one_axis_unsorted_events_and_columns(tmp_path: Path) -> None:
    events = np.array([(7, 9), (5, 3), (5, 1)], dtype=[("t", float), ("x", np.uint8)])
    store = pack([(events, 2)], tmp_path / "a", (64,), {}, columns={"speaker": np.array(["theo"])})
    assert store[0][0].tolist() == [(3, 5), (1, 5), (9, 7)]
    assert store.columns["speaker"].tolist() == ["theo"]
    assert store.last_us.tolist() == [7]


def test_addresses_of_a_large_sensor_survive() -> None:
    events = np.array([(639, 479, 2**32 - 1, 1)], dtype=random_events(0).dtype)
    t, site = encode_events(events, (640, 480, 2), "here")
    assert site.dtype == np.uint32
    assert np.array_equal(decode_events(t, site, (640, 480, 2)), events)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("x", 34, "x = 34"),
        ("y", -1, "y = -1"),
        ("p", 2, "p = 2"),
        ("t", -1, "-1 µs"),
        ("t", 2**32, "4294967296 µs"),
    ],
)
def test_refuses_what_does_not_fit(tmp_path: Path, field: str, value: int, message: str) -> None:
    events = random_events(10)
    events[field][4] = value
    with pytest.raises(DataError, match="recording 0") as raised:
        packed([(events, 0)], tmp_path / "a")
    assert message in str(raised.value)
    assert not (tmp_path / "a").exists()


def test_refuses_missing_classes_fields_and_bad_arguments(tmp_path: Path) -> None:
    for target in (None, "z", 1.5):
        with pytest.raises(DataError, match="no integer"):
            packed([(random_events(3), target)], tmp_path / "a")
    with pytest.raises(DataError, match="not p, y"):
        packed([(np.zeros(3, dtype=[("t", int), ("x", int)]), 0)], tmp_path / "a")
    with pytest.raises(ArgumentError, match="sensor_size"):
        pack(Source(), tmp_path / "a", (34, 34), {})
    with pytest.raises(ArgumentError, match="column"):
        pack(Source(), tmp_path / "a", SENSOR, {}, columns={"k": np.zeros(3)})
    with pytest.raises(ArgumentError, match="JSON"):
        pack(Source(), tmp_path / "a", SENSOR, {"k": object()})


def test_every_mutation_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.events"
    source = Source(4)
    packed(source, path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for raw in damaged(path):
        if raw == whole:
            continue
        with pytest.raises(DataError, match=str(path)):
            EventStore(path).verify()
    for hostile in (b"", bytes(1000), whole[64:], rng.bytes(5000)):
        path.write_bytes(hostile)
        with pytest.raises(DataError):
            EventStore(path)
    path.write_bytes(whole)
    assert_holds(EventStore(path), source)


def test_a_full_disk_leaves_no_store_and_is_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(packing.os, "fsync", lambda _: (_ for _ in ()).throw(full))
    with pytest.raises(DataError, match="No space left"):
        packed(Source(), tmp_path / "a")
    assert not (tmp_path / "a").exists()
    monkeypatch.undo()
    assert_holds(packed(Source(), tmp_path / "a"), Source())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, check=False
    ) if shutil.which("mount") else None  # fmt: skip
    if done is None or done.returncode:
        pytest.skip("only root may mount a small file system here")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    source, path = Source(count=120), small_disk / "a"  # 150 kB of events
    with pytest.raises(DataError, match="No space left"):
        packed(source, path)
    assert not path.exists()
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    again = Source(count=120)
    store = packed(again, path)
    assert len(again.read) < 120  # what had been written is not read twice
    assert_holds(store, Source(count=120))
    assert [each.name for each in small_disk.iterdir() if each.suffix == ".partial"] == []


def test_resumes_behind_the_last_whole_recording(tmp_path: Path) -> None:
    class Stops(Source):
        def __getitem__(self, index: int) -> tuple[npt.NDArray[np.void], int]:
            if index == 12:
                raise RuntimeError
            return super().__getitem__(index)

    with pytest.raises(RuntimeError):
        packed(Stops(), tmp_path / "a")
    partial = tmp_path / "a.partial"
    partial.write_bytes(partial.read_bytes()[:-3])
    source = Source()
    store = packed(source, tmp_path / "a")
    assert source.read[0] == 11
    assert_holds(store, Source())


def _pack_in_process(path: Path, delay_s: float, log: Path) -> None:
    packed(Source(delay_s=delay_s, log=log), path)


def test_killed_at_any_point_it_is_taken_up_again(tmp_path: Path) -> None:
    path, log = tmp_path / "a", tmp_path / "log"
    context = multiprocessing.get_context("fork")
    rng = np.random.default_rng(0)
    for reads in rng.integers(1, 20, 20).tolist():
        # Killed as early or late in a recording as it happens; what is whole already is kept.
        log.write_text("")
        process = context.Process(target=_pack_in_process, args=(path, 0.01, log))
        process.start()
        while log.stat().st_size < reads and process.is_alive():
            time.sleep(0.0005)
        time.sleep(rng.uniform(0, 0.01))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        if path.exists():  # it had come to the end
            assert_holds(EventStore(path), Source())
            path.unlink()
    assert_holds(packed(Source(), path), Source())


def test_processes_that_start_at_once_pack_once(tmp_path: Path) -> None:
    path, log = tmp_path / "a", tmp_path / "log"
    context = multiprocessing.get_context("fork")
    several = [context.Process(target=_pack_in_process, args=(path, 0.005, log)) for _ in range(3)]
    for process in several:
        process.start()
    for process in several:
        process.join()
        assert process.exitcode == 0
    assert log.stat().st_size == 20
    assert_holds(EventStore(path), Source())


def test_pickles_as_its_path(tmp_path: Path) -> None:
    store = packed(Source(), tmp_path / "a")
    raw = pickle.dumps(store)
    assert len(raw) < 500
    assert_holds(pickle.loads(raw), Source())


@needs_nmnist
def test_real_recordings_come_back_unchanged(tmp_path: Path) -> None:
    recordings = NMNIST(SNNPLUG_DATA, train=False)
    store = packed(recordings, tmp_path / "a")
    for index in range(0, 100, 7):
        events, digit = store[index]
        expected = recordings[index]
        assert np.array_equal(events, expected[0])
        assert digit == expected[1]
