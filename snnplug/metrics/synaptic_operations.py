"""Synaptic operations, under NeuroBench's names, and per synapse."""

from __future__ import annotations

import torch
from torch import Tensor

from snnplug.hardware.activity import Activity
from snnplug.metrics.activity_metric import ActivityMetric


def synaptic_operations(activity: Activity) -> dict[str, Tensor]:
    """Return the synaptic operations per inference, under NeuroBench's names.

    Args:
        activity: What :func:`snnplug.measure` counted.

    Returns:
        ``Effective_ACs``: accumulations, of inputs that are spikes, on weights that are not 0;
        ``Effective_MACs``: multiplications of other inputs that are not 0, on such weights;
        ``Dense``: the operations of a machine that skips nothing.

    Shape:
        - output: three scalars, float64

    Raises:
        MeasurementError: The activity holds no sample.

    Hardware: the bill's ``synops`` hold those on weights of 0 as well.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from snnplug import measure
        >>> fc = nn.Linear(4, 3)
        >>> with measure(nn.Sequential(fc)) as meter, torch.no_grad():
        ...     _ = fc(torch.ones(1, 1, 4)), meter.add_samples(1)
        >>> synaptic_operations(meter.activity())["Effective_ACs"]
        tensor(12., dtype=torch.float64)

    Reference:
        J. Yik et al., "NeuroBench", Nature Communications 16, 2025: ``SynapticOperations``. It
        decides batch by batch whether a layer's inputs are spikes; we decide over all that was
        counted, so that the sum does not depend on the batches.
    """
    adding = [layer for layer in activity.synaptic if layer.operand.adds]
    multiplying = [layer for layer in activity.synaptic if not layer.operand.adds]
    counts = {
        "Effective_MACs": activity.per_sample(layer.nonzero_synops for layer in multiplying),
        "Effective_ACs": activity.per_sample(layer.nonzero_synops for layer in adding),
        "Dense": activity.per_sample(layer.dense_synops for layer in activity.synaptic),
    }
    return {name: torch.tensor(count, dtype=torch.float64) for name, count in counts.items()}


def spikes_per_synapse(activity: Activity) -> Tensor:
    """Return the synaptic operations per synapse and inference.

    Args:
        activity: What :func:`snnplug.measure` counted.

    Shape:
        - output: scalar, float64

    Raises:
        MeasurementError: The activity holds no sample.

    Hardware: the same count as ``activity/spikes_per_synapse``.

    Example:
        >>> from snnplug.hardware.activity import SynapticLayer
        >>> from snnplug.hardware.operand import BINARY
        >>> fc = SynapticLayer("fc", "Linear", 4, 3, 12, 12, 10, 20, 60, BINARY)
        >>> spikes_per_synapse(Activity(5, (fc,)))
        tensor(1., dtype=torch.float64)

    Reference:
        M. Dampfhoffer et al., "Are SNNs really more energy-efficient than ANNs?", IEEE TETCI, 2023.
    """
    synops = activity.synops  # an error when nothing was measured
    per_synapse = activity.spikes_per_synapse if synops else 0.0
    return torch.tensor(per_synapse, dtype=torch.float64)


class SynapticOperations(ActivityMetric):
    """Synaptic operations per inference; see :func:`synaptic_operations`.

    Shape:
        - update: an :class:`~snnplug.hardware.activity.Activity`

    Raises:
        MeasurementError: Nothing was added.

    Hardware: the bill's ``synops`` hold those on weights of 0 as well.

    Example:
        >>> from snnplug.hardware.activity import SynapticLayer
        >>> from snnplug.hardware.operand import BINARY
        >>> fc = SynapticLayer("fc", "Linear", 4, 3, 12, 12, 10, 20, 60, BINARY)
        >>> metric = SynapticOperations()
        >>> metric.update(Activity(5, (fc,)))
        >>> metric.compute()["Effective_ACs"]
        tensor(12., dtype=torch.float64)

    Reference:
        As :func:`synaptic_operations`.
    """

    def compute(self) -> dict[str, Tensor]:
        """Return them by NeuroBench's names."""
        return synaptic_operations(self.activity())


class SpikesPerSynapse(ActivityMetric):
    """Synaptic operations per synapse and inference; see :func:`spikes_per_synapse`.

    Shape:
        - update: an :class:`~snnplug.hardware.activity.Activity`

    Raises:
        MeasurementError: Nothing was added.

    Hardware: the same count as ``activity/spikes_per_synapse``.

    Example:
        >>> from snnplug.hardware.activity import SynapticLayer
        >>> from snnplug.hardware.operand import BINARY
        >>> fc = SynapticLayer("fc", "Linear", 4, 3, 12, 12, 10, 20, 60, BINARY)
        >>> metric = SpikesPerSynapse()
        >>> metric.update(Activity(5, (fc,)))
        >>> metric.compute()
        tensor(1., dtype=torch.float64)

    Reference:
        As :func:`spikes_per_synapse`.
    """

    def compute(self) -> Tensor:
        """Return it."""
        return spikes_per_synapse(self.activity())
