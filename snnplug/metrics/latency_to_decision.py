"""How many steps a network needs until it has decided."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from snnplug.errors import ArgumentError, did_you_mean
from snnplug.metrics.counts import ratio

Evidence = Literal["count", "first", "current"]
_EVIDENCE = ("count", "first", "current")


def latency_to_decision(out: Tensor, decoding: Evidence = "count") -> Tensor:
    r"""Return for each sample the step from which on its decision is the final one.

    With :math:`d_t` the decision by what has come out up to step :math:`t`,

    .. math::
        \min \{ t : d_s = d_T \;\text{for all}\; s \ge t \},

    counted from 1. Before the first output spike there is no decision. A sample without any takes
    all :math:`T` steps.

    Args:
        out: Output spikes, or for ``"current"`` the currents that drive the output neurons.
        decoding: ``"count"``: the most spikes so far; ``"first"``: the first spike; ``"current"``:
            the most current so far. The lowest class wins a tie, as in
            :func:`~snnplug.training.decoding.decode`.

    Shape:
        - out: ``(T, B, C)``
        - output: ``(B,)``, int64, in :math:`\{1, \dots, T\}`

    Raises:
        ArgumentError: The shape is another one or has no step, or the decoding is unknown.

    Hardware: a machine that may stop early stops there at best; no target prices it.

    Example:
        >>> spk = torch.tensor([[[0.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 1.0]]])
        >>> latency_to_decision(spk).tolist(), latency_to_decision(spk, "first").tolist()
        ([4], [2])

    Reference:
        None; the usual definition.
    """
    if decoding not in _EVIDENCE:
        raise ArgumentError(
            f"decoding {decoding!r} is unknown. {did_you_mean(decoding, _EVIDENCE)}"
        )
    if out.dim() != 3 or out.shape[0] == 0 or out.shape[2] == 0:
        raise ArgumentError(f"outputs of shape {tuple(out.shape)}; give (T, B, C), T >= 1, C >= 1")
    so_far = out.detach().cumsum(0)
    settled = torch.ones(out.shape[:2], dtype=torch.bool, device=out.device)
    if decoding != "first":
        decided = so_far.argmax(-1)
        settled = (decided == decided[-1]).flip(0).to(torch.int8).cummin(0).values.flip(0).bool()
    if decoding != "current":
        settled &= (so_far > 0).any(-1)
    steps = len(out)
    return (steps + 1 - settled.sum(0)).clamp(max=steps)


class LatencyToDecision(Metric):
    """Mean number of steps after which the decision is the final one.

    See :func:`latency_to_decision`. The sum of the steps is kept in int64, so that it is exact over
    batches and processes.

    Args:
        decoding: ``"count"``, ``"first"`` or ``"current"``.
        **kwargs: Of torchmetrics' Metric.

    Shape:
        - update: ``(T, B, C)``

    Raises:
        ArgumentError: The decoding is unknown.

    Hardware: a machine that may stop early stops there at best; no target prices it.

    Example:
        >>> metric = LatencyToDecision()
        >>> metric.update(torch.tensor([[[0.0, 0.0]], [[1.0, 0.0]], [[1.0, 1.0]]]))
        >>> metric.compute()
        tensor(2., dtype=torch.float64)

    Reference:
        As :func:`latency_to_decision`.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    plot_lower_bound = 0.0

    steps: Tensor
    samples: Tensor

    def __init__(self, decoding: Evidence = "count", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if decoding not in _EVIDENCE:
            raise ArgumentError(
                f"decoding {decoding!r} is unknown. {did_you_mean(decoding, _EVIDENCE)}"
            )
        self.decoding: Evidence = decoding
        zero = torch.tensor(0, dtype=torch.int64)
        self.add_state("steps", zero, dist_reduce_fx="sum")
        self.add_state("samples", zero.clone(), dist_reduce_fx="sum")

    def update(self, out: Tensor) -> None:
        """Add a batch of outputs ``(T, B, C)``."""
        self.steps += latency_to_decision(out, self.decoding).sum()
        self.samples += out.shape[1]

    def compute(self) -> Tensor:
        """Return the mean, in steps.

        Raises:
            MeasurementError: Nothing was counted.
        """
        return ratio(self.steps, self.samples)
