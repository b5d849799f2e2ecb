r"""HM2-BP and ST-RSBP: how the error of a spike count becomes that of weights and of other counts.

Both take the count of a neuron for :math:`o_i = a_i / \theta`, with
:math:`a_i = \sum_j w_{ij}\, e_{i|j}` the sum of the effects that the trains of its inputs have on
its own train. They differ in how the effect :math:`e_{i|j}` depends on the count of the neuron.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from snnplug.errors import ArgumentError, did_you_mean
from snnplug.kernels.spike_train import SpikeTrainDynamics
from snnplug.learning.effect_table import effect_table
from snnplug.learning.synapses import Synapses, ones_like_inputs

RuleName = Literal["hm2bp", "st_rsbp"]
# Of the authors' recurrent layers; here of every layer.
_LEAST = 1e-4


@dataclass(frozen=True)
class Counts:
    """What one layer did in a batch, at the level of counts.

    Attributes:
        inputs: Spikes of the inputs, ``(B, inputs)``.
        outputs: Spikes of the neurons, ``(B, N)``.
        effects: :math:`a`, without lateral inhibition, ``(B, N)``.
        num_steps: Time steps.
    """

    inputs: Tensor
    outputs: Tensor
    effects: Tensor
    num_steps: int


@dataclass(frozen=True)
class Rule(ABC):
    r"""What the two rules have in common.

    Attributes:
        silent_effect: :math:`e_{i|j}` of a silent neuron and an input that is not: it lets the
            weights of silent neurons learn.
        silent_ratio: :math:`e_{i|j} / o_j` where either of the two is silent.
    """

    silent_effect: float
    silent_ratio: float
    #: Whether the error that a layer passes on is scaled as that of its weights is.
    scales_error: ClassVar[bool]

    @abstractmethod
    def gain(
        self,
        counts: Counts,
        dynamics: SpikeTrainDynamics,
        synapses: Synapses,
        weight: Tensor,
        recurrent: Tensor | None,
    ) -> Tensor:
        """Return what multiplies the error of each neuron, ``(B, N)``."""


@dataclass(frozen=True)
class HM2BP(Rule):
    r"""Hybrid macro/micro backpropagation.

    .. math::
        \frac{\partial E}{\partial w_{ij}} = \delta_i\, e_{i|j}\,
        \Bigl(1 + \frac{1}{\theta} \sum_l w_{il} \frac{e_{i|l}}{o_i}\Bigr), \qquad
        \delta_j = \frac{1}{\theta_j} \sum_i \delta_i\, w_{ij} \frac{e_{i|j}}{o_j}

    Attributes:
        silent_effect: As in :class:`Rule`.
        silent_ratio: As in :class:`Rule`.
        silent_own_ratio: :math:`e_{i|l} / o_i` of a silent neuron in the factor.

    Example:
        >>> HM2BP().silent_effect
        0.1

    Reference:
        Y. Jin, W. Zhang, P. Li, "Hybrid Macro/Micro Level Backpropagation for Training Deep Spiking
        Neural Networks", NeurIPS 2018, arXiv 1805.07866.
    """

    silent_effect: float = 0.1
    silent_ratio: float = 1.0
    silent_own_ratio: float = 0.5
    scales_error: ClassVar[bool] = False

    def gain(
        self,
        counts: Counts,
        dynamics: SpikeTrainDynamics,
        synapses: Synapses,
        weight: Tensor,
        recurrent: Tensor | None,
    ) -> Tensor:
        r"""Return :math:`1 + a_i / (\theta o_i)`."""
        ones = ones_like_inputs(weight, counts.inputs.shape[1])
        total = synapses.apply(ones, weight)
        if recurrent is not None:
            total = total + recurrent.sum(1)
        silent = counts.outputs == 0
        own = counts.effects / counts.outputs.masked_fill(silent, 1.0)
        own = torch.where(silent, self.silent_own_ratio * total, own)
        return 1 + own / dynamics.threshold


@dataclass(frozen=True)
class STRSBP(Rule):
    r"""Spike-train level backpropagation of recurrent networks.

    With :math:`D_{ij} = \partial e_{i|j} / \partial o_i` of the
    :func:`~snnplug.learning.effect_table.effect_table`, over feed-forward and recurrent inputs:

    .. math::
        S_i = \frac{1}{\theta} \sum_j w_{ij} D_{ij}, \qquad
        \frac{\partial E}{\partial w_{ij}} = \frac{\delta_i\, e_{i|j}}{1 - S_i}

    A layer without recurrent weights passes
    :math:`\sum_i \delta_i w_{ij} (e_{i|j} / o_j) / (1 - S_i)` on. With them it passes
    :math:`\delta^\top \Omega^{-1} \Theta` on, where

    .. math::
        \Omega_{ii} = 1 - S_i, \qquad
        \Omega_{ip} = -\frac{w_{ip}}{\theta} \frac{e_{i|p}}{o_p}, \qquad
        \Theta_{ij} = w_{ij} \frac{e_{i|j}}{o_j}

    Attributes:
        silent_effect: As in :class:`Rule`.
        silent_ratio: As in :class:`Rule`.

    Example:
        >>> STRSBP().silent_ratio
        0.5

    Reference:
        W. Zhang, P. Li, "Spike-Train Level Backpropagation for Training Deep Recurrent Spiking
        Neural Networks", NeurIPS 2019, arXiv 1908.06378. Deviations: the smallest
        :math:`|1 - S_i|`, 1e-4, holds in layers without recurrence too; ``silent_effect`` is that
        of HM2-BP.
    """

    silent_effect: float = 0.1
    silent_ratio: float = 0.5
    scales_error: ClassVar[bool] = True

    def gain(
        self,
        counts: Counts,
        dynamics: SpikeTrainDynamics,
        synapses: Synapses,
        weight: Tensor,
        recurrent: Tensor | None,
    ) -> Tensor:
        """Return :math:`1 / (1 - S_i)`."""
        return 1 / self.diagonal(counts, dynamics, synapses, weight, recurrent)

    def diagonal(
        self,
        counts: Counts,
        dynamics: SpikeTrainDynamics,
        synapses: Synapses,
        weight: Tensor,
        recurrent: Tensor | None,
    ) -> Tensor:
        """Return :math:`1 - S_i`, at least 1e-4 from zero."""
        table = effect_table(
            dynamics.tau_mem_steps,
            dynamics.tau_syn_steps,
            dynamics.refractory_steps,
            counts.num_steps,
        )
        inputs, outputs = table.terms(counts.inputs), table.derivative_terms(counts.outputs)
        total = torch.zeros_like(counts.outputs)
        for x, y in zip(inputs, outputs, strict=True):
            total += synapses.apply(x, weight) * y
        if recurrent is not None:
            for x, y in zip(table.terms(counts.outputs), outputs, strict=True):
                total += x @ recurrent.t() * y
        left = 1 - total / dynamics.threshold
        return left.abs().clamp(min=_LEAST).copysign(left)


_RULES: dict[str, type[HM2BP] | type[STRSBP]] = {"hm2bp": HM2BP, "st_rsbp": STRSBP}


def rule_of(rule: RuleName | Rule) -> Rule:
    """Return the rule of that name, with the values of its authors.

    Raises:
        ArgumentError: There is none.

    Example:
        >>> rule_of("hm2bp")
        HM2BP(silent_effect=0.1, silent_ratio=1.0, silent_own_ratio=0.5)
    """
    if isinstance(rule, Rule):
        return rule
    if rule not in _RULES:
        raise ArgumentError(f"rule {rule!r} is unknown. {did_you_mean(rule, _RULES)}")
    return _RULES[rule]()
