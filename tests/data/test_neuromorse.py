"""NeuroMorse: Morse as published, what counts can tell and what they cannot, and the noise."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from snnplug.data.neuromorse import (
    LONGEST_STEPS,
    MORSE,
    WORDS,
    MorseNoise,
    NeuroMorse,
    NeuroMorseDataModule,
    encode_text,
    encode_word,
)
from snnplug.errors import ArgumentError


def test_a_word_by_hand() -> None:
    # "to": dash; 11 steps later three dashes, 6 steps apart.
    events = encode_word("to")
    assert events["t"].tolist() == [0, 11_000, 17_000, 23_000]
    assert events["x"].tolist() == [1, 1, 1, 1]
    assert encode_word("A")["x"].tolist() == [0, 1]


def test_the_code_is_unambiguous_and_of_the_known_lengths() -> None:
    assert len(MORSE) == len(set(MORSE.values())) == 26
    # Symbols per letter of the international code: 2 of one, 4 of two, 8 of three, 12 of four.
    assert Counter(map(len, MORSE.values())) == {1: 2, 2: 4, 3: 8, 4: 12}
    assert (MORSE["s"], MORSE["o"], MORSE["q"]) == ("...", "---", "--.-")


def test_statistics_are_the_published_ones() -> None:
    spikes = [len(encode_word(word)) for word in WORDS]
    lasts = [int(encode_word(word)["t"][-1]) // 1000 + 1 for word in WORDS]
    assert (len(WORDS), len(set(WORDS))) == (50, 50)
    assert (np.mean(spikes), min(spikes), max(spikes)) == (7.54, 2, 17)
    assert (min(lasts), max(lasts), max(lasts) + 15) == (7, 117, LONGEST_STEPS)


def _distinct(view: Any) -> int:
    return len({view(encode_word(word)) for word in WORDS})


def test_counts_order_and_timing_alone_do_not_tell_all_words() -> None:
    assert _distinct(lambda e: tuple(np.bincount(e["x"], minlength=2))) == 36
    assert _distinct(lambda e: tuple(e["x"])) == 48
    assert _distinct(lambda e: tuple(e["t"])) == 39
    assert _distinct(lambda e: (tuple(e["t"]), tuple(e["x"]))) == 50


def test_the_best_classifier_of_counts_stays_at_72_percent() -> None:
    recordings = NeuroMorse()
    by_counts: dict[tuple[int, ...], Counter[int]] = {}
    for events, word in (recordings[i] for i in range(50)):
        by_counts.setdefault(tuple(np.bincount(events["x"], minlength=2)), Counter())[word] += 1
    right = sum(words.most_common(1)[0][1] for words in by_counts.values())
    assert right / 50 == 0.72


def test_a_text_is_its_words_fifteen_steps_apart() -> None:
    events, keywords = encode_text("The end: of ME, 2!")
    assert [k.word for k in keywords] == ["the", "of", "me"]
    start, parts = 0, []
    for word in ("the", "end", "of", "me"):
        one = encode_word(word)
        parts.append(one["t"] + start)
        start = int(parts[-1][-1]) + 15_000
    assert events["t"].tolist() == np.concatenate(parts).tolist()
    for spoken in keywords:
        inside = (events["t"] >= spoken.start_us) & (events["t"] <= spoken.end_us)
        assert np.array_equal(events["x"][inside], encode_word(spoken.word)["x"])


def test_27_variants() -> None:
    variants = MorseNoise.variants()
    assert len(set(variants)) == 27
    assert variants[0] == MorseNoise()
    assert {(v.dropped, v.jitter_steps, v.noise) for v in variants} == {
        (d, j, n) for d in (0, 0.25, 0.5) for j in (0, 1, 2) for n in (0, 0.05, 0.1)
    }


@pytest.mark.parametrize("noise", MorseNoise.variants())
def test_every_variant_stays_in_the_window_and_is_repeatable(noise: MorseNoise) -> None:
    recordings = NeuroMorse(noise=noise, copies=2)
    for index in range(len(recordings)):
        events, word = recordings[index]
        assert np.array_equal(events, recordings[index][0])
        assert word == index % 50
        assert events["x"].max(initial=0) <= 1
        assert events["t"].min(initial=0) >= 0
        assert events["t"].max(initial=0) < LONGEST_STEPS * 1000
        assert (np.diff(events["t"] * 2 + events["x"]) > 0).all()


def _many(noise: MorseNoise, word: str = "which") -> list[Any]:
    rng = np.random.default_rng(0)
    return [noise(encode_word(word), rng) for _ in range(3000)]


def test_noise_has_the_stated_strength() -> None:
    clean = encode_word("which")
    dropped = np.mean([len(clean) - len(e) for e in _many(MorseNoise(dropped=0.5))])
    expected = len(clean) * 0.5 / 7.5
    assert dropped == pytest.approx(expected, abs=4 * (expected / 3000) ** 0.5)
    added = np.mean([len(e) for e in _many(MorseNoise(dropped=7.5, noise=0.05))])
    # Cells of one step and channel that at least one of Poisson(0.05) spikes hits.
    assert added == pytest.approx(2 * LONGEST_STEPS * (1 - np.exp(-0.05)), rel=0.01)
    moved = [
        (e["t"] - clean["t"]) / 1000
        for e in _many(MorseNoise(jitter_steps=1.0))
        if len(e) == len(clean) and np.array_equal(e["x"], clean["x"])
    ]
    # The first spike cannot move before the window; rounding adds 1/12 to the variance.
    assert np.std(np.stack(moved)[:, 4:-4]) == pytest.approx((1 + 1 / 12) ** 0.5, rel=0.03)


def test_splits_copies_and_seeds_have_noise_of_their_own() -> None:
    noise = MorseNoise(noise=0.1)
    drawn = [
        NeuroMorse(noise=noise, copies=2)[0],
        NeuroMorse(noise=noise, copies=2)[50],
        NeuroMorse(train=False, noise=noise)[0],
        NeuroMorse(noise=noise, seed=1)[0],
    ]
    assert len({events.tobytes() for events, _ in drawn}) == 4


def test_clean_recordings_are_the_words() -> None:
    data = NeuroMorseDataModule(copies=10, num_steps=132)
    data.setup("fit")
    data.setup("test")
    frames, targets = next(iter(data.test_dataloader()))
    assert frames.shape == (132, 50, 2)
    for k, word in enumerate(targets.tolist()):
        expected = torch.zeros(132, 2)
        events = encode_word(WORDS[word])
        expected[torch.from_numpy(events["t"] // 1000), torch.from_numpy(events["x"])] = 1
        assert torch.equal(frames[:, k], expected)
    assert (data.num_classes, data.in_shape, data.classes[0]) == (50, (2,), "the")
    assert [len(data._sets[name]) for name in ("train", "val", "test")] == [450, 50, 500]


@pytest.mark.parametrize(
    "arguments",
    [
        {"dropped": 8.0},
        {"jitter_steps": -1.0},
        {"noise": float("nan")},
        {"copies": 0},
        {"seed": -1},
    ],
)
def test_impossible_numbers_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        NeuroMorseDataModule(**arguments).recordings(train=True)


@pytest.mark.parametrize("word", ["", "a b", "é", "1"])
def test_other_words_are_refused(word: str) -> None:
    with pytest.raises(ArgumentError):
        encode_word(word)
    with pytest.raises(ArgumentError):
        encode_text("  12 !")
