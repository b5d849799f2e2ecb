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

    for a loss that is the mean over the samples of a batch, as torch's and ours are. It is called
    once for each of the two, or, where torch cannot vectorise it, once for each sample and class.

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
    own, other = (_each(loss, out, targets, *lengths) for targets in (mixed.targets, mixed.others))
    weights = mixed.weights.to(own)
    return (weights * own + (1.0 - weights) * other).mean()


def _each(loss: Loss, out: Tensor, targets: Tensor, *lengths: Tensor) -> Tensor:
    if not lengths:
        return losses_alone(loss, out, targets)
    parts = list(same_length(out, lengths[0]))
    order = torch.cat([where for where, _ in parts])
    losses = torch.cat([losses_alone(loss, part, targets[where]) for where, part in parts])
    return losses[order.argsort()]


def losses_alone(loss: Loss, out: Tensor, targets: Tensor) -> Tensor:
    """Return the loss that each sample has alone, in one call where torch can vectorise it.

    Args:
        loss: Of outputs ``(T, B, C)`` and targets ``(B,)``.
        out: Outputs ``(T, B, C)``.
        targets: Classes, ``(B,)``.

    Returns:
        ``(B,)``.

    Example:
        >>> losses_alone(lambda out, targets: out.mean(), torch.ones(3, 2, 4), torch.tensor([0, 1]))
        tensor([1., 1.])
    """

    def alone(sample: Tensor, target: Tensor) -> Tensor:
        # Some of snnTorch's losses have a shape of (1,).
        return loss(sample.unsqueeze(1), target.unsqueeze(0)).reshape(())

    try:
        found: Tensor = torch.vmap(alone, (1, 0))(out, targets)
    # What torch raises where a loss looks at values, or draws. One that is wrong raises it again.
    except (RuntimeError, ValueError):
        pairs = zip(out.unbind(1), targets.unbind(0), strict=True)
        found = torch.stack([alone(*pair) for pair in pairs])
    return found


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
