"""Fully connected or recurrent spiking network of leaky neurons."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

from snnplug.errors import ArgumentError
from snnplug.layers.population_readout import PopulationReadout
from snnplug.layers.sequential import SpikingSequential
from snnplug.layers.spike_linear import SpikeLinear
from snnplug.neurons.base import SequenceNeuron
from snnplug.neurons.leaky import Leaky
from snnplug.neurons.rleaky import RLeaky
from snnplug.surrogate import FastSigmoid, Surrogate

_SPIKE_GRAD = FastSigmoid(slope=10.0)


def spread_decays(tau_steps: Sequence[float], neurons: int) -> Tensor:
    r"""Return one decay per neuron, :math:`\beta = 1 - 1/\tau`, for log-spaced time constants.

    Args:
        tau_steps: Shortest and longest time constant :math:`\tau`, in time steps, above 1.
        neurons: How many.

    Raises:
        ArgumentError: These are not two increasing numbers above 1, or two equal ones.

    Example:
        >>> spread_decays((10.0, 1000.0), 3)
        tensor([0.9000, 0.9900, 0.9990])
    """
    if len(tau_steps) != 2 or not 1 < tau_steps[0] <= tau_steps[1]:
        raise ArgumentError(
            f"tau_steps is {tau_steps}; give the shortest and the longest time constant in time "
            "steps, both above 1"
        )
    shortest, longest = torch.tensor(tau_steps, dtype=torch.float64).log10().tolist()
    tau = torch.logspace(shortest, longest, neurons, dtype=torch.float64)
    return (1 - 1 / tau).to(torch.get_default_dtype())


class LeakySNN(SpikingSequential):
    r"""Input → hidden layers of leaky neurons → one leaky output neuron per class, or its current.

    Each hidden layer is ``SpikeLinear → Leaky → Dropout``; with ``recurrent`` its neurons hear each
    other: ``SpikeLinear → RLeaky → Dropout``. Neurons of a layer have time constants from the
    shortest to the longest of ``tau_steps``, evenly spaced on a logarithmic scale:
    :math:`\beta_i = 1 - 1/\tau_i`. Weights begin as torch's do.

    Backward: as :class:`~snnplug.neurons.leaky.Leaky` and
    :class:`~snnplug.neurons.rleaky.RLeaky`, with ``spike_grad`` everywhere.

    Args:
        in_shape: Shape of one frame, such as ``(64,)``.
        num_classes: Output neurons.
        hidden: Neurons per hidden layer.
        recurrent: Connect the neurons of a hidden layer to each other.
        tau_steps: Shortest and longest time constant of the hidden neurons, in time steps.
        tau_out_steps: Time constant of the output neurons, in time steps.
        spike_grad: Surrogate gradient of all neurons; None is ``FastSigmoid(slope=10)``.
        dropout_input: Share of input spikes dropped in training.
        dropout_hidden: Share of hidden spikes dropped in training.
        population: Output neurons per class; with more than one, a
            :class:`~snnplug.layers.population_readout.PopulationReadout` sums their spikes.
        readout: ``"spikes"``, or ``"currents"`` for no output neurons: the loss and the decision
            see what these would receive. For :class:`~snnplug.training.ctc.CTC`: one spiking neuron
            per class stayed with the blank, which all begins with, for as long as we tried.

    Shape:
        - input: frames ``(T, B, *in_shape)``
        - output: spikes of the output neurons, summed per class, or currents:
          ``(T, B, num_classes)``

    Raises:
        ArgumentError: The time constants are not above 1, or do not increase; the readout is
            unknown, or currents are to come from several neurons per class.

    Hardware: the Linear layers are synaptic layers, ``Leaky`` neuron layers; ``RLeaky`` with its
    recurrent weights as its own description says.

    Example:
        >>> net = LeakySNN((64,), 11, hidden=(32,), recurrent=True)
        >>> net(torch.zeros(5, 2, 64)).shape
        torch.Size([5, 2, 11])

    Reference:
        B. Cramer, Y. Stradmann, J. Schemmel, F. Zenke, "The Heidelberg Spiking Data Sets for the
        Systematic Evaluation of Spiking Neural Networks", IEEE TNNLS 2022, for recurrent layers of
        leaky neurons. Deviations: no synaptic current; the readout spikes; the time constants may
        differ between neurons, as in N. Perez-Nieves et al., "Neural heterogeneity promotes robust
        learning", Nature Communications 12:5791, 2021.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_classes: int,
        hidden: Sequence[int] = (128,),
        recurrent: bool = False,
        tau_steps: tuple[float, float] = (10.0, 10.0),
        tau_out_steps: float = 20.0,
        spike_grad: Surrogate | None = None,
        dropout_input: float = 0.0,
        dropout_hidden: float = 0.0,
        population: int = 1,
        readout: Literal["spikes", "currents"] = "spikes",
    ) -> None:
        if readout not in ("spikes", "currents") or (readout == "currents" and population != 1):
            raise ArgumentError(
                f"readout is {readout!r}, population {population}; accepted are spikes, and "
                "currents with a population of 1"
            )
        surrogate = spike_grad or _SPIKE_GRAD
        layers: list[nn.Module] = [nn.Flatten(), nn.Dropout(dropout_input)]
        widths = [prod(in_shape), *hidden]
        for fan_in, size in pairwise(widths):
            neuron: SequenceNeuron
            beta = spread_decays(tau_steps, size)
            if recurrent:
                neuron = RLeaky(beta=beta, linear_features=size, spike_grad=surrogate)
            else:
                neuron = Leaky(beta=beta, spike_grad=surrogate)
            layers += [SpikeLinear(fan_in, size), neuron, nn.Dropout(dropout_hidden)]
        layers.append(SpikeLinear(widths[-1], num_classes * population))
        if readout == "spikes":
            beta_out = spread_decays((tau_out_steps, tau_out_steps), 1)[0]
            layers.append(Leaky(beta=beta_out, spike_grad=surrogate))
        if population != 1:
            layers.append(PopulationReadout(num_classes, population))
        super().__init__(*layers)
