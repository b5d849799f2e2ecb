"""Integer counts of spikes, and the ratios that metrics make of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from snnplug.errors import ArgumentError, MeasurementError
from snnplug.hardware.tally import tally


def count_spikes(spk: Tensor, keep: int = 0) -> Tensor:
    """Return how many values of ``spk`` are not zero, in int64, on its device.

    Args:
        spk: Outputs of neurons; a value other than 1 is one spike too, as in
            :func:`~snnplug.hardware.counting.measure`.
        keep: How many trailing axes keep counts of their own.

    Raises:
        ArgumentError: A value is NaN or infinite.

    Example:
        >>> count_spikes(torch.tensor([[0.0, 1.0], [1.0, 1.0]]), keep=1).tolist()
        [1, 2]
    """
    seen = tally(spk, keep)
    if not seen.is_binary and not bool(torch.isfinite(spk).all()):
        raise ArgumentError(
            "spikes hold NaN or infinite values; a metric takes the output of neurons"
        )
    return torch.as_tensor(seen.counts, dtype=torch.int64, device=spk.device)


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Return ``part / whole`` of two counts, in float64 where the device has it.

    Raises:
        MeasurementError: ``whole`` is 0.

    Example:
        >>> ratio(torch.tensor(1), torch.tensor(4))
        tensor(0.2500, dtype=torch.float64)
    """
    if not bool(whole):
        raise MeasurementError("0 values were counted; give the metric at least one batch")
    dtype = torch.float32 if part.device.type == "mps" else torch.float64
    return part.to(dtype) / whole


class SpikeRatio(Metric, ABC):
    """A ratio of two counts that each batch of spikes adds to.

    The counts are int64, so that a sum over batches or processes is exact: the value is that of one
    process that saw everything, to the last bit.
    """

    is_differentiable = False
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    part: Tensor
    whole: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        zero = torch.tensor(0, dtype=torch.int64)
        self.add_state("part", zero, dist_reduce_fx="sum")
        self.add_state("whole", zero.clone(), dist_reduce_fx="sum")

    @abstractmethod
    def counts(self, spk: Tensor) -> tuple[Tensor, int]:
        """Return what a batch adds to the two counts."""

    def update(self, spk: Tensor) -> None:
        """Add a batch."""
        part, whole = self.counts(spk)
        self.part += part
        self.whole += whole

    def compute(self) -> Tensor:
        """Return the ratio.

        Raises:
            MeasurementError: Nothing was counted.
        """
        return ratio(self.part, self.whole)


class NeuronShare(Metric, ABC):
    """The share of a layer's neurons of which something holds over everything seen.

    Keeps the spikes of each neuron in int64, so that a sum over batches or processes is exact.

    Args:
        shape: Shape of the layer: one sample at one step.
        **kwargs: Of torchmetrics' Metric.

    Raises:
        ArgumentError: The shape holds no neuron.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    spikes: Tensor
    presentations: Tensor

    def __init__(self, shape: int | tuple[int, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if not self.shape or min(self.shape) < 1:
            raise ArgumentError(f"shape is {shape}; give that of a layer of at least one neuron")
        zeros = torch.zeros(self.shape, dtype=torch.int64)
        self.add_state("spikes", zeros, dist_reduce_fx="sum")
        self.add_state("presentations", zeros.new_zeros(()), dist_reduce_fx="sum")

    def update(self, spk: Tensor) -> None:
        """Add a batch of spikes, of any leading axes before those of the layer.

        Raises:
            ArgumentError: The trailing axes are not those of the layer.
        """
        leading = spk.dim() - len(self.shape)
        if leading < 0 or tuple(spk.shape[leading:]) != self.shape:
            raise ArgumentError(
                f"spikes of shape {tuple(spk.shape)} do not end in that of the layer, {self.shape}"
            )
        self.spikes += count_spikes(spk, len(self.shape))
        self.presentations += spk.shape[:leading].numel()

    @abstractmethod
    def holds(self) -> Tensor:
        """Return for each neuron whether it is counted."""

    def compute(self) -> Tensor:
        """Return the share.

        Raises:
            MeasurementError: Nothing was counted.
        """
        if not bool(self.presentations):
            raise MeasurementError("0 steps were counted; give the metric at least one batch")
        counted = self.holds()
        return ratio(counted.sum(), torch.tensor(counted.numel()))
