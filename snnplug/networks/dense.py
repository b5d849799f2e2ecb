"""Fully connected spiking network with a spiking readout."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import nn

from snnplug.layers.spike_linear import SpikeLinear
from snnplug.networks.base import NeuronName, SpikingNetwork, make_neuron


class DenseSNN(SpikingNetwork):
    r"""Input → hidden layers of spiking neurons → one output neuron per class.

    Each hidden layer is ``SpikeLinear → neuron → Dropout``. The readout is a linear layer whose
    current drives the output neurons; both are returned, because the rule of Yin et al. trains on
    the current and decides by the spikes.

    Args:
        in_shape: Shape of one frame, such as ``(2, 34, 34)``.
        num_classes: Output neurons.
        hidden: Neurons per hidden layer.
        neuron: ``"discontinuous"`` (SNN-DC, no memory) or ``"continuous"`` (SNN-CT, integrates).
        dropout_input: Share of input spikes dropped in training.
        dropout_hidden: Share of hidden spikes dropped in training.

    Shape:
        - input: frames ``(T, B, *in_shape)``
        - output: spikes and currents of the output neurons, each ``(T, B, num_classes)``

    Hardware: the Linear layers are synaptic layers, the neurons neuron layers; dropout is nothing.

    Example:
        >>> import torch
        >>> net = DenseSNN((1, 28, 28), 10, hidden=(256, 256), neuron="discontinuous")
        >>> spk, cur = net(torch.zeros(4, 2, 1, 28, 28))
        >>> spk.shape, cur.shape
        (torch.Size([4, 2, 10]), torch.Size([4, 2, 10]))

    Reference:
        S. Yin et al., BioCAS 2017: 784-256-256-10 and larger for MNIST, 1156-1024-1024-11 for
        N-MNIST. Deviation: both polarities may be inputs of their own.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_classes: int,
        hidden: Sequence[int] = (256, 256),
        neuron: NeuronName = "continuous",
        dropout_input: float = 0.0,
        dropout_hidden: float = 0.0,
    ) -> None:
        widths = [prod(in_shape), *hidden]
        layers: list[nn.Module] = [nn.Flatten(), nn.Dropout(dropout_input)]
        for fan_in, fan_out in pairwise(widths):
            layers += [
                SpikeLinear(fan_in, fan_out),
                make_neuron(neuron),
                nn.Dropout(dropout_hidden),
            ]
        layers.append(SpikeLinear(widths[-1], num_classes))
        super().__init__(layers, neuron)
