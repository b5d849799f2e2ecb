"""Targets of recordings that are mixed from two: what data give and training takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Mixed(NamedTuple):
    """Targets of a batch whose recordings are each mixed with another one, or not.

    Args:
        targets: Class of the recording that weighs more, ``(B,)``; what accuracy is measured by.
        others: Class of the other one, ``(B,)``; the same where nothing is mixed in.
        weights: Share of the first, at least 1/2, ``(B,)``; 1 where nothing is mixed in.
    """

    targets: Tensor
    others: Tensor
    weights: Tensor
