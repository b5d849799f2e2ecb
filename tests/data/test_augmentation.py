"""Augmentation: what is drawn is what is done, event by event, and nothing is lost uncounted."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from snnplug.data.addresses import decode_events, encode_events
from snnplug.data.augmentation import Augmentation, Streams
from snnplug.data.frames import FrameOptions, Framing
from snnplug.data.site_maps import STAY, Layout
from snnplug.errors import ArgumentError
from tests.support.events import random_events

SENSOR = (34, 34, 2)
WINDOW = (20_000, 200_000)


def changed(seed: int = 0, **arguments: Any) -> Any:
    recording = encode_events(random_events(3000), SENSOR, "here")
    rng = np.random.default_rng(seed)
    (t, site), thinned, move = Augmentation(**arguments)(recording, Layout(SENSOR), WINDOW, rng)
    assert len(t) + thinned == 3000
    assert (np.diff(t.astype(int)) >= 0).all()
    return decode_events(t, site, SENSOR), thinned, move


def test_moves_lie_in_range_and_reach_its_ends() -> None:
    moves = [changed(seed, shift_px=2, flip=0.5, cut_px=5)[2] for seed in range(300)]
    for axis in ("dx", "dy"):
        assert {getattr(move, axis) for move in moves} == {-2, -1, 0, 1, 2}
    assert 100 < sum(move.flip for move in moves) < 200
    for axis in (0, 1):
        places = {move.cut[axis] for move in moves}
        # Any column or row may be in the square, those at the border as often as others.
        assert min(places) >= -4
        assert max(places) <= 33
        assert len(places) > 30
    assert changed()[2] == STAY


def test_every_recording_and_epoch_has_its_own_numbers() -> None:
    streams = Streams(7)
    places = [(epoch, index) for epoch in range(20) for index in range(50)]
    drawn = np.array([streams(*place).random(6) for place in places])
    assert len(np.unique(drawn)) == drawn.size
    # Uniform and unrelated from one stream to the next: 5 standard deviations of a mean.
    assert abs(drawn.mean() - 0.5) < 5 / np.sqrt(12 * drawn.size)
    lagged = np.mean((drawn[1:] - 0.5) * (drawn[:-1] - 0.5))
    assert abs(lagged) < 5 / (12 * np.sqrt(drawn.size))
    # Whatever was drawn in between, of any kind, and in another object.
    streams(3, 4).integers(0, 9, 5, dtype=np.uint32)
    again = streams(*places[17])
    assert np.array_equal(again.random(6), drawn[17])
    assert np.array_equal(pickle.loads(pickle.dumps(Streams(7)))(*places[17]).random(6), drawn[17])
    assert Streams(8)(0, 0).random() != drawn[0, 0]


def test_drop_and_jitter_have_the_stated_strength() -> None:
    _, thinned, _ = changed(drop=0.25)
    assert thinned == pytest.approx(750, abs=4 * (3000 * 0.25 * 0.75) ** 0.5)
    events = np.zeros(3000, dtype=random_events(0).dtype)
    events["t"], events["x"] = 100_000, np.arange(3000) % 34
    recording = encode_events(events, SENSOR, "here")
    rng = np.random.default_rng(0)
    (t, site), *_ = Augmentation(jitter_us=500.0)(recording, Layout(SENSOR), WINDOW, rng)
    assert np.std(t.astype(float)) == pytest.approx(500, rel=0.06)
    assert sorted(site) == sorted(recording[1])
    events["t"] = 3
    early = encode_events(events, SENSOR, "here")
    (t, _), *_ = Augmentation(jitter_us=500.0)(early, Layout(SENSOR), WINDOW, rng)
    assert t.min() == 0
    assert len(t) == 3000


def test_reversed_events_run_backwards_in_the_window_with_the_other_polarity() -> None:
    events = random_events(3000)
    back, *_ = changed(reverse=1.0)
    start, length = WINDOW
    expected = events.copy()
    inside = (events["t"] >= start) & (events["t"] < start + length)
    expected["t"][inside] = start + (start + length - 1 - events["t"][inside])
    expected["p"][inside] = 1 - events["p"][inside]
    key = ["t", "x", "y", "p"]
    assert np.array_equal(np.sort(back[key], order=key), np.sort(expected[key], order=key))
    framing = Framing(8, length, SENSOR, False, FrameOptions(start_us=start))
    there = framing([encode_events(events, SENSOR, "here")])[0]
    again = framing([encode_events(back, SENSOR, "here")])[0]
    assert np.array_equal(again.numpy(), there.flip(0).flip(2).numpy())


def test_one_option_does_not_change_what_another_draws() -> None:
    plain = changed(5, shift_px=3)[2]
    assert changed(5, shift_px=3, flip=0.5, jitter_us=20.0, drop=0.5)[2][:2] == plain[:2]


def test_channels_are_shifted_along_their_one_axis() -> None:
    recording = np.arange(9, dtype="u4"), np.arange(9, dtype="u2")
    for seed in range(20):
        rng = np.random.default_rng(seed)
        augmentation = Augmentation(shift_px=2, cut_px=3)
        *_, move = augmentation(recording, Layout((64,)), WINDOW, rng)
        assert move.dy == move.cut[1] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        {"shift_px": -1},
        {"drop": 1.5},
        {"flip": -0.1},
        {"jitter_us": float("nan")},
        {"cut_px": -2},
        {"mix": 0.6, "cut_mix": 0.6},
    ],
)
def test_impossible_numbers_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        Augmentation(**arguments)
