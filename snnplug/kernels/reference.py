r"""Neurons over a sequence in torch, with a backward pass of its own: for every dtype and device.

It computes what :func:`snnplug.kernels.neurons.neurons` documents. The backward pass keeps the
potential :math:`p[t]` that is compared with the threshold, and no graph. With :math:`r[t]` the
reset that is due and :math:`g` the surrogate's derivative, for a delayed reset by subtraction:

.. math::
    \bar p[t] &= \bar u[t] + \bar s[t]\, g(p[t] - \theta), \qquad
    \bar u[t-1] = \beta\, \bar p[t] - \theta\, \bar p[t]\, g(u[t-1] - \theta)

where the last term is there if the reset is attached. Half precision is summed in float32.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from snnplug.kernels.dynamics import Parameters, State
from snnplug.surrogate import Surrogate


class StepRule(NamedTuple):
    """How neurons fire and reset.

    Attributes:
        reset: One of ``RESETS``.
        surrogate: The spike function.
        attached: The gradient flows through the reset.
        immediate: A spike resets the membrane in its own step.
        learned: Gradients of the parameters are wanted.
    """

    reset: str
    surrogate: Surrogate
    attached: bool
    immediate: bool
    learned: bool


class Trace(NamedTuple):
    """What the backward pass needs of each step, ``(T, B, *features)``.

    Attributes:
        potential: What was compared with the threshold.
        mem: Membrane after the step, where it is not the potential.
        syn: Synaptic current after the step, if its decay is learned.
        pre: Membrane before the reset, if a reset to zero is attached.
    """

    potential: Tensor
    mem: Tensor | None
    syn: Tensor | None
    pre: Tensor | None


def kept_rows(rule: StepRule, second: bool) -> int:
    """Return how many values per neuron and step the backward pass needs."""
    return 1 + sum(_beside_potential(rule, second))


def _beside_potential(rule: StepRule, second: bool) -> tuple[bool, bool, bool]:
    """Return whether ``mem``, ``syn`` and ``pre`` have to be kept beside the potential."""
    return rule.immediate, second and rule.learned, rule.attached and rule.reset == "zero"


def trace_of(kept: Tensor, rule: StepRule, second: bool) -> Trace:
    """Return the rows of ``kept``, ``(rows, T, B, *features)``, by their names."""
    rows = iter(kept[1:])
    return Trace(
        kept[0], *(next(rows) if there else None for there in _beside_potential(rule, second))
    )


def forward(
    cur: Tensor, state: State, p: Parameters, rule: StepRule, trace: Trace | None
) -> tuple[Tensor, State]:
    """Return the spikes and the state after the last step; fill ``trace`` if there is one."""
    mem, syn, spk = state
    spikes = torch.empty_like(cur)
    fired: Tensor | None = None
    for t, now in enumerate(cur.unbind(0)):
        if fired is None and rule.reset != "none":
            fired = rule.surrogate.step(mem - p.threshold)
        if p.alpha is not None and syn is not None:
            syn = _heard(p.alpha * syn + now, spk, p)
            pre = p.beta * mem + syn
        elif rule.reset == "membrane" and fired is not None:
            pre = p.beta * ((1 - fired) * mem) + now
        else:
            pre = _heard(p.beta * mem + now, spk, p)
        potential = pre if rule.reset == "membrane" else _reset(pre, fired, p.threshold, rule)
        spike = rule.surrogate.step(potential - p.threshold)
        mem = potential
        if rule.immediate and fired is not None:
            mem = _reset(potential, spike - fired, p.threshold, rule)
        fired = None if rule.immediate or rule.reset == "none" else spike
        torch.mul(spike, p.graded, out=spikes[t])
        spk = spikes[t]
        if trace is not None:
            for row, value in zip(trace, (potential, mem, syn, pre), strict=True):
                if row is not None and value is not None:
                    row[t] = value
    return spikes, State(mem, syn, spk)


def _heard(before: Tensor, spk: Tensor | None, p: Parameters) -> Tensor:
    """Return a sum with the current that the spikes of the step before bring."""
    if p.weight is not None and spk is not None:
        return before + functional.linear(spk, p.weight, p.bias)
    return before + spk * p.own if p.own is not None and spk is not None else before


def _reset(mem: Tensor, reset: Tensor | None, threshold: Tensor, rule: StepRule) -> Tensor:
    """Return the membrane after a reset: less the threshold, or less itself."""
    if reset is None:
        return mem
    return mem - reset * (threshold if rule.reset == "subtract" else mem)


class Gradients(NamedTuple):
    """Gradients of everything.

    Attributes:
        cur: ``(T, B, *features)``.
        state: Of the state before the first step.
        parameters: Of alpha, beta, threshold, own weight and height, ``(5, B, *features)``, or None
            where they are not learned.
        weight: Of the dense recurrence, or None.
    """

    cur: Tensor
    state: State
    parameters: Tensor | None
    weight: Tensor | None


def last_gradients(
    start: State, grad_mem: Tensor | None, grad_syn: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of the state after the last step: zeros where nothing depends on it."""
    if start.syn is not None and grad_syn is None:
        grad_syn = torch.zeros_like(start.syn)
    return torch.zeros_like(start.mem) if grad_mem is None else grad_mem, grad_syn


