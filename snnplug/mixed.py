"""Targets of recordings that are mixed from two: what data give and training takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Mixed(NamedTuple):
    """Targets of a batch whose recordings are each mixed with another one, or not.

    Args:
        targets: Class of each recording itself, ``(B,)``; what accuracy is measured by.
        others: Class of the recording that it is mixed with, ``(B,)``.
        weights: Share of the recording itself, above 1/2, ``(B,)``; 1 where nothing is mixed in.
    """

    targets: Tensor
    others: Tensor
    weights: Tensor
