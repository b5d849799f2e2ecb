"""Changes to the events of a recording, drawn anew for each sample and epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snnplug.data.mixing import Mixture
from snnplug.data.site_maps import Layout, Move
from snnplug.errors import ArgumentError
from snnplug.kernels.frames import in_order
from snnplug.kernels.located import Recording

_LAST_US = 2**32 - 1


class Streams:
    """Random numbers of any recording in any epoch, each its own stream, without making it anew.

    A counter-based generator is set to a stream by its key and counter alone; to seed another kind
    takes longer than all that is then drawn from it.

    Args:
        seed: Of the run.

    Example:
        >>> streams = Streams(3)
        >>> first, other = streams(0, 7).random(), streams(0, 8).random()
        >>> first == streams(0, 7).random() != other
        True

    Reference:
        J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011: Philox-4x64.
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.Philox(key=0)
        self._generator = np.random.Generator(self._bits)
        self._state: Any = self._bits.state
        self._state["state"]["key"][0] = seed % 2**64

    def __call__(self, epoch: int, index: int, purpose: int = 0) -> np.random.Generator:
        """Return the generator at the beginning of a recording's stream, the same object each time.

        Args:
            epoch: Of the run.
            index: Of the recording in its store.
            purpose: What is drawn; each has its own stream.
        """
        self._state["state"]["key"][1] = index
        self._state["state"]["counter"][:] = 0, 0, purpose, epoch
        self._bits.state = self._state
        return self._generator


