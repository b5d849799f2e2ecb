"""NeuroMorse: fifty English words as spikes of Morse code, generated, with 27 kinds of noise."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from snnplug.data.augmentation import Augmentation
from snnplug.data.event_data_module import EventDataModule
from snnplug.data.frames import FrameOptions
from snnplug.errors import ArgumentError

#: International Morse code, ITU-R M.1677-1.
MORSE = {
    "a": ".-", "b": "-...", "c": "-.-.", "d": "-..", "e": ".", "f": "..-.", "g": "--.",
    "h": "....", "i": "..", "j": ".---", "k": "-.-", "l": ".-..", "m": "--", "n": "-.",
    "o": "---", "p": ".--.", "q": "--.-", "r": ".-.", "s": "...", "t": "-", "u": "..-",
    "v": "...-", "w": ".--", "x": "-..-", "y": "-.--", "z": "--..",
}  # fmt: skip
_FIFTY = """
the be to of and a in that have i it for not on with he as you do at this but his by from they we
say her she or an will my one all would there their what so up out if about who get which go me
"""
#: The fifty words of the published benchmark: the most common of English.
WORDS = tuple(_FIFTY.split())
# Published: steps from a symbol to the next, to the first of the next letter, and after a word.
_SYMBOL_STEPS, _LETTER_STEPS, _WORD_STEPS = 6, 11, 15
#: The longest word lasts 117 steps; with the gap after it, 132.
LONGEST_STEPS = 132
# Published levels: spikes dropped per word of 7.5 on average, standard deviation of the jitter in
# steps, noise spikes per step and channel.
_DROPPED, _JITTER_STEPS, _NOISE = (0.0, 0.25, 0.5), (0.0, 1.0, 2.0), (0.0, 0.05, 0.1)
_MEAN_SPIKES = 7.5
_STEP_US = 1_000
_DTYPE = np.dtype([("x", np.int64), ("t", np.int64)])

Events = npt.NDArray[np.void]


def encode_word(word: str) -> Events:
    """Return the spikes of one word: dots on channel 0, dashes on channel 1; 1 step is 1 ms.

    Args:
        word: Letters a to z.

    Returns:
        Structured array with fields x (channel) and t (µs); the first spike is at 0.

    Raises:
        ArgumentError: The word is empty or holds anything but letters.

    Example:
        >>> encode_word("an")["t"].tolist(), encode_word("an")["x"].tolist()
        ([0, 6000, 17000, 23000], [0, 1, 1, 0])
    """
    if not word or not set(word.lower()) <= MORSE.keys():
        raise ArgumentError(f"{word!r} is no word of the letters a to z")
    steps, channels, step = [], [], -_LETTER_STEPS
    for letter in word.lower():
        step += _LETTER_STEPS - _SYMBOL_STEPS
        for symbol in MORSE[letter]:
            step += _SYMBOL_STEPS
            steps.append(step)
            channels.append(int(symbol == "-"))
    events = np.empty(len(steps), dtype=_DTYPE)
    events["t"], events["x"] = np.array(steps) * _STEP_US, channels
    return events


@dataclass(frozen=True)
class Spoken:
    """One keyword in a stream: the word, and when its first and last spike are, in µs."""

    word: str
    start_us: int
    end_us: int


def encode_text(text: str) -> tuple[Events, list[Spoken]]:
    """Return a text as one stream of spikes, and where the fifty words are in it.

    What is neither a letter nor a space is left out; words are 15 steps apart.

    Args:
        text: English text.

    Returns:
        Events as :func:`encode_word`'s, and one entry per occurrence of a word of :data:`WORDS`.

    Raises:
        ArgumentError: The text holds no letter.

    Example:
        >>> events, keywords = encode_text("The whale, and me")
        >>> [k.word for k in keywords], keywords[1].start_us > keywords[0].end_us
        (['the', 'and', 'me'], True)
    """
    letters = "".join(c for c in text.lower() if c in MORSE or c.isspace())
    parts, keywords, start = [], [], 0
    for word in letters.split():
        events = encode_word(word)
        events["t"] += start
        end = int(events["t"][-1])
        if word in WORDS:
            keywords.append(Spoken(word, start, end))
        parts.append(events)
        start = end + _WORD_STEPS * _STEP_US
    if not parts:
        raise ArgumentError(f"the text {text[:40]!r} holds no letter of a to z")
    return np.concatenate(parts), keywords


@dataclass(frozen=True)
class MorseNoise:
    r"""What is done to the spikes: dropped, moved, and added; three levels each, 27 variants.

    A spike is dropped with probability :math:`d / 7.5`, moved by :math:`\mathcal N(0, \sigma^2)`
    rounded to steps, and :math:`\mathrm{Poisson}(\lambda T)` spikes are added to each channel,
    uniform over the :math:`T` = 132 steps. Spikes moved out of the window stay at its end; of two
    on one channel in one step one is kept, as a channel carries one bit.

    Args:
        dropped: :math:`d`, spikes dropped per word of average length.
        jitter_steps: :math:`\sigma`, in steps.
        noise: :math:`\lambda`, spikes per step and channel.

    Raises:
        ArgumentError: A number is negative or not finite, or more spikes would be dropped than
            there are.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> len(MorseNoise(dropped=7.5)(encode_word("the"), rng)), len(MorseNoise.variants())
        (0, 27)
    """

    dropped: float = 0.0
    jitter_steps: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, most in (("dropped", _MEAN_SPIKES), ("jitter_steps", 1e6), ("noise", 1e3)):
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise ArgumentError(f"{name} is {value}; it has to lie in 0 … {most:g}")

    @classmethod
    def variants(cls) -> tuple[MorseNoise, ...]:
        """Return the 27 published variants, the clean one first."""
        return tuple(cls(d, j, n) for d in _DROPPED for j in _JITTER_STEPS for n in _NOISE)

    def __call__(self, events: Events, rng: np.random.Generator) -> Events:
        """Return the noisy spikes of one word, sorted by time."""
        kept = events[rng.random(len(events)) >= self.dropped / _MEAN_SPIKES]
        moved = np.rint(rng.normal(0.0, self.jitter_steps, len(kept))).astype(np.int64)
        step = np.clip(kept["t"] // _STEP_US + moved, 0, LONGEST_STEPS - 1)
        cells = [step * 2 + kept["x"]]
        for channel, count in enumerate(rng.poisson(self.noise * LONGEST_STEPS, 2)):
            cells.append(rng.integers(LONGEST_STEPS, size=count) * 2 + channel)
        cell = np.unique(np.concatenate(cells))
        noisy = np.empty(len(cell), dtype=_DTYPE)
        noisy["t"], noisy["x"] = cell // 2 * _STEP_US, cell % 2
        return noisy


class NeuroMorse:
    """The fifty words as spikes on two channels, one recording per word and copy; generated.

    Neither counts nor order alone tell the words apart: they have 36 distinct pairs of counts (so a
    classifier of counts is right on 72 % at most), 48 distinct orders of dots and dashes, 39
    distinct timings without the channel, and 50 with it. Without noise all copies of a word are
    equal, and the test recordings are those of the training: the task is to tell them apart, not
    to generalise. With noise every copy, split and seed has its own.

    50 words x ``copies``; up to 132 steps of 1 ms; two channels; nothing to download. The words and
    the timing are those of the benchmark; no file and no code of it is used.

    Args:
        train: Training or test recordings, which have different noise.
        noise: What is done to the spikes.
        copies: Recordings per word.
        seed: Seed of the noise.

    Raises:
        ArgumentError: ``copies`` or ``seed`` is out of range.

    Example:
        >>> recordings = NeuroMorse()
        >>> events, word = recordings[0]
        >>> NeuroMorse.classes[word], len(events)
        ('the', 6)

    Reference:
        B. Walters et al., "NeuroMorse: A Temporally Structured Dataset for Neuromorphic Computing",
        Neuromorphic Computing and Engineering 5:027001, 2025, arXiv:2502.20729. Deviations: the
        benchmark trains on the clean words and tests on a stream of text (:func:`encode_text`);
        here single words are classified, and training may be noisy as well.
    """

    classes: ClassVar[tuple[str, ...]] = WORDS
    sensor_size: ClassVar[tuple[int, ...]] = (2,)

    def __init__(
        self, train: bool = True, noise: MorseNoise | None = None, copies: int = 1, seed: int = 100
    ) -> None:
        if copies < 1 or seed < 0:
            raise ArgumentError(f"copies is {copies}, seed {seed}; give at least 1 and 0")
        self._noise = noise or MorseNoise()
        self._seed = (seed, int(train))
        self._clean = [encode_word(word) for word in WORDS]
        self.targets = [k % len(WORDS) for k in range(copies * len(WORDS))]
        kind = "clean" if self._noise == MorseNoise() else f"{self._noise}"
        self.title = f"NeuroMorse words, {kind}"

    @property
    def key(self) -> dict[str, Any]:
        """What the recordings are generated from; the version changes with the generator."""
        parts = {
            "noise": asdict(self._noise),
            "seed": self._seed,
            "copies": len(self) // len(WORDS),
        }
        return {"name": "NeuroMorse", "version": 1, **parts}

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Events, int]:
        """Return the spikes of one recording and the number of its word."""
        index = range(len(self))[index]
        rng = np.random.default_rng((*self._seed, index))
        return self._noise(self._clean[self.targets[index]], rng), self.targets[index]


class NeuroMorseDataModule(EventDataModule):
    """:class:`NeuroMorse` as time-first frames; nothing to download.

    Args:
        dropped: Spikes dropped per word of average length: 0, 0.25 or 0.5 in the benchmark.
        jitter_steps: Standard deviation of the jitter, in steps: 0, 1 or 2.
        noise: Noise spikes per step and channel: 0, 0.05 or 0.1.
        copies: Recordings per word for training; as many for the test.
        num_steps: Time bins per recording; 132 is one per step.
        batch_size: Recordings per batch.
        val_fraction: Share of the training copies of each word held out for validation.
        split_seed: Seed of that choice.
        seed: Seed of the noise.
        num_workers: Processes that load in the background.
        augmentation: What is changed at random in each training recording, anew each epoch.
        frames: How events become frames, beyond bins and window.

    Shape:
        - batch: frames ``(T, B, 2)``, targets ``(B,)``

    Example:
        >>> data = NeuroMorseDataModule()
        >>> data.num_classes, data.in_shape, data.num_steps
        (50, (2,), 132)

    Reference:
        As :class:`NeuroMorse`.
    """

    classes: ClassVar[tuple[str, ...]] = WORDS
    sensor_size: ClassVar[tuple[int, ...]] = (2,)

    def __init__(
        self,
        dropped: float = 0.0,
        jitter_steps: float = 0.0,
        noise: float = 0.0,
        copies: int = 10,
        num_steps: int = LONGEST_STEPS,
        batch_size: int = 50,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        seed: int = 100,
        num_workers: int = 0,
        augmentation: Augmentation | None = None,
        frames: FrameOptions | None = None,
    ) -> None:
        super().__init__(
            num_steps,
            LONGEST_STEPS * _STEP_US,
            batch_size,
            True,
            val_fraction,
            split_seed,
            num_workers,
            augmentation,
            frames,
        )
        self.noise = MorseNoise(dropped, jitter_steps, noise)
        self.copies = copies
        self.seed = seed

    def recordings(self, train: bool) -> NeuroMorse:
        """Return the training or the test recordings."""
        return NeuroMorse(train, self.noise, self.copies, self.seed)
