"""Several output neurons for each class."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from snnplug.errors import ArgumentError


class PopulationReadout(nn.Module):
    r"""Sum the spikes of the neurons of each class: a population code at the output.

    .. math:: n_c[t] = \sum_{j=0}^{p-1} s_{cp + j}[t]

    The :math:`p` neurons of a class lie side by side, as in snnTorch's losses with
    ``population_code=True``. More neurons count to as much in fewer time steps, down to one.
    Backward: each neuron of a class gets the gradient of the class.

    Args:
        num_classes: Classes :math:`C`.
        per_class: Neurons per class :math:`p`.
        reduce: ``"sum"``, or ``"mean"`` for the share of the neurons that spike.

    Shape:
        - input: spikes ``(*, C * p)``; output: ``(*, C)``, in float32 from half precision, in which
          counts stop at 256 or 2048

    Raises:
        ArgumentError: A size is below 1, ``reduce`` is another word, or the input does not have
            ``C * p`` columns.

    Hardware: ``p - 1`` additions per class and step, and for the mean a multiplication. There
    is no weight.

    Example:
        >>> PopulationReadout(2, per_class=3)(torch.tensor([[1.0, 1.0, 0.0, 0.0, 0.0, 1.0]]))
        tensor([[2., 1.]])

    Reference:
        S. Sun, J. K. Eshraghian et al., "Intelligence Processing Units Accelerate Neuromorphic
        Learning", arXiv:2211.10725. Deviations: time is left to the loss, so that any of them and
        any decoding takes its output; ``reduce="mean"`` is free.
    """

    def __init__(
        self, num_classes: int, per_class: int, reduce: Literal["sum", "mean"] = "sum"
    ) -> None:
        super().__init__()
        for name, value in (("num_classes", num_classes), ("per_class", per_class)):
            if value < 1:
                raise ArgumentError(f"{name} is {value}; give 1 or more")
        if reduce not in ("sum", "mean"):
            raise ArgumentError(f"reduce is {reduce!r}; it takes 'sum' or 'mean'")
        self.num_classes = num_classes
        self.per_class = per_class
        self.reduce = reduce

    def forward(self, spk: Tensor) -> Tensor:
        """Return one value per class."""
        wanted = self.num_classes * self.per_class
        if spk.dim() == 0 or spk.shape[-1] != wanted:
            raise ArgumentError(
                f"spikes of shape {tuple(spk.shape)}; PopulationReadout takes (*, {wanted}): "
                f"{self.per_class} neurons for each of {self.num_classes} classes, side by side"
            )
        if spk.dtype in (torch.float16, torch.bfloat16):
            spk = spk.float()
        summed = spk.reshape(*spk.shape[:-1], self.num_classes, self.per_class).sum(-1)
        return summed if self.reduce == "sum" else summed / self.per_class

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"{self.num_classes}, per_class={self.per_class}, reduce={self.reduce!r}"