@dataclass(frozen=True)
class Augmentation:
    r"""Random changes to a training recording, on its events, before they become frames.

    What is drawn depends on the seed, the epoch and the recording alone: it is the same for any
    number of processes. Events are mixed, reversed, jittered and thinned, then mirrored, moved and
    cut; what is lost is counted.

    Args:
        shift_px: Move the recording by up to so many pixels in x and in y.
        jitter_us: Standard deviation of a time that is added to each event, in µs; none moves out
            of :math:`0 \dots 2^{32}`.
        drop: Share of the events that is dropped at random.
        reverse: Chance that time runs backwards within the window, ON and OFF change places: what
            the same scene would give if it moved the other way.
        flip: Chance that the recording is mirrored, left to right.
        cut_px: Side of a square, at random, whose events are dropped.
        mix: Chance that a recording is mixed with another one, any of the training's: a share
            :math:`\lambda`, uniform in 1/2 … 1, of its own events is kept, at random, and
            :math:`1 - \lambda` of the other's; targets are then
            :class:`~snnplug.mixed.Mixed`, weighed by the share.
        cut_mix: Chance that a rectangle of a recording, or a band of its channels, is replaced by
            what another one has there: :math:`1 - \lambda` of the sensor's area, anywhere. Targets
            are weighed by the events that are left of each, not by the area: most corners of a
            sensor see nothing.

    Raises:
        ArgumentError: A number is negative, or a share or chance above 1, or ``mix`` and
            ``cut_mix`` together.

    Example:
        >>> Augmentation(shift_px=2, drop=0.1).is_none(), Augmentation().is_none()
        (False, True)

    Reference:
        The square is that of T. DeVries, G. W. Taylor, "Improved Regularization of Convolutional
        Neural Networks with Cutout", 2017, arXiv:1708.04552. Mixing is H. Zhang et al., "mixup:
        Beyond Empirical Risk Minimization", ICLR 2018, in the mean of the events that are kept;
        deviations: the share is uniform, and the other recording is one of all, not of the batch.
        The rectangle is that of S. Yun et al., "CutMix: Regularization Strategy to Train Strong
        Classifiers with Localizable Features", ICCV 2019; deviations: the same, it lies wholly on
        the sensor, its area is at most half, and the weights, which are those of G. Shen, D. Zhao,
        Y. Zeng, "EventMix: An efficient data augmentation strategy for event-based learning",
        Information Sciences 644, 2023, by number of events.
    """

    shift_px: int = 0
    jitter_us: float = 0.0
    drop: float = 0.0
    reverse: float = 0.0
    flip: float = 0.0
    cut_px: int = 0
    mix: float = 0.0
    cut_mix: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        most = dict.fromkeys(("drop", "reverse", "flip", "mix", "cut_mix"), 1.0)
        most["jitter_us"] = float(_LAST_US)
        for name, value in vars(self).items():
            if not 0 <= value <= most.get(name, 2**16):
                raise ArgumentError(
                    f"{name} is {value}; it has to lie in 0 … {most.get(name, 2**16):g}"
                )

        if self.mix + self.cut_mix > 1:
            raise ArgumentError(
                f"mix is {self.mix} and cut_mix {self.cut_mix}; a recording is mixed in one of the "
                "two ways or not at all, so together they have to be at most 1"
            )

    @property
    def is_moving_only(self) -> bool:
        """Whether every recording keeps its events as they are, at most in other places."""
        return not (self.reverse or self.jitter_us or self.drop or self.is_mixing)

    @property
    def is_mixing(self) -> bool:
        """Whether recordings are mixed, so that targets are :class:`~snnplug.mixed.Mixed`."""
        return self.mix + self.cut_mix > 0

    def mixture(self, rng: np.random.Generator, own: int, others: npt.NDArray[np.int64]) -> Mixture:
        """Return how a recording is mixed with another one.

        Args:
            rng: What is drawn from.
            own: The recording.
            others: Those that it may be mixed with.
        """
        chance, partner, share, *place = rng.random(5).tolist()
        if chance >= self.mix + self.cut_mix:
            return Mixture(own)
        at = None if chance < self.mix else (place[0], place[1])
        return Mixture(int(others[int(partner * len(others))]), 1.0 - share / 2, at)

    def is_none(self) -> bool:
        """Whether nothing is ever changed."""
        return self == _NONE

    def __call__(
        self,
        recording: Recording,
        layout: Layout,
        window_us: tuple[int, int],
        rng: np.random.Generator,
    ) -> tuple[Recording, int, Move]:
        """Return the events, how many were dropped, and how those left are to be moved.

        Args:
            recording: Times and sites, in order of time.
            layout: Its sensor.
            window_us: Start and length of the window.
            rng: What is drawn from.
        """
        chance_reverse, move = self._draw(layout, rng)
        if chance_reverse < self.reverse:
            recording = _reversed(recording, layout, window_us)
        if self.jitter_us:
            t, site = recording
            moved = t + np.rint(rng.normal(0.0, self.jitter_us, len(t)))
            recording = in_order(np.clip(moved, 0, _LAST_US).astype(np.uint32), site)
        thinned = 0
        if self.drop:
            t, site = recording
            kept = rng.random(len(t)) >= self.drop
            recording = t[kept], site[kept]
            thinned = len(t) - len(recording[0])
        return recording, thinned, move

    def move(self, layout: Layout, rng: np.random.Generator) -> Move:
        """Return how the events of a recording are to be moved, as a call does."""
        return self._draw(layout, rng)[1]

    def _draw(self, layout: Layout, rng: np.random.Generator) -> tuple[float, Move]:
        # Always the same number of draws before those per event: one option does not change what
        # another draws. And in one call, which takes less time than what is done with them.
        chance_reverse, chance_flip, *places = rng.random(6).tolist()
        width, height, _ = layout.axes
        dx, dy = (int(place * (2 * self.shift_px + 1)) - self.shift_px for place in places[:2])
        left = top = 0
        if self.cut_px:
            left, top = (
                int(place * (length + self.cut_px - 1)) - self.cut_px + 1
                for place, length in zip(places[2:], (width, height), strict=True)
            )
        if height == 1:
            dy = top = 0
        return chance_reverse, Move(dx, dy, chance_flip < self.flip, (left, top, self.cut_px))


_NONE = Augmentation()


def _reversed(recording: Recording, layout: Layout, window_us: tuple[int, int]) -> Recording:
    """Turn the window's events around; the others are outside and stay there."""
    t, site = recording
    start, length = window_us
    first, last = np.searchsorted(t, (start, start + length)).tolist()
    t, site = t.copy(), site.copy()
    t[first:last] = (2 * start + length - 1 - t[first:last].astype(np.int64))[::-1]
    turned = site[first:last][::-1].astype(np.int64)
    width, height, polarities = layout.axes
    pixels = width * height
    site[first:last] = (polarities - 1 - turned // pixels) * pixels + turned % pixels
    return t, site
