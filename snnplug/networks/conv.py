"""Convolutional spiking network with a spiking readout."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from snnplug.layers.sequential import SpikingSequential
from snnplug.layers.spike_conv2d import SpikeConv2d
from snnplug.layers.spike_linear import SpikeLinear
from snnplug.networks.base import NeuronName, SpikingNetwork, make_neuron


class ConvSNN(SpikingNetwork):
    r"""Convolutions and pooling, then one output neuron per class.

    Each block is ``Conv2d → MaxPool2d(2) → neuron → Dropout``: the largest current of a pool
    drives its neuron. Then optional hidden layers and the readout as in
    :class:`~snnplug.networks.dense.DenseSNN`.

    Args:
        in_shape: Shape of one frame, ``(channels, height, width)``.
        num_classes: Output neurons.
        channels: Output channels of each convolution.
        hidden: Neurons of the fully connected layers after the convolutions.
        kernel_size: Height and width of every kernel; the convolutions are not padded.
        neuron: ``"discontinuous"`` (SNN-DC) or ``"continuous"`` (SNN-CT).
        dropout_input: Share of input spikes dropped in training.
        dropout_hidden: Share of hidden spikes dropped in training.

    Shape:
        - input: frames ``(T, B, *in_shape)``
        - output: spikes and currents of the output neurons, each ``(T, B, num_classes)``

    Hardware: convolutions are counted with their exact borders; pooling compares currents.

    Example:
        >>> import torch
        >>> net = ConvSNN((2, 34, 34), 10)
        >>> spk, cur = net(torch.zeros(4, 2, 2, 34, 34))
        >>> spk.shape
        torch.Size([4, 2, 10])

    Reference:
        S. Yin et al., BioCAS 2017: 12c5-mp2-64c5-mp2-512-10, pooled before the spike. Deviations:
        the sizes are free, and the default is smaller.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_classes: int,
        channels: Sequence[int] = (12, 32),
        hidden: Sequence[int] = (),
        kernel_size: int = 5,
        neuron: NeuronName = "continuous",
        dropout_input: float = 0.0,
        dropout_hidden: float = 0.0,
    ) -> None:
        layers: list[nn.Module] = [nn.Dropout(dropout_input)]
        planes = [in_shape[0], *channels]
        for before, after in pairwise(planes):
            layers += [SpikeConv2d(before, after, kernel_size), nn.MaxPool2d(2)]
            layers += [make_neuron(neuron), nn.Dropout(dropout_hidden)]
        layers.append(nn.Flatten())
        with torch.no_grad():
            width = SpikingSequential(*layers)(torch.zeros(1, 1, *in_shape)).shape[-1]
        for size in hidden:
            layers += [SpikeLinear(width, size), make_neuron(neuron), nn.Dropout(dropout_hidden)]
            width = size
        layers.append(SpikeLinear(width, num_classes))
        super().__init__(layers, neuron)
