"""Neurons that always spike."""

from __future__ import annotations

from torch import Tensor

from snnplug.metrics.counts import NeuronShare


def saturated_neurons(spk: Tensor) -> Tensor:
    """Return the share of neurons that spike in every sample at every step.

    Such a neuron says nothing, and costs its whole fan-out at every step.

    Args:
        spk: Output of a layer of neurons.

    Shape:
        - spk: ``(T, B, *)``
        - output: scalar, in [0, 1]

    Raises:
        ArgumentError: ``spk`` has no axis of neurons, or a value is NaN or infinite.
        MeasurementError: ``spk`` holds no step.

    Hardware: each spike is counted as any other.

    Example:
        >>> import torch
        >>> saturated_neurons(torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]]]))
        tensor(0.5000, dtype=torch.float64)

    Reference:
        None; the usual definition.
    """
    metric = SaturatedNeurons(tuple(spk.shape[2:])).to(spk.device)
    metric.update(spk)
    return metric.compute()


class SaturatedNeurons(NeuronShare):
    """Share of a layer's neurons that spiked whenever they were looked at.

    See :func:`saturated_neurons`.

    Args:
        shape: Shape of the layer: one sample at one step.

    Shape:
        - update: any leading axes, then ``shape``: ``(T, B, *)``, or ``(B, *)`` step by step

    Raises:
        ArgumentError: The shape holds no neuron.

    Hardware: each spike is counted as any other.

    Example:
        >>> import torch
        >>> metric = SaturatedNeurons(2)
        >>> metric.update(torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]]]))
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)

    Reference:
        As :func:`saturated_neurons`.
    """

    def holds(self) -> Tensor:
        """Return which neurons have spiked every time."""
        return self.spikes == self.presentations
