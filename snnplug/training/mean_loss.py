"""The mean loss of an epoch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from snnplug.errors import MeasurementError


class MeanLoss(Metric):
    """Mean of the losses of batches, each weighed by its samples, over all processes.

    Lightning's own mean truncates the number of samples per process to an integer: with 159 samples
    in two processes it gives a loss that is 0.6 % too large.

    Shape:
        - update: the mean loss of a batch, a scalar, and its number of samples

    Raises:
        MeasurementError: There was no sample.

    Example:
        >>> mean = MeanLoss()
        >>> mean.update(torch.tensor(1.0), 3)
        >>> mean.update(torch.tensor(2.0), 1)
        >>> mean.compute()
        tensor(1.2500)
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    total: Tensor
    samples: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("samples", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, loss: Tensor, samples: int) -> None:
        """Add a batch."""
        self.total = self.total + loss.detach() * samples
        self.samples += samples

    def compute(self) -> Tensor:
        """Return the mean."""
        if not bool(self.samples):
            raise MeasurementError("0 samples have a loss; give it at least one batch")
        return self.total / self.samples
