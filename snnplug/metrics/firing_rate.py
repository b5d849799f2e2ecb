"""How often neurons spike, and how often they do not."""

from __future__ import annotations

import torch
from torch import Tensor

from snnplug.metrics.counts import SpikeRatio, count_spikes, ratio


def firing_rate(spk: Tensor) -> Tensor:
    r"""Return the spikes per neuron and time step.

    .. math::
        r = \frac{\#\{S \neq 0\}}{T \cdot B \cdot N}

    Args:
        spk: Output of neurons.

    Shape:
        - spk: any, such as ``(T, B, *)``
        - output: scalar, in [0, 1]

    Raises:
        ArgumentError: A value is NaN or infinite.
        MeasurementError: ``spk`` is empty.

    Hardware: the same count as ``activity/firing_rate/<layer>``.

    Example:
        >>> firing_rate(torch.tensor([[[0.0, 1.0]], [[0.0, 0.0]]]))
        tensor(0.2500, dtype=torch.float64)

    Reference:
        The complement of NeuroBench's activation sparsity.
    """
    return ratio(count_spikes(spk), torch.tensor(spk.numel()))


def activation_sparsity(spk: Tensor) -> Tensor:
    r"""Return the share of outputs that are zero, :math:`1 - r` of :func:`firing_rate`.

    Args:
        spk: Output of neurons.

    Shape:
        - spk: any, such as ``(T, B, *)``
        - output: scalar, in [0, 1]

    Raises:
        ArgumentError: A value is NaN or infinite.
        MeasurementError: ``spk`` is empty.

    Hardware: the neurons that send nothing; what that saves depends on the target.

    Example:
        >>> activation_sparsity(torch.tensor([[[0.0, 1.0]], [[0.0, 0.0]]]))
        tensor(0.7500, dtype=torch.float64)

    Reference:
        J. Yik et al., "NeuroBench", Nature Communications 16, 2025: ``ActivationSparsity``.
    """
    return ratio(spk.numel() - count_spikes(spk), torch.tensor(spk.numel()))


class FiringRate(SpikeRatio):
    """Spikes per neuron and time step, over all that was seen.

    See :func:`firing_rate`.

    Shape:
        - update: any, such as ``(T, B, *)``; layers of different shapes may be added together

    Hardware: the same count as ``activity/firing_rate/<layer>``.

    Example:
        >>> metric = FiringRate()
        >>> metric.update(torch.tensor([[[0.0, 1.0]], [[0.0, 0.0]]]))
        >>> metric.update(torch.zeros(2, 1, 2))
        >>> metric.compute()
        tensor(0.1250, dtype=torch.float64)

    Reference:
        As :func:`firing_rate`.
    """

    def counts(self, spk: Tensor) -> tuple[Tensor, int]:
        """Return spikes and outputs of a batch."""
        return count_spikes(spk), spk.numel()


class ActivationSparsity(SpikeRatio):
    """Share of outputs that are zero, over all layers, steps and samples that were given.

    See :func:`activation_sparsity`.

    Shape:
        - update: any, such as ``(T, B, *)``; layers of different shapes may be added together

    Hardware: the neurons that send nothing; what that saves depends on the target.

    Example:
        >>> metric = ActivationSparsity()
        >>> metric.update(torch.tensor([[[0.0, 1.0]], [[0.0, 0.0]]]))
        >>> metric.compute()
        tensor(0.7500, dtype=torch.float64)

    Reference:
        As :func:`activation_sparsity`.
    """

    higher_is_better = True

    def counts(self, spk: Tensor) -> tuple[Tensor, int]:
        """Return silent and all outputs of a batch."""
        return spk.numel() - count_spikes(spk), spk.numel()
