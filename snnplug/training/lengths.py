"""Sequences of different length in one batch: none sees the steps that only pad it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from snnplug.errors import ArgumentError

Loss = Callable[[Tensor, Tensor], Tensor]


def same_length(samples: Tensor, lengths: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the places of the samples of one length, and those samples without padding.

    Args:
        samples: ``(T, B, *)``.
        lengths: Steps of each sample, ``(B,)`` of integers in 1 … T.

    Yields:
        Places ``(N,)`` and samples ``(length, N, *)``, for each length once, in ascending order.

    Raises:
        ArgumentError: The lengths do not go with the samples.

    Example:
        >>> frames = torch.zeros(5, 3, 64)
        >>> [(w.tolist(), tuple(s.shape)) for w, s in same_length(frames, torch.tensor([5, 2, 5]))]
        [([1], (2, 1, 64)), ([0, 2], (5, 2, 64))]
    """
    _check(samples, lengths)
    for length in sorted(set(lengths.tolist())):
        where = (lengths == length).nonzero().flatten().to(samples.device)
        yield where, samples[:length, where]


def loss_over_lengths(loss: Loss, out: Tensor, targets: Tensor, lengths: Tensor) -> Tensor:
    r"""Return the mean of the losses that the samples have alone, each over its own steps.

    .. math::
        L = \frac{1}{B} \sum_b \ell\bigl(o_b[0 \dots n_b - 1],\ y_b\bigr)

    for a loss that is the mean over the samples of a batch, as torch's and ours are unless told
    otherwise.

    Args:
        loss: :math:`\ell`, of outputs ``(T, B, C)`` and targets ``(B,)``.
        out: Outputs ``(T, B, C)``.
        targets: Classes, ``(B,)``.
        lengths: Steps :math:`n_b` of each sample, ``(B,)``.

    Raises:
        ArgumentError: The lengths do not go with the outputs.

    Example:
        >>> spk = torch.tensor([[[0.0, 0.0]], [[9.0, 9.0]]])      # the second step is padding
        >>> mean = lambda out, targets: out.mean()
        >>> loss_over_lengths(mean, spk, torch.tensor([0]), torch.tensor([1])).item()
        0.0
    """
    parts = [
        loss(part, targets[where]) * (len(where) / len(targets))
        for where, part in same_length(out, lengths)
    ]
    return torch.stack(parts).sum()


def silenced(out: Tensor, lengths: Tensor) -> Tensor:
    """Return outputs ``(T, B, C)`` with zeros from the end of each sample on."""
    _check(out, lengths)
    step = torch.arange(len(out), device=out.device)[:, None]
    heard = step < lengths.to(out.device)
    return out.masked_fill(~heard[..., None], 0.0)


def _check(samples: Tensor, lengths: Tensor) -> None:
    if (
        samples.dim() < 2
        or lengths.shape != samples.shape[1:2]
        or not bool(((lengths >= 1) & (lengths <= len(samples))).all())
    ):
        raise ArgumentError(
            f"lengths are {lengths.tolist()} for samples of shape {tuple(samples.shape)}; they "
            f"have to be one for each sample, (B,), in 1 … {len(samples)}"
        )
