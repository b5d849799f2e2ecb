"""The gradient that keeps the weights of the spike-train rules small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from snnplug.errors import ArgumentError


@dataclass(frozen=True)
class WeightPenalty:
    r"""What is added to the gradient of every weight of a layer, once per step.

    .. math::
        \lambda \beta\, \frac{w_{ij}}{w_\text{lim}}
        \exp\Bigl(\beta \bigl(\operatorname{mean}_j (w_{ij} / w_\text{lim})^2 - 1\bigr)\Bigr)

    It is the gradient of :math:`\frac{1}{2} \lambda\, n\, w_\text{lim} \sum_i \exp(\ldots)` for
    :math:`n` inputs of a neuron.

    Attributes:
        strength: :math:`\lambda`.
        slope: :math:`\beta`; 0.04 for MNIST and 0.01 for N-MNIST.
        limit: :math:`w_\text{lim}`.

    Raises:
        ArgumentError: A value is negative, or the limit 0.

    Example:
        >>> WeightPenalty().gradient(torch.tensor([[8.0, 8.0]]))
        tensor([[0.4000, 0.4000]])

    Reference:
        Y. Jin, W. Zhang, P. Li, NeurIPS 2018. They add it for every sample, at a batch of one; a
        loss that is a mean over the batch keeps their proportion of the two.
    """

    strength: float = 10.0
    slope: float = 0.04
    limit: float = 8.0

    def __post_init__(self) -> None:
        if not (self.strength >= 0 and self.slope >= 0 and self.limit > 0):
            raise ArgumentError(
                f"strength is {self.strength}, slope {self.slope}, limit {self.limit}; none may be "
                "negative, and the limit has to be above 0"
            )

    def gradient(self, weight: Tensor) -> Tensor:
        """Return it for weights of ``(outputs, *)``."""
        part = weight / self.limit
        mean = part.square().flatten(1).mean(1).view(-1, *[1] * (weight.dim() - 1))
        return self.strength * self.slope * part * torch.exp(self.slope * (mean - 1))


def penalised(weight: Tensor, penalty: WeightPenalty | None) -> Tensor:
    """Return the weights as they are; backward, the penalty is added to their gradient."""
    if penalty is None:
        return weight
    same: Tensor = _Penalised.apply(weight, penalty)  # type: ignore[no-untyped-call]
    return same


class _Penalised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, penalty: WeightPenalty) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.penalty = penalty
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        return grad + ctx.penalty.gradient(weight), None
