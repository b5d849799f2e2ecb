"""Sequences joined from single digits: every event of the parts, in order, of one speaker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snnplug.data.joined_digits import JoinedDigits
from snnplug.data.ntidigits import NTIDIGITS, NTIDIGITSDataModule
from snnplug.errors import ArgumentError
from tests.support.events import write_ntidigits


@pytest.fixture
def utterances(tmp_path: Path) -> NTIDIGITS:
    write_ntidigits(tmp_path)
    return NTIDIGITS(tmp_path)


def test_parts_keep_every_event_and_their_speaker(utterances: NTIDIGITS) -> None:
    joined = JoinedDigits(utterances, most=3)
    assert len(joined) == len(utterances) == len(joined.digits)
    assert joined.speakers == utterances.speakers
    assert {len(digits) for digits in joined.digits} == {1, 2, 3}
    pauses = []
    for index, digits in enumerate(joined.digits):
        events, label = joined[index]
        assert label == joined.targets[index] == -1
        assert (np.diff(events["t"]) >= 0).all()
        assert digits[0] == utterances.digits[index]
        # 30 events a digit: each part is an utterance of the speaker, moved in time.
        parts = np.split(events, len(digits))
        assert {len(part) for part in parts} == {30}
        end = 0
        for part, digit in zip(parts, digits, strict=True):
            whose = zip(utterances.speakers, utterances.digits, strict=True)
            (k,) = (k for k, found in enumerate(whose) if found == (joined.speakers[index], digit))
            own = utterances[k][0]
            assert np.array_equal(part["x"], own["x"])
            assert len(set((part["t"] - own["t"]).tolist())) == 1
            start = int(part["t"][0] - own["t"][0])
            pauses += [start - end] if end else []
            assert end or start == 0
            end = int(part["t"][-1])
    assert 50_000 <= min(pauses) < 60_000
    assert 190_000 < max(pauses) < 200_000


def test_a_seed_joins_the_same_and_another_something_else(utterances: NTIDIGITS) -> None:
    joined = [JoinedDigits(utterances, seed=seed) for seed in (0, 0, 1)]
    assert joined[0].digits == joined[1].digits != joined[2].digits
    for index in (0, 7, -1):
        assert np.array_equal(joined[0][index][0], joined[1][index][0])
    keys = [source.key for source in (*joined, JoinedDigits(utterances, 2), utterances)]
    assert keys[0] == keys[1]
    assert all(keys[0] != key for key in keys[2:])
    assert "joined" in joined[0].title
    assert [len(digits) for digits in JoinedDigits(utterances, 1).digits] == [1] * len(utterances)


def test_training_and_test_are_joined_apart_and_validation_is_of_nobody_else(
    tmp_path: Path,
) -> None:
    write_ntidigits(tmp_path)
    data = NTIDIGITSDataModule(
        str(tmp_path), num_steps=100, duration_us=6_000_000, batch_size=4, val_fraction=0.3,
        digits="joined", most_digits=3,
    )  # fmt: skip
    assert (data.num_classes, len(data.classes)) == (12, 11)
    for stage in ("fit", "test"):
        data.setup(stage)
    recordings = [data.recordings(train=t) for t in (True, False)]
    assert not set(recordings[0].speakers) & set(recordings[1].speakers)
    voices = [{recordings[0].speakers[i] for i in data._sets[s].indices} for s in ("train", "val")]
    assert not voices[0] & voices[1]
    seen: list[str] = []
    for frames, targets, steps, counts in data.test_dataloader():
        assert frames.shape[:2] == (steps.max(), len(targets))
        for row, count in zip(targets, counts, strict=True):
            seen.append("".join(data.classes[k] for k in row[:count]))
    assert seen == recordings[1].digits


def test_no_digit_at_all_is_refused(utterances: NTIDIGITS) -> None:
    with pytest.raises(ArgumentError, match="most is 0"):
        JoinedDigits(utterances, 0)
