"""The linear maps of the spike-train rules: from trains to currents, and back."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_input, conv2d_weight

from snnplug.kernels.trains import SpikeTrains


class Synapses(Protocol):
    """Weights as a map of rows ``(R, inputs)`` to rows ``(R, outputs)``."""

    def apply(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the currents of rows ``x``."""

    def currents(self, trains: SpikeTrains, part: range, weight: Tensor) -> Tensor:
        """Return the currents of some steps of trains."""

    def back(self, y: Tensor, weight: Tensor) -> Tensor:
        """Return the transposed map of rows ``y (R, outputs)``."""

    def back_at_spikes(self, y: Tensor, trains: SpikeTrains, part: range, weight: Tensor) -> Tensor:
        """Return the sum of :meth:`back` over the spikes of each train in some steps."""

    def outer(self, y: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Return the gradient of the weight for rows ``y (R, outputs)`` and ``x (R, inputs)``."""

    def gradient(self, y: Tensor, trains: SpikeTrains, part: range, weight: Tensor) -> Tensor:
        """Return the same for some steps of trains."""


class Dense:
    """A weight ``(outputs, inputs)``."""

    def apply(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the currents of rows ``x``."""
        return x @ weight.t()

    def currents(self, trains: SpikeTrains, part: range, weight: Tensor) -> Tensor:
        """Return the currents of some steps of trains."""
        return trains.times(weight, part)

    def back(self, y: Tensor, weight: Tensor) -> Tensor:
        """Return the transposed map of rows ``y``."""
        return y @ weight

    def back_at_spikes(self, y: Tensor, trains: SpikeTrains, part: range, weight: Tensor) -> Tensor:
        """Return the sum of :meth:`back` over the spikes of each train in some steps."""
        return trains.product_at_spikes(y, weight, part)

    def outer(self, y: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Return the gradient of the weight for rows ``y`` and ``x``."""
        return y.t() @ x

    def gradient(self, y: Tensor, trains: SpikeTrains, part: range, weight: Tensor) -> Tensor:
        """Return the same for some steps of trains."""
        return trains.weight_gradient(y, part)


@dataclass(frozen=True)
class Convolution:
    """A weight ``(out_channels, in_channels, height, width)``.

    Attributes:
        in_shape: ``(in_channels, height, width)`` of the input.
        out_shape: Of the output.
        stride: Step of the kernel.
        padding: Zeros on each side.
    """

    in_shape: tuple[int, int, int]
    out_shape: tuple[int, int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    @property
    def inputs(self) -> int:
        """Input sites."""
        return prod(self.in_shape)

    def apply(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the currents of rows ``x``."""
        images = x.view(-1, *self.in_shape)
        return functional.conv2d(images, weight, None, self.stride, self.padding).flatten(1)

    def currents(self, trains: SpikeTrains, part: range, weight: Tensor) -> Tensor:
        """Return the currents of some steps of trains."""
        return self.apply(trains.rows(part), weight)

    def back(self, y: Tensor, weight: Tensor) -> Tensor:
        """Return the transposed map of rows ``y``."""
        shape, grad = (len(y), *self.in_shape), y.reshape(-1, *self.out_shape)
        images: Tensor = conv2d_input(  # type: ignore[no-untyped-call]
            shape, weight, grad, self.stride, self.padding
        )
        return images.flatten(1)

    def back_at_spikes(self, y: Tensor, trains: SpikeTrains, part: range, weight: Tensor) -> Tensor:
        """Return the sum of :meth:`back` over the spikes of each train in some steps."""
        return trains.sum_at_spikes(self.back(y, weight), part)

    def outer(self, y: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Return the gradient of the weight for rows ``y`` and ``x``."""
        images, grad = x.view(-1, *self.in_shape), y.reshape(-1, *self.out_shape)
        gradient: Tensor = conv2d_weight(  # type: ignore[no-untyped-call]
            images, weight.shape, grad, self.stride, self.padding
        )
        return gradient

    def gradient(self, y: Tensor, trains: SpikeTrains, part: range, weight: Tensor) -> Tensor:
        """Return the same for some steps of trains."""
        return self.outer(y, trains.rows(part), weight)


def ones_like_inputs(weight: Tensor, inputs: int) -> Tensor:
    """Return one row in which every input is 1."""
    return torch.ones(1, inputs, dtype=weight.dtype, device=weight.device)
