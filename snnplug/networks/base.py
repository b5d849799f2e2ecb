"""What the packaged networks share: their neurons and a spiking readout."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from torch import Tensor, nn

from snnplug.errors import ArgumentError, did_you_mean
from snnplug.layers.sequential import SpikingSequential
from snnplug.neurons.base import SequenceNeuron
from snnplug.neurons.continuous_if import ContinuousIF
from snnplug.neurons.discontinuous_if import DiscontinuousIF
from snnplug.surrogate import HardFire

NeuronName = Literal["continuous", "discontinuous"]


def make_neuron(name: NeuronName) -> SequenceNeuron:
    """Return a hidden neuron of SNN-CT (``"continuous"``) or SNN-DC (``"discontinuous"``)."""
    if name == "continuous":
        return ContinuousIF()
    if name == "discontinuous":
        return DiscontinuousIF()
    raise ArgumentError(
        f"neuron {name!r} is unknown. {did_you_mean(name, ('continuous', 'discontinuous'))}"
    )


def make_readout(name: NeuronName) -> SequenceNeuron:
    """Return the output neuron of either rule.

    SNN-CT decides with the same integrate-and-fire neurons as in the hidden layers. SNN-DC's
    output neurons fire when their current is not negative, as the authors' simulator has it: the
    squared hinge loss trains that sign.
    """
    if name == "discontinuous":
        return DiscontinuousIF(threshold=0.0, spike_grad=HardFire(inclusive=True))
    return make_neuron(name)


class SpikingNetwork(nn.Module):
    r"""Layers that end in a current per class, and the output neurons that it drives.

    Weights begin as the authors' do: uniform after He, with :math:`|w| < \sqrt{6 / n}` for fan-in
    :math:`n`, and biases at 0. torch's own narrower start leaves neurons of threshold 1 silent.

    Args:
        layers: Modules of a :class:`~snnplug.layers.sequential.SpikingSequential`; the last one
            gives the currents.
        neuron: Which rule's output neurons decide.
    """

    def __init__(self, layers: Iterable[nn.Module], neuron: NeuronName) -> None:
        super().__init__()
        self.layers = SpikingSequential(*layers)
        self.readout = make_readout(neuron)
        for module in self.layers.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output neurons' spikes and the currents that drive them."""
        cur = self.layers(frames)
        spk, _ = self.readout.run(cur)
        return spk, cur

    def chain(self) -> SpikingSequential:
        """Return the same layers as one chain, from frames to the output neurons' spikes."""
        return SpikingSequential(*self.layers, self.readout)
