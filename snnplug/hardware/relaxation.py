"""The gradients of spike counts: what each value adds to the counts of its layer."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

from snnplug.hardware.fan_out import Counts
from snnplug.hardware.tally import Tally


class Relaxation:
    r"""Keeps, for the layers that a pass went through, tensors that carry the counts' gradients.

    A value :math:`x_i` counts as one event if it is not zero, and as :math:`f_i` synaptic
    operations if it reaches :math:`f_i` outputs. The gradient is that of

    .. math::
        n = \sum_i |x_i| / s, \qquad S = \sum_i f_i |x_i| / s

    where :math:`s`, the mean of :math:`|x_i|` over the events, is held fast: 1 for spikes, so that
    :math:`n` and :math:`S` are the counts themselves; the scale for spikes that dropout has scaled.
    A silent spike has a gradient like any other, through the spike function that it comes from.
    The tensors hold zeros: they are added to exact counts.
    """

    def __init__(self) -> None:
        #: By name of a layer, what its events and its fan-out weighted events depend on.
        self.events: dict[str, list[Tensor]] = defaultdict(list)
        self.weighted: dict[str, list[Tensor]] = defaultdict(list)

    def add(self, name: str, x: Tensor, seen: Tally, fan_out: Counts | None = None) -> None:
        """Take in what one call of a layer saw.

        Args:
            name: The layer.
            x: The values, of which ``seen`` is the tally.
            seen: Tells spikes from other values.
            fan_out: Outputs that each value of the last axes reaches; None if nobody asks.
        """
        if not (torch.is_grad_enabled() and x.requires_grad):
            return
        weight = None
        if fan_out is not None:
            weight = torch.from_numpy(fan_out.copy()).to(x.device, x.dtype)
        events, weighted = _Ghost.apply(x, weight, seen.spike)  # type: ignore[no-untyped-call]
        self.events[name].append(events)
        if fan_out is not None:
            self.weighted[name].append(weighted)


class _Ghost(torch.autograd.Function):
    """Two zeros whose gradients are those of a tensor's events, plain and weighted."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, spike: float | None
    ) -> tuple[Tensor, Tensor]:
        ctx.shape, ctx.weight, ctx.sign = x.shape, weight, None
        if spike is not None:
            ctx.sign = None if spike == 1 else 1 / spike
        else:
            size = x.abs().sum() / x.count_nonzero().clamp(min=1)
            # An output that only rises from 0 has the slope 1 there, as a spike has.
            sign = x.sign() if bool((x < 0).any()) else torch.ones((), dtype=x.dtype)
            ctx.sign = sign / torch.where(size > 0, size, 1)
        return x.new_zeros(()), x.new_zeros(())

    @staticmethod
    def backward(ctx: Any, events: Tensor, weighted: Tensor) -> tuple[Tensor, None, None]:
        gradient = events if ctx.weight is None else events + weighted * ctx.weight
        if ctx.sign is not None:
            gradient = gradient * ctx.sign
        return gradient.expand(ctx.shape), None, None
