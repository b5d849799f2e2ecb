"""Neurons that never spike."""

from __future__ import annotations

from torch import Tensor

from snnplug.metrics.counts import NeuronShare


def dead_neurons(spk: Tensor) -> Tensor:
    """Return the share of neurons that spike in no sample and at no step.

    Args:
        spk: Output of a layer of neurons.

    Shape:
        - spk: ``(T, B, *)``
        - output: scalar, in [0, 1]

    Raises:
        ArgumentError: ``spk`` has no axis of neurons, or a value is NaN or infinite.
        MeasurementError: ``spk`` holds no step.

    Hardware: their membranes are kept and scanned all the same.

    Example:
        >>> import torch
        >>> dead_neurons(torch.tensor([[[0.0, 1.0]], [[0.0, 0.0]]]))
        tensor(0.5000, dtype=torch.float64)

    Reference:
        None; the usual definition.
    """
    metric = DeadNeurons(tuple(spk.shape[2:])).to(spk.device)
    metric.update(spk)
    return metric.compute()


class DeadNeurons(NeuronShare):
    """Share of a layer's neurons that never spiked in all that was seen.

    See :func:`dead_neurons`.

    Args:
        shape: Shape of the layer: one sample at one step.

    Shape:
        - update: any leading axes, then ``shape``: ``(T, B, *)``, or ``(B, *)`` step by step

    Raises:
        ArgumentError: The shape holds no neuron.

    Hardware: their membranes are kept and scanned all the same.

    Example:
        >>> import torch
        >>> metric = DeadNeurons(2)
        >>> metric.update(torch.tensor([[[0.0, 1.0]], [[0.0, 0.0]]]))
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)

    Reference:
        As :func:`dead_neurons`.
    """

    def holds(self) -> Tensor:
        """Return which neurons have not spiked."""
        return self.spikes == 0
