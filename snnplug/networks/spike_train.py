"""Networks of the spike-train rules: fully connected, recurrent or convolutional."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import nn

from snnplug.errors import ArgumentError
from snnplug.layers.sequential import SpikingSequential
from snnplug.learning.rules import Rule, RuleName
from snnplug.learning.spike_train_conv2d import SpikeTrainConv2d, SpikeTrainPool2d
from snnplug.learning.spike_train_layer import SpikeTrainLayer
from snnplug.learning.spike_train_linear import SpikeTrainLinear
from snnplug.learning.spike_train_recurrent import SpikeTrainRecurrent
from snnplug.learning.weight_penalty import WeightPenalty


class SpikeTrainSNN(SpikingSequential):
    r"""Layers that learn by HM2-BP or ST-RSBP, one output neuron per class.

    Convolutions, each with average pooling over 2x2 behind it, then fully connected layers, of
    which some may be recurrent, then the output neurons, which inhibit each other.

    Args:
        in_shape: Shape of one frame, such as ``(1, 28, 28)``.
        num_classes: Output neurons.
        thresholds: Of each layer in turn, the output neurons last.
        hidden: Neurons of each fully connected layer.
        recurrent: Which of these hear each other: 0 for the first, and so on.
        channels: Output channels of each convolution.
        kernel_size: Height and width of every kernel; the convolutions are not padded.
        rule: ``"hm2bp"``, ``"st_rsbp"``, or one of these rules with other constants.
        tau_mem_steps: Time constant of the membrane, in time steps.
        tau_syn_steps: Time constant of the synaptic current, in time steps.
        refractory_steps: Steps after a spike in which the membrane stays at 0.
        inhibition: What a spike of an output neuron takes from the others' current.
        revived_spikes: Of the regular train that stands in, backward, for a silent output neuron
            that should fire; as many as the loss wants.
        init_ranges: Weights of each layer begin uniform from minus to plus this; the authors' 0.5
            for convolutions and 1 for all others unless given.
        weight_penalty: Added to the gradients of all weights.
        recurrent_init_range: Of the weights between the neurons of recurrent layers; that of the
            layer unless given.

    Shape:
        - input: frames ``(T, B, *in_shape)``
        - output: spikes of the output neurons, ``(T, B, num_classes)``

    Raises:
        ArgumentError: Thresholds or ranges are not one per layer, or a recurrent layer is named
            that is not there.

    Hardware: each layer as its class says; pooled values cost multiplications.

    Example:
        >>> import torch
        >>> net = SpikeTrainSNN((1, 8, 8), 10, thresholds=(2.0, 4.0), hidden=(32,))
        >>> net((torch.rand(20, 3, 1, 8, 8) < 0.2).float()).shape
        torch.Size([20, 3, 10])

    Reference:
        Y. Jin, W. Zhang, P. Li, NeurIPS 2018: 784-800-10 with thresholds 20 and 8, and
        15c5-p2-40c5-p2-300-10; W. Zhang, P. Li, NeurIPS 2019: 64-250-R250-11. Deviation: their
        pooling layers have neurons of their own.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_classes: int,
        thresholds: Sequence[float],
        hidden: Sequence[int] = (),
        recurrent: Sequence[int] = (),
        channels: Sequence[int] = (),
        kernel_size: int = 5,
        rule: RuleName | Rule = "hm2bp",
        tau_mem_steps: float = 64.0,
        tau_syn_steps: float = 8.0,
        refractory_steps: int = 2,
        inhibition: float = 1.0,
        revived_spikes: int = 35,
        init_ranges: Sequence[float] | None = None,
        weight_penalty: WeightPenalty | None = None,
        recurrent_init_range: float | None = None,
    ) -> None:
        count = len(channels) + len(hidden) + 1
        ranges = [0.5] * len(channels) + [1.0] * (len(hidden) + 1)
        ranges = ranges if init_ranges is None else list(init_ranges)
        if len(thresholds) != count or len(ranges) != count:
            raise ArgumentError(
                f"{len(thresholds)} thresholds and {len(ranges)} init_ranges for {count} layers "
                "with neurons; give one of each per layer, the output layer last"
            )
        if not set(recurrent) <= set(range(len(hidden))):
            raise ArgumentError(
                f"recurrent is {tuple(recurrent)}; the hidden layers are 0 to {len(hidden) - 1}"
            )
        same: dict[str, Any] = {
            "rule": rule,
            "tau_mem_steps": tau_mem_steps,
            "tau_syn_steps": tau_syn_steps,
            "refractory_steps": refractory_steps,
        }
        values = zip(thresholds, ranges, strict=True)
        own = iter([{**same, "threshold": t, "init_range": r} for t, r in values])
        layers: list[nn.Module] = []
        shape = tuple(in_shape)
        for plane in channels:
            layers += [SpikeTrainConv2d(shape[0], plane, kernel_size, **next(own))]
            layers += [SpikeTrainPool2d(2)]
            shape = (plane, *((n - kernel_size + 1) // 2 for n in shape[1:]))
        width = prod(shape)
        for k, size in enumerate(hidden):
            if k in recurrent:
                how = {**next(own), "recurrent_init_range": recurrent_init_range}
                layers.append(SpikeTrainRecurrent(width, size, **how))
            else:
                layers.append(SpikeTrainLinear(width, size, **next(own)))
            width = size
        last: dict[str, Any] = {"inhibition": inhibition, "revived_spikes": revived_spikes}
        layers.append(SpikeTrainLinear(width, num_classes, **next(own), **last))
        super().__init__(*layers)
        for layer in self:
            if isinstance(layer, SpikeTrainLayer):
                layer.weight_penalty = weight_penalty
