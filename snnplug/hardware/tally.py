"""Counting the events in a tensor without storing it."""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from snnplug.kernels import native
from snnplug.kernels.seen_bits import SeenBits, bits_of

# A float32 sum of fewer zeros and ones than 2**24 is exact.
_CHUNK = 2**23
_PROBE = 2**10
# The bits of 1.0 in float32; those of 0.0 are 0, and what lies between has bits between.
_ONE = 0x3F800000
_MINUS_ZERO = -(2**31)
_WRAP = 2**32


class Tally(NamedTuple):
    """Events of a tensor.

    Attributes:
        counts: Per site, int64, on the tensor's device; a number where no axis is kept.
        events: In total.
        spike: The value of every event, where all are known to have the same: 1 for spikes,
            another one for spikes that were scaled. None for all else.
    """

    counts: Tensor | int
    events: int
    spike: float | None

    @property
    def is_binary(self) -> bool:
        """Whether every value was exactly 0 or 1."""
        return self.spike == 1


def tally(x: Tensor, keep: int = 0) -> Tally:
    """Count the values of ``x`` that are not zero.

    Args:
        x: Any real tensor.
        keep: How many trailing axes keep counts of their own; the others are summed over.

    Returns:
        Counts of shape ``x.shape[-keep:]``, one number for 0.

    Example:
        >>> seen = tally(torch.tensor([[0.0, 1.0], [1.0, 1.0]]), keep=1)
        >>> seen.counts.tolist(), seen.events, seen.is_binary
        ([1, 2], 3, True)
    """
    known = bits_of(x)
    if known is not None and known.is_binary:
        if keep == 0 and known.nonzeros is not None:
            return Tally(known.nonzeros, known.nonzeros, 1.0)
        if known.features % prod(x.shape[x.dim() - keep :]) == 0:
            return _of_bits(known, x.shape[x.dim() - keep :])
    values = x.detach()
    sites = values.shape[values.dim() - keep :]
    if _is_fast(values):
        # What is no spike ends the first look at once.
        fast, spike = _counts_if_binary(values, sites, 1.0), 1.0
        if fast is None and (size := _size(values)) is not None:
            fast, spike = _counts_if_binary(values, sites, size), size
        if fast is not None:
            return Tally(fast[1], fast[0], spike)
    events = values != 0
    unit = 1.0 if not _is_fast(values) and bool((values == events).all()) else None
    if keep == 0:
        total = int(events.sum())
        return Tally(total, total, unit)
    counts = events.sum(tuple(range(values.dim() - keep))) if keep < values.dim() else events.long()
    return Tally(counts, int(counts.sum()), unit)


def _of_bits(known: SeenBits, sites: torch.Size) -> Tally:
    """Count the ones of an input of spikes from its bits."""
    events = known.nonzeros
    counts = native.count_bits(known.bits, known.features)
    events = int(counts.sum()) if events is None else events
    return Tally(counts.reshape(-1, *sites).sum(0) if sites else events, events, 1.0)


def spikes_of(x: Tensor) -> int | None:
    """Return how many values are 1 if all others are exactly 0, else None."""
    if _is_fast(x):
        fast = _counts_if_binary(x.detach(), torch.Size(), 1.0)
        return None if fast is None else fast[0]
    events = x != 0
    return int(events.sum()) if bool((x == events).all()) else None


def _is_fast(x: Tensor) -> bool:
    """Whether reading a result costs nothing and the bits are those of float32."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and x.numel() > 0


def _size(x: Tensor) -> float | None:
    """Return what the size of a spike may be if it is not 1, after a look at some of the values."""
    # An odd stride: neither one place of a feature map nor the first, silent, time step alone.
    some = x.flatten()[:: x.numel() // _PROBE | 1]
    size = float(some.max())
    scaled = 0 < size < float("inf") and bool(((some == 0) | (some == size)).all())
    return size if scaled else None


def _counts_if_binary(
    x: Tensor, sites: torch.Size, spike: float
) -> tuple[int, Tensor | int] | None:
    """Return the spikes, in total and per site, if every other value is 0, else None."""
    if native.library() is None:
        counts = _counts_by_sums(x, sites) if spike == 1 else None
        return None if counts is None else (int(counts.sum()), counts if sites else int(counts))
    seen = native.count_spikes(x.contiguous(), prod(sites), spike)
    if seen is None:
        return None
    total, counts = seen
    if not sites:
        return total, total
    return total, torch.full(sites, total) if counts is None else counts.reshape(sites)


def _counts_by_sums(x: Tensor, sites: torch.Size) -> Tensor | None:
    """Do the same in a few reads of memory, with torch.

    All values lie in [0, 1], their sum equals that of their squares, and the sum of their bits is
    that of as many ones. A tensor that passes without being binary would need values within one
    rounding of 0 and of 1 whose last bits cancel exactly.
    """
    flat = x.reshape(-1)
    # Currents show in the first few values that they are no spikes.
    for start, stop in pairwise((0, *range(_PROBE, flat.numel(), _CHUNK), flat.numel())):
        chunk = flat[start:stop]
        bits = chunk.view(torch.int32)
        low, high = torch.aminmax(bits)
        if low.item() == _MINUS_ZERO:
            bits = (chunk + 0.0).view(torch.int32)
            low, high = torch.aminmax(bits)
        if low.item() < 0 or high.item() > _ONE:
            return None
        ones = chunk.sum().item()
        if ones != torch.dot(chunk, chunk).item() or ones != int(ones):
            return None
        if bits.sum(dtype=torch.int32).item() % _WRAP != int(ones) * _ONE % _WRAP:
            return None
    over = tuple(range(x.dim() - len(sites)))
    counts = x.sum(over, dtype=None if x.numel() < _CHUNK else torch.float64)
    return counts.to(torch.int64)
