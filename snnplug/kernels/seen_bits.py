"""The bits of the input that a sparse product has just read, for who counts spikes.

A sparse product finds out where its input is not zero, a bit per value. To count the same values
again would read 32 times as much memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SeenBits:
    """Where an input is not zero.

    Attributes:
        x: The input; held so that its memory is not used again.
        bits: 64 values of a row of ``x`` to a word, ``(rows, words)``.
        is_binary: Whether every value is 0 or 1.
        nonzeros: How many values are not zero; None if nobody has added them up.
    """

    x: Tensor
    bits: Tensor
    is_binary: bool
    nonzeros: int | None = None

    @property
    def features(self) -> int:
        """Values of a row."""
        return self.x.numel() // len(self.x)

    def is_of(self, x: Tensor) -> bool:
        """Whether ``x`` holds the same values in the same order."""
        return (
            x.data_ptr() == self.x.data_ptr()
            and x.numel() == self.x.numel()
            and x.dtype == self.x.dtype
            and x.is_contiguous()
        )


_watchers = 0
_last: SeenBits | None = None


def watch() -> None:
    """Ask that bits are remembered; calls add up, each is ended by :func:`unwatch`."""
    global _watchers
    _watchers += 1


def unwatch() -> None:
    """End what :func:`watch` began."""
    global _watchers, _last
    _watchers -= 1
    _last = None


def is_wanted() -> bool:
    """Whether somebody has asked for the bits, and there are values to have bits of."""
    return _watchers > 0 and not torch.compiler.is_compiling()


def remember(x: Tensor, bits: Tensor | None, is_binary: bool, nonzeros: int | None = None) -> None:
    """Remember the bits of the input of the last product, in place of those of the one before.

    Args:
        x: The input, ``(rows, *)``, contiguous.
        bits: Its bits; None if the product did without.
        is_binary: Whether every value is 0 or 1.
        nonzeros: How many are not zero.
    """
    global _last
    _last = None if bits is None else SeenBits(x.detach(), bits, is_binary, nonzeros)


def bits_of(x: Tensor) -> SeenBits | None:
    """Return the bits of ``x`` if it was the input of the last sparse product."""
    last = _last
    return last if last is not None and last.is_of(x) else None
