"""Weights of training samples that grow where the network is wrong."""

from __future__ import annotations

from math import isfinite
from typing import Any

import torch
from torch import Tensor

from snnplug.errors import ArgumentError


class SampleWeights:
    r"""One weight per training sample, raised after each epoch in which it was misclassified.

    .. math::
        w_m \leftarrow w_m\, e^{E_c / \text{scale}} \text{ for every misclassified } m
        \text{ of class } c, \qquad
        E_c = \frac{\sum_{m \in c,\ \text{misclassified}} w_m}{\sum_{m \in c} w_m}

    Then all are divided by their mean, so that the loss keeps its scale.

    Args:
        num_samples: Training samples.
        scale: The larger, the slower weights grow; the authors' 20 unless given.

    Raises:
        ArgumentError: There is no sample, or the scale is not above 0.

    Example:
        >>> weights = SampleWeights(4, scale=1.0)
        >>> decided = torch.tensor([0, 0, 0, 1])
        >>> weights.record(torch.arange(4), torch.zeros(4).long(), decided)
        >>> weights.end_epoch()
        >>> weights.values
        tensor([0.9337, 0.9337, 0.9337, 1.1989])

    Reference:
        Y. Jin, W. Zhang, P. Li, NeurIPS 2018, and W. Zhang, P. Li, NeurIPS 2019, whose programs
        multiply the error of a sample with such a weight. Deviation: the mean of the weights is 1.
    """

    def __init__(self, num_samples: int, scale: float = 20.0) -> None:
        if num_samples < 1 or not (scale > 0 and isfinite(scale)):
            raise ArgumentError(
                f"num_samples is {num_samples}, scale {scale}; they have to be at least 1 and "
                "above 0"
            )
        self.scale = scale
        #: The weights, ``(num_samples,)``.
        self.values = torch.ones(num_samples)
        self._classes = torch.full((num_samples,), _UNSEEN)
        self._is_wrong = torch.zeros(num_samples, dtype=torch.bool)

    def record(self, indices: Tensor, targets: Tensor, decided: Tensor) -> None:
        """Keep what was decided of a batch.

        Args:
            indices: Which samples, ``(B,)``.
            targets: Their classes, ``(B,)``.
            decided: What the network took them for, ``(B,)``.
        """
        self._classes[indices] = targets.cpu()
        self._is_wrong[indices] = (decided != targets).cpu()

    def end_epoch(self) -> None:
        """Raise the weights of the samples that were misclassified since the last call."""
        seen = self._classes != _UNSEEN
        if not bool(seen.any()):
            return
        classes = self._classes[seen]
        weights, lost = self.values[seen], self.values[seen] * self._is_wrong[seen]
        per_class = torch.zeros(2, int(classes.max()) + 1)
        per_class.index_add_(1, classes, torch.stack([lost, weights]))
        error = per_class[0] / per_class[1].clamp(min=torch.finfo(torch.float32).tiny)
        grown = weights * torch.exp(error[classes] / self.scale * self._is_wrong[seen])
        self.values[seen] = grown
        self.values /= self.values.mean()
        self._classes.fill_(_UNSEEN)


_UNSEEN = -1


def weighted(out: Tensor, weights: Tensor) -> Tensor:
    """Return outputs as they are; backward, each sample's gradient is multiplied by its weight.

    Args:
        out: ``(T, B, *)``.
        weights: ``(B,)``.

    Example:
        >>> out = torch.zeros(2, 3, requires_grad=True)
        >>> weighted(out, torch.tensor([1.0, 2.0, 0.0])).sum().backward()
        >>> out.grad
        tensor([[1., 2., 0.],
                [1., 2., 0.]])
    """
    same: Tensor = _Weighted.apply(out, weights)  # type: ignore[no-untyped-call]
    return same


class _Weighted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, out: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(weights)
        return out.view_as(out)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (weights,) = ctx.saved_tensors
        factor = weights.to(grad).view(-1, *[1] * (grad.dim() - 2))
        if grad.stride(0) == 0:  # of a loss of counts: the same at every step
            return (grad[0] * factor).expand(grad.shape), None
        return grad * factor, None
