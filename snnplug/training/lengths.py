"""Sequences of different length in one batch: none sees the steps that only pad it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from snnplug.errors import ArgumentError
from snnplug.mixed import Mixed

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


def loss_over_mixtures(loss: Loss, out: Tensor, mixed: Mixed, *lengths: Tensor) -> Tensor:
    r"""Return the mean of what the samples' two classes cost, weighed as they are mixed.

    .. math::
        L = \frac{1}{B} \sum_b \lambda_b\, \ell(o_b, y_b) + (1 - \lambda_b)\, \ell(o_b, z_b)

    for a loss that is the mean over the samples of a batch, as torch's and ours are.

    Args:
        loss: :math:`\ell`, of outputs ``(T, B, C)`` and targets ``(B,)``.
        out: Outputs ``(T, B, C)``.
        mixed: Both classes :math:`y, z` and the weight :math:`\lambda` of the first.
        lengths: Steps of each sample, ``(B,)``, where they differ.

    Example:
        >>> two = Mixed(torch.tensor([0]), torch.tensor([1]), torch.tensor([0.75]))
        >>> loss_over_mixtures(lambda out, y: 4.0 * y.float().mean(), torch.zeros(3, 1, 2), two)
        tensor(1.)
    """

    def of(where: Tensor, targets: Tensor) -> Tensor:
        part = out[:, where]
        if lengths:
            return loss_over_lengths(loss, part, targets[where], lengths[0][where])
        return loss(part, targets[where])

    total = torch.zeros((), device=out.device)
    for weight in sorted(set(mixed.weights.tolist())):
        where = (mixed.weights == weight).nonzero().flatten()
        own = weight * of(where, mixed.targets)
        both = own + (1.0 - weight) * of(where, mixed.others) if weight < 1.0 else own
        total = total + both * (len(where) / len(mixed.weights))
    return total


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
