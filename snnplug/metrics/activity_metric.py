"""Metrics of what a whole network did: their state is an activity."""

from __future__ import annotations

from abc import ABC
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from snnplug.hardware.activity import Activity

_NOTHING = Activity(0, ())


class ActivityMetric(Metric, ABC):
    """Adds up activities, over batches and over processes.

    The state is the sum of the activities as JSON text, a line for each process, so its counts are
    integers of any size, and what is computed from them does not depend on how the samples were
    shared among processes.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    plot_lower_bound = 0.0

    text: list[Tensor] | Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("text", [], dist_reduce_fx="cat")

    def update(self, activity: Activity) -> None:
        """Add what the network did, ``meter.activity()`` of :func:`snnplug.measure`.

        Raises:
            MeasurementError: It is of another network than what was added before.
        """
        self.text = [self._encoded(self.activity() + activity)]

    def activity(self) -> Activity:
        """Return the sum of all that was added."""
        if isinstance(self.text, list) and not self.text:
            return _NOTHING
        lines = bytes(dim_zero_cat(self.text).to(torch.uint8).tolist()).decode().splitlines()
        return sum(map(Activity.from_json, lines), _NOTHING)

    def _encoded(self, activity: Activity) -> Tensor:
        """Return the text, a byte per value, in the dtype that torchmetrics gathers."""
        characters = list(f"{activity.to_json()}\n".encode())
        return torch.tensor(characters, dtype=self.dtype, device=self.device)
