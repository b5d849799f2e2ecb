"""From the output neurons to a decision."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from snnplug.errors import ArgumentError, did_you_mean

Decoding = Literal["count", "first", "current"]


def spike_count(spk: Tensor) -> Tensor:
    """Return the spikes of each output neuron: ``(T, B, C)`` → ``(B, C)``.

    Example:
        >>> spike_count(torch.tensor([[[0.0, 1.0]], [[1.0, 1.0]]])).tolist()
        [[1.0, 2.0]]
    """
    return spk.sum(0)


def first_spike(spk: Tensor) -> Tensor:
    """Return how many steps before the end each output neuron first spiked, 0 for never.

    The largest score belongs to the neuron that spiked first: ``(T, B, C)`` → ``(B, C)``.

    Example:
        >>> first_spike(torch.tensor([[[0.0, 0.0]], [[1.0, 0.0]], [[1.0, 0.0]]])).tolist()
        [[2.0, 0.0]]
    """
    left = torch.arange(spk.shape[0], 0, -1, dtype=spk.dtype, device=spk.device)
    return ((spk > 0).to(spk.dtype) * left.view(-1, 1, 1)).amax(0)


def accumulated_current(cur: Tensor) -> Tensor:
    """Return the current that each output neuron received: ``(T, B, C)`` → ``(B, C)``.

    It is the membrane of an output neuron that integrates and never fires.

    Example:
        >>> accumulated_current(torch.tensor([[[0.5, 1.0]], [[0.25, -1.0]]])).tolist()
        [[0.75, 0.0]]
    """
    return cur.sum(0)


def decode(spk: Tensor, cur: Tensor, decoding: Decoding = "count") -> Tensor:
    """Return the decided class of each sample; the lowest class wins a tie.

    Args:
        spk: Output spikes, ``(T, B, C)``.
        cur: Currents that drive the output neurons, ``(T, B, C)``.
        decoding: ``"count"`` for the most spikes, ``"first"`` for the first spike, ``"current"``
            for the most current.

    Returns:
        Classes ``(B,)``.

    Raises:
        ArgumentError: The decoding is unknown.

    Example:
        >>> spk = torch.tensor([[[0.0, 1.0]], [[1.0, 1.0]]])
        >>> decode(spk, spk).tolist()
        [1]
    """
    scores = {
        "count": lambda: spike_count(spk),
        "first": lambda: first_spike(spk),
        "current": lambda: accumulated_current(cur),
    }
    if decoding not in scores:
        raise ArgumentError(f"decoding {decoding!r} is unknown. {did_you_mean(decoding, scores)}")
    return scores[decoding]().argmax(1)
