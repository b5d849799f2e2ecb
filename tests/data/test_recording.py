"""Reading recordings: tonic's events, and a clear error for every kind of damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tonic.io

from snnplug.data.events import EVENT_DTYPE, check_events
from snnplug.data.recording import read_recording
from snnplug.errors import DataError
from tests.support.datasets import SNNPLUG_DATA, needs_nmnist
from tests.support.events import random_events, to_bytes
from tests.support.mutations import COUNT, damaged


def test_reads_back_what_was_written(tmp_path: Path) -> None:
    events = random_events(500)
    (tmp_path / "r.bin").write_bytes(to_bytes(events))
    assert np.array_equal(read_recording(tmp_path / "r.bin"), events)


def test_overflow_events_move_the_clock_as_in_tonic(tmp_path: Path) -> None:
    raw = np.frombuffer(to_bytes(random_events(20, duration_us=2000)), dtype=np.uint8).reshape(
        -1, 5
    )
    overflow = np.array([[0, 240, 0, 7, 208]], dtype=np.uint8)
    path = tmp_path / "r.bin"
    np.concatenate([raw[:10], overflow, raw[10:]]).tofile(path)
    events = read_recording(path)
    assert np.array_equal(events, tonic.io.read_mnist_file(str(path), dtype=EVENT_DTYPE))
    assert events["t"][-1] > 2**13


@needs_nmnist
def test_reads_real_recordings_as_tonic_does() -> None:
    for path in sorted(SNNPLUG_DATA.glob("NMNIST/Test/*/*.bin"))[::10]:
        expected = tonic.io.read_mnist_file(str(path), dtype=EVENT_DTYPE)
        assert np.array_equal(read_recording(path), expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x01\x02\x03", "truncated: 3 bytes"),
        (bytes([34, 0, 0, 0, 1]), "event 0 has x = 34, not in 0 … 33"),
        (bytes([0, 99, 0, 0, 1]), "event 0 has y = 99"),
        (bytes([0, 0, 0, 0, 9, 0, 0, 0, 0, 8]), "event 1 at 8 µs comes after one at 9 µs"),
    ],
)
def test_damage_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.bin"
    path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        read_recording(path)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)


def test_negative_time_and_wrong_polarity_are_named() -> None:
    events = random_events(3)
    events["t"] = -1, 0, 1
    with pytest.raises(DataError, match="before 0"):
        check_events(events, (34, 34, 2), "here")
    events["t"], events["p"] = (0, 1, 2), 2
    with pytest.raises(DataError, match="p = 2"):
        check_events(events, (34, 34, 2), "here")


def test_every_mutation_is_refused_or_gives_the_events_that_tonic_reads(tmp_path: Path) -> None:
    # In the middle an overflow event, which moves the clock.
    events = to_bytes(random_events(40, duration_us=8_000))
    whole = events[:100] + bytes([0, 240, 0, 0, 0]) + events[100:]
    path, refused = tmp_path / "r.bin", 0
    path.write_bytes(whole)
    for _ in damaged(path):
        try:
            found = read_recording(path)
        except DataError as error:
            refused += str(path) in str(error)
            continue
        expected = tonic.io.read_mnist_file(str(path), dtype=EVENT_DTYPE)
        assert np.array_equal(found, expected)
        assert (np.diff(found["t"]) >= 0).all()
    assert COUNT / 5 < refused < COUNT
