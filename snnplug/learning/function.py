"""The spike-train rules as one autograd function per layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from snnplug.kernels.spike_train import SpikeTrainDynamics, State, adjoint, advance, spikes_of
from snnplug.kernels.trains import SpikeTrains
from snnplug.learning.rules import HM2BP, STRSBP, Counts, Rule
from snnplug.learning.synapses import Synapses


@dataclass(frozen=True)
class Layer:
    """What a layer is, beside its weights.

    Attributes:
        synapses: The map from its inputs.
        dynamics: Of its neurons.
        rule: How it learns.
        revived_spikes: Spikes of the regular train that stands in for a silent neuron which the
            loss wants to fire; 0 for none.
    """

    synapses: Synapses
    dynamics: SpikeTrainDynamics
    rule: Rule
    revived_spikes: int = 0


def spike_train(x: Tensor, weight: Tensor, recurrent: Tensor | None, layer: Layer) -> Tensor:
    """Run a layer over a sequence; its gradients are those of its rule.

    Args:
        x: ``(T, B, inputs)``, spikes or other values.
        weight: As ``layer.synapses`` takes it.
        recurrent: Between the neurons, ``(N, N)``, or None.
        layer: What it is.

    Returns:
        Spikes ``(T, B, N)``. Their gradient is taken at the level of counts: the mean over time is
        that of the count, which for a loss of counts is the gradient at any time.
    """
    if torch.compiler.is_exporting():  # a graph for inference elsewhere
        cur = layer.synapses.apply(x.flatten(0, 1), weight)
        return spikes_of(cur.view(*x.shape[:2], *cur.shape[1:]), layer.dynamics, recurrent)
    if torch.compiler.is_compiling():
        from snnplug.learning import operators

        spk: Tensor = operators.spike_train(x, weight, recurrent, operators.numbers_of(layer))[0]
        return spk
    spk = _SpikeTrain.apply(x, weight, recurrent, layer)  # type: ignore[no-untyped-call]
    return spk


def forward(
    trains: SpikeTrains, weight: Tensor, recurrent: Tensor | None, layer: Layer
) -> tuple[Tensor, Tensor]:
    """Return the spikes ``(T, B, N)``, and the sum of the membranes at them, ``(B, N)``."""
    first = layer.synapses.apply(trains.rows(range(1)), weight)
    state = State.at_rest(first)
    spk = first.new_empty(trains.shape[0], *first.shape)
    spk[0] = 0
    for part in trains:
        cur = layer.synapses.currents(trains, part, weight).view(len(part), *first.shape)
        to = spk[part.start + 1 : part.stop + 1]
        advance(cur[: len(to)], state, layer.dynamics, recurrent, to)
    return spk, state.potential


def mean_over_time(grad: Tensor) -> Tensor:
    """Return the mean of ``(T, *)``; the gradient of a sum repeats one value in no memory."""
    return grad[0] if grad.stride(0) == 0 else grad.mean(0)


class _SpikeTrain(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, recurrent: Tensor | None, layer: Layer
    ) -> Tensor:
        trains = SpikeTrains(x.contiguous())
        spk, potential = forward(trains, weight, recurrent, layer)
        if any(ctx.needs_input_grad):
            fired = SpikeTrains(spk)
            ctx.layer, ctx.trains, ctx.fired = layer, trains.holding(None), fired.holding(None)
            ctx.save_for_backward(weight, recurrent, potential, trains.kept, fired.kept)
        return spk

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, recurrent, potential, heard, sent = ctx.saved_tensors
        steps = len(grad)
        error = mean_over_time(grad)
        trains, fired = ctx.trains.holding(heard), ctx.fired.holding(sent)
        backward = Backward(ctx.layer, trains, fired, weight, recurrent)
        needs_x, needs_weight, needs_recurrent, _ = ctx.needs_input_grad
        wanted = (needs_x, needs_weight, needs_recurrent)
        x, weight, recurrent = backward(error, potential, steps, wanted)
        return None if x is None else x.expand(steps, *x.shape), weight, recurrent, None


class Backward:
    """The backward pass of one layer."""

    def __init__(
        self,
        layer: Layer,
        trains: SpikeTrains,
        fired: SpikeTrains,
        weight: Tensor,
        recurrent: Tensor | None,
    ) -> None:
        self.layer = layer
        self.trains = trains
        self.fired = fired
        self.weight = weight
        self.recurrent = recurrent

    def __call__(
        self, error: Tensor, potential: Tensor, steps: int, wanted: tuple[bool, bool, bool]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients of the counts of the inputs and of the weights, where wanted."""
        layer, dynamics = self.layer, self.layer.dynamics
        outputs = self.fired.counts()
        delta = error / dynamics.threshold
        if layer.revived_spikes:
            dead = (outputs == 0) & (error < 0)
            if bool(dead.any()):
                self.fired = self.fired.revived(dead, layer.revived_spikes)
                outputs = self.fired.counts()
        solves = wanted[0] and self.recurrent is not None and isinstance(layer.rule, STRSBP)
        # Lateral inhibition and revived neurons: the membrane at the spikes is not the sum of the
        # inputs' effects.
        direct = isinstance(layer.rule, HM2BP) and bool(dynamics.inhibition or layer.revived_spikes)
        effects, pairs = potential, None
        if direct or solves or dynamics.inhibition:
            effects, pairs = self._first_pass(direct, potential)
        counts = Counts(self.trains.counts(), outputs, effects, steps)
        known = (dynamics, layer.synapses, self.weight, self.recurrent)
        gain = layer.rule.gain(counts, *known)
        scaled = delta * gain
        back = scaled if layer.rule.scales_error else delta
        if dynamics.inhibition and pairs is not None:
            scaled = scaled * _lateral(pairs, outputs, error, dynamics, layer.rule)
        if solves and pairs is not None:
            back = self._solved(delta, pairs, counts, 1 / gain)
        return self._second_pass(scaled, back, counts, wanted)

    def _parts(self) -> Any:
        """Give the parts of time from the last to the first, each with x of its steps."""
        like = self.weight.new_zeros(self.fired.shape[1:])
        after = like, like.clone()
        for part in reversed(self.trains.parts()):
            yield part, adjoint(self.fired, part, after, self.layer.dynamics)

    def _first_pass(self, direct: bool, potential: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of the effects of the inputs, and the effects within the layer."""
        total = torch.zeros_like(potential) if direct else potential
        pairs = total.new_zeros(*total.shape, total.shape[1])
        for part, x in self._parts():
            if direct:
                cur = self.layer.synapses.currents(self.trains, part, self.weight)
                total += (x * cur.view(x.shape)).sum(0)
            pairs += self.fired.pairwise(x.flatten(0, 1), part)
        if direct and self.recurrent is not None:
            total += (pairs * self.recurrent).sum(2)
        return total, pairs

    def _solved(self, delta: Tensor, pairs: Tensor, counts: Counts, diagonal: Tensor) -> Tensor:
        r"""Return :math:`\Omega^{-\top} \delta`, for the whole batch at once."""
        assert self.recurrent is not None  # noqa: S101
        ratio = _ratios(pairs, counts.outputs, self.layer.rule.silent_ratio)
        omega = -self.recurrent / self.layer.dynamics.threshold * ratio
        omega.diagonal(dim1=1, dim2=2).copy_(diagonal)
        solution: Tensor = torch.linalg.solve(omega.transpose(1, 2), delta)
        return solution

    def _second_pass(
        self, scaled: Tensor, back: Tensor, counts: Counts, wanted: tuple[bool, bool, bool]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients of the inputs' counts and of the weights."""
        synapses, rule = self.layer.synapses, self.layer.rule
        to_x, to_weight, to_recurrent = wanted
        # A silent neuron has no effects; a constant stands in for those of active inputs.
        silent = counts.outputs == 0
        lost = rule.silent_effect * scaled * silent
        active = (counts.inputs != 0).to(scaled.dtype)
        weight = synapses.outer(lost, active, self.weight) if to_weight else None
        fires = (~silent).to(scaled.dtype)
        recurrent = lost.t() @ fires if to_recurrent else None
        inputs = torch.zeros_like(counts.inputs) if to_x else None
        for part, x in self._parts():
            if inputs is not None:
                y = (x * back).flatten(0, 1)
                inputs += synapses.back_at_spikes(y, self.trains, part, self.weight)
            y = x.mul_(scaled).flatten(0, 1)
            if weight is not None:
                weight += synapses.gradient(y, self.trains, part, self.weight)
            if recurrent is not None:
                recurrent += self.fired.weight_gradient(y, part)
        if inputs is not None:
            inputs = inputs / counts.inputs.masked_fill(counts.inputs == 0, 1.0)
            from_silent = synapses.back(back * silent, self.weight)
            everyone = synapses.back(back, self.weight)
            inputs = active * (inputs + rule.silent_ratio * from_silent)
            inputs += (1 - active) * rule.silent_ratio * everyone
        return inputs, weight, recurrent


def _ratios(pairs: Tensor, counts: Tensor, silent: float) -> Tensor:
    """Return effects per spike of the sender, ``(B, N, N)``; ``silent`` where one of two is."""
    is_silent = counts == 0
    either = is_silent.unsqueeze(2) | is_silent.unsqueeze(1)
    ratio = pairs / counts.masked_fill(is_silent, 1.0).unsqueeze(1)
    return ratio.masked_fill(either, silent)


def _lateral(
    pairs: Tensor, counts: Tensor, error: Tensor, dynamics: SpikeTrainDynamics, rule: Rule
) -> Tensor:
    r"""Return what lateral inhibition multiplies the weight gradient of each neuron with.

    .. math::
        \lambda_i = \Bigl(1 - \frac{w_0^2}{\theta^2} \sum_{l \ne i}
        \frac{e_{l|i}}{o_i} \frac{e_{i|l}}{o_l} \Bigr)^{-1}

    without the terms of silent neurons that the loss does not want to fire.
    """
    ratio = _ratios(pairs, counts, rule.silent_ratio)
    counted = ((counts > 0) | (error < 0)).to(ratio.dtype)
    terms = ratio * ratio.transpose(1, 2) * counted.unsqueeze(1) * counted.unsqueeze(2)
    terms.diagonal(dim1=1, dim2=2).zero_()
    return 1 / (1 - (dynamics.inhibition / dynamics.threshold) ** 2 * terms.sum(2))
