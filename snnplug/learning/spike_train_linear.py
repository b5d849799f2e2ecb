"""Fully connected neurons that learn by HM2-BP or ST-RSBP."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from snnplug.kernels.spike_train import SpikeTrainDynamics
from snnplug.learning.rules import Rule, RuleName
from snnplug.learning.spike_train_layer import SpikeTrainLayer, checked
from snnplug.learning.synapses import Dense


class SpikeTrainLinear(SpikeTrainLayer):
    r"""Fully connected weights and the spiking neurons behind them.

    .. math::
        p[t] &= (1 - 1/\tau_s)\, p[t-1] + W x[t-1] - w_0\,(\text{spikes of the others at } t - 1) \\
        u[t] &= (1 - 1/\tau_m)\, u[t-1] + p[t] / \tau_s, \qquad
        s[t] = \mathbb{1}[u[t] > \theta - 10^{-6}]

    A spike sets :math:`u` to 0 and holds it there for the refractory time.

    Backward: at the level of counts, by :class:`~snnplug.learning.rules.HM2BP` or
    :class:`~snnplug.learning.rules.STRSBP`, with the effects :math:`e_{i|j}` of every pair of
    trains, none of which is ever stored: see :mod:`snnplug.kernels.spike_train`. The gradient that
    arrives is averaged over time, which leaves that of a loss of spike counts as it is; the one
    that is passed on is the same at every step. Kept for it are the spikes, as bits.

    Args:
        in_features: Inputs.
        out_features: Neurons.
        threshold: :math:`\theta`.
        rule: ``"hm2bp"``, ``"st_rsbp"``, or one of these rules with other constants.
        tau_mem_steps: :math:`\tau_m`, in time steps.
        tau_syn_steps: :math:`\tau_s`, in time steps.
        refractory_steps: Steps after a spike in which the membrane stays at 0.
        inhibition: :math:`w_0`; the authors' output neurons have 1, all others 0.
        revived_spikes: Of the regular train that stands in, backward, for a silent neuron which the
            loss wants to fire; the authors' output neurons get as many as they should have sent.
        init_range: Weights are drawn uniformly from minus to plus this.

    Shape:
        - input: ``(T, B, *)`` with ``in_features`` values per step; output: spikes
          ``(T, B, out_features)``

    Raises:
        ArgumentError: An argument is out of its range, or the input has another size.

    Example:
        >>> layer = SpikeTrainLinear(20, 5, threshold=2.0, rule="hm2bp")
        >>> spk = layer((torch.rand(50, 3, 20) < 0.2).float())
        >>> spk.sum(0).square().sum().backward()
        >>> spk.shape, layer.weight.grad.shape
        (torch.Size([50, 3, 5]), torch.Size([5, 20]))

    Hardware: the weights are counted as those of ``nn.Linear``, heard one step late, the neurons as
    ``<name>.neurons`` with their membrane, their current and their count of resting steps, and
    lateral inhibition as ``<name>.inhibition``, a synapse to every other neuron.

    Reference:
        As the rules. Deviation: a whole batch at once; the authors' programs take one sample at a
        time.
    """

    counts_as: ClassVar[str] = "Linear"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        threshold: float,
        rule: RuleName | Rule = "hm2bp",
        tau_mem_steps: float = 64.0,
        tau_syn_steps: float = 8.0,
        refractory_steps: int = 2,
        inhibition: float = 0.0,
        revived_spikes: int = 0,
        init_range: float = 1.0,
    ) -> None:
        dynamics = SpikeTrainDynamics(
            threshold, tau_mem_steps, tau_syn_steps, refractory_steps, inhibition
        )
        weight = torch.empty(out_features, in_features)
        super().__init__(weight, init_range, dynamics, rule, revived_spikes)
        self.in_features = in_features
        self.out_features = out_features

    def forward(self, x: Tensor) -> Tensor:
        """Return the spikes of a whole sequence."""
        return self.run(checked(x, self.in_features, type(self).__name__), Dense())