def backward(
    grad_spk: Tensor,
    grad_mem: Tensor | None,
    grad_syn: Tensor | None,
    start: State,
    p: Parameters,
    rule: StepRule,
    trace: Trace,
) -> Gradients:
    """Return the gradients.

    Args:
        grad_spk: Of the spikes, ``(T, B, *features)``.
        grad_mem: Of the membrane after the last step; None where nothing depends on it.
        grad_syn: Of the synaptic current then, likewise.
        start: The state before the first step.
        p: The parameters.
        rule: How the neurons fire and reset.
        trace: What :func:`forward` filled.
    """
    dtype = grad_spk.dtype
    wide = torch.promote_types(dtype, torch.float32)
    beta, threshold, graded = (x.to(wide) for x in p[:3])
    alpha, own, weight = (None if x is None else x.to(wide) for x in p[3:6])
    late, late_syn = last_gradients(start, grad_mem, grad_syn)
    late, late_syn = late.to(wide), None if late_syn is None else late_syn.to(wide)
    grad_cur, zero = torch.empty_like(grad_spk), torch.zeros_like(late)
    sums = late.new_zeros((5, *late.shape)) if rule.learned else None
    after = trace.potential if trace.mem is None else trace.mem
    feedback, slope = zero, None
    for t in range(len(grad_spk) - 1, -1, -1):
        before = after[t - 1] if t else start.mem
        shift, shift_before = trace.potential[t] - p.threshold, before - p.threshold
        now = _Now(
            rule.surrogate.step(shift).to(wide),
            zero if rule.reset == "none" else rule.surrogate.step(shift_before).to(wide),
            rule.surrogate.derivative(shift.to(wide)) if slope is None else slope,
            before.to(wide),
            trace.potential[t].to(wide),
            zero if trace.pre is None else trace.pre[t].to(wide),
        )
        spk = grad_spk[t].to(wide) + feedback
        back = _back(rule, now, spk * graded, late, beta, threshold)
        grad, late, to_threshold = back.pre, back.before, back.threshold
        slope = None
        if rule.attached and rule.reset != "none":
            slope = rule.surrogate.derivative(shift_before.to(wide))
            late, to_threshold = late + back.reach * slope, to_threshold - back.reach * slope
            slope = None if rule.immediate else slope
        if alpha is not None and late_syn is not None:
            grad = grad + late_syn
            late_syn = grad * alpha
        grad_cur[t] = grad
        if weight is not None:
            feedback = grad @ weight
        elif own is not None:
            feedback = grad * own
        if sums is not None:
            if trace.syn is not None and start.syn is not None:
                sums[0] += grad * (trace.syn[t - 1] if t else start.syn).to(wide)
            sums[1] += back.beta
            sums[2] += to_threshold
            if own is not None and start.spk is not None:
                sums[3] += grad * (_spikes(trace.potential[t - 1], p, rule) if t else start.spk)
            sums[4] += spk * now.spike
    state = State(
        late.to(dtype),
        None if late_syn is None else late_syn.to(dtype),
        None if start.spk is None else feedback.to(dtype),
    )
    d_weight = None if weight is None else weight_gradient(grad_cur, start, p, rule, trace)
    return Gradients(grad_cur, state, None if sums is None else sums.to(dtype), d_weight)


class _Now(NamedTuple):
    """What one step did."""

    spike: Tensor
    fired: Tensor
    slope: Tensor
    before: Tensor
    potential: Tensor
    pre: Tensor


class _Back(NamedTuple):
    """Gradients through the membrane of one step; ``reach`` is that of the reset which was due."""

    pre: Tensor
    before: Tensor
    beta: Tensor
    threshold: Tensor
    reach: Tensor


def _back(
    rule: StepRule, now: _Now, spk: Tensor, late: Tensor, beta: Tensor, threshold: Tensor
) -> _Back:
    """Go back through one step, from the gradients of its spike and of the membrane after it."""
    through_spike = spk * now.slope
    to_threshold, grad, reach = -through_spike, late + through_spike, torch.zeros_like(late)
    if rule.immediate and rule.reset == "subtract":
        grad = grad - late * threshold * now.slope
        to_threshold = to_threshold + late * (threshold * now.slope - (now.spike - now.fired))
        reach = late * threshold
    elif rule.immediate and rule.reset != "none":
        moved = 1 - (now.spike - now.fired) - now.potential * now.slope
        grad = late * moved + through_spike
        to_threshold = to_threshold + late * now.potential * now.slope
        reach = late * now.potential
    kept, factor = now.before, beta
    if rule.reset == "subtract":
        to_threshold = to_threshold - grad * now.fired
        reach = reach - grad * threshold
    elif rule.reset == "zero":
        reach = reach - grad * now.pre
        grad = grad * (1 - now.fired)
    elif rule.reset == "membrane":
        reach = reach - grad * beta * now.before
        kept, factor = (1 - now.fired) * now.before, beta * (1 - now.fired)
    return _Back(grad, grad * factor, grad * kept, to_threshold, reach)


def _spikes(potential: Tensor, p: Parameters, rule: StepRule) -> Tensor:
    """Return the spikes that a potential gave."""
    return rule.surrogate.step(potential - p.threshold) * p.graded


def weight_gradient(
    grad_cur: Tensor, start: State, p: Parameters, rule: StepRule, trace: Trace
) -> Tensor:
    """Return the gradient of the recurrent weight from that of the current."""
    spikes = _spikes(trace.potential[:-1], p, rule)
    later = grad_cur[1:].flatten(0, 1).t() @ spikes.flatten(0, 1)
    return later if start.spk is None else later + grad_cur[0].t() @ start.spk
