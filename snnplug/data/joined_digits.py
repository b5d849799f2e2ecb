"""Sequences of digits where a file has single ones alone: utterances of a speaker in a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from snnplug.errors import ArgumentError

if TYPE_CHECKING:
    from snnplug.data.ntidigits import NTIDIGITS

# Silence between two digits, in µs, from the one to the other: ours, no measure of speech.
_PAUSE_US = 50_000, 200_000
_EVENT = np.dtype([("x", np.int64), ("t", np.int64)])
# As kept in memory: channels are below 64, times have 32 bits of µs.
_SMALL = np.dtype([("x", np.uint8), ("t", np.uint32)])


class JoinedDigits:
    """Utterances of one to several digits, joined from utterances of one.

    Each begins with another utterance of the file; how many follow, which of the same speaker's,
    and the silence of 50 to 200 ms before each are drawn. It is no connected speech: neighbours do
    not run into each other.

    Args:
        utterances: Utterances of single digits.
        most: Digits of the longest.
        seed: The same seed joins the same.

    Raises:
        ArgumentError: ``most`` is below 1.

    Example:
        >>> recordings = JoinedDigits(utterances)            # doctest: +SKIP
        >>> events, _ = recordings[0]                        # doctest: +SKIP
        >>> recordings.digits[0]                             # doctest: +SKIP
        'z4'
    """

    def __init__(self, utterances: NTIDIGITS, most: int = 5, seed: int = 0) -> None:
        if most < 1:
            raise ArgumentError(f"most is {most}; it has to be at least 1")
        self.utterances, self.most, self.seed = utterances, most, seed
        #: Speaker of each recording.
        self.speakers = utterances.speakers
        self.targets = [-1] * len(utterances)
        self._read: dict[int, npt.NDArray[np.void]] = {}
        self.title = f"{utterances.title}, 1 to {most} joined"
        speakers = np.array(self.speakers)
        of_speaker = {name: np.flatnonzero(speakers == name) for name in set(self.speakers)}
        self._parts = []
        for k, name in enumerate(self.speakers):
            rng = np.random.default_rng((seed, k))
            others = rng.choice(of_speaker[name], rng.integers(most))
            self._parts.append([k, *others.tolist()])
        #: Digits of each recording.
        self.digits = ["".join(utterances.digits[k] for k in parts) for parts in self._parts]

    @property
    def key(self) -> dict[str, Any]:
        """What the recordings depend on."""
        return {**self.utterances.key, "joined": [self.most, self.seed, *_PAUSE_US]}

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self._parts)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.void], int]:
        """Return the events of one recording, and -1."""
        index = range(len(self))[index]
        rng = np.random.default_rng((self.seed, index, 1))
        events: list[npt.NDArray[np.void]] = []
        end = 0
        for k in self._parts[index]:
            part = self._utterance(k)
            start = end + int(rng.integers(*_PAUSE_US)) if events else 0
            part["t"] += start
            end = int(part["t"][-1]) if len(part) else start
            events.append(part)
        return np.concatenate(events), -1

    def _utterance(self, k: int) -> npt.NDArray[np.void]:
        """Return an utterance: each is in three recordings on average, and takes long to read."""
        if k not in self._read:
            self._read[k] = self.utterances[k][0].astype(_SMALL)
        return self._read[k].astype(_EVENT)
