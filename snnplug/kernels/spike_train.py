r"""Neurons with a synaptic current, a hard reset and a refractory time, over a sequence.

With :math:`I[t]` the current that the spikes of step t bring and :math:`V` the weights between the
neurons of the layer, one step after they were sent:

.. math::
    p[t] &= (1 - 1/\tau_s)\, p[t-1] + I[t-1] + V s[t-1] \\
    u[t] &= (1 - 1/\tau_m)\, u[t-1] + p[t] / \tau_s
    \quad\text{or 0 in the refractory time} \\
    s[t] &= \mathbb{1}[u[t] > \theta - 10^{-6}]

A spike sets :math:`u` to 0 and keeps it there for :math:`T_r` further steps; :math:`p` goes on. At
t = 0 all is silent.

Between resets the map from one input train to :math:`u` is linear. Its adjoint from the membrane
at the spikes, with the spikes as they were, is a recursion of one line per neuron that knows
nothing of the inputs:

.. math::
    r[t] &= 1 \text{ at a spike, } 0 \text{ in the refractory time, else }
    (1 - 1/\tau_m)\, r[t+1] \\
    x[t] &= q[t+1], \qquad q[t] = (1 - 1/\tau_s)\, q[t+1] + r[t] / \tau_s

so that the effect of the train of j on the train of i, what ``HM2-BP`` and ``ST-RSBP`` build on, is
:math:`e_{i|j} = \sum_t x_i[t]\, s_j[t]`.

Two implementations give the same spikes: torch for every dtype and device, and the native kernels
for float32 on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from snnplug.errors import ArgumentError
from snnplug.kernels import native, native_spike_train
from snnplug.kernels.time_loop import time_loop
from snnplug.kernels.trains import SpikeTrains

# Of the authors: a membrane that is at the threshold but for rounding fires.
_SLACK = 1e-6


@dataclass(frozen=True)
class SpikeTrainDynamics:
    """Of the neurons of one layer.

    Attributes:
        threshold: Membrane above which a neuron fires.
        tau_mem_steps: Time constant of the membrane, in time steps.
        tau_syn_steps: Time constant of the synaptic current, in time steps.
        refractory_steps: Steps after a spike in which the membrane stays at 0.
        inhibition: What a spike takes from the synaptic current of every other neuron of the layer.
    """

    threshold: float
    tau_mem_steps: float = 64.0
    tau_syn_steps: float = 8.0
    refractory_steps: int = 2
    inhibition: float = 0.0

    def __post_init__(self) -> None:
        taus = (self.tau_mem_steps, self.tau_syn_steps)
        if not (self.threshold > _SLACK and min(taus) >= 1 and self.refractory_steps >= 0):
            raise ArgumentError(
                f"threshold is {self.threshold}, time constants {taus} steps, refractory time "
                f"{self.refractory_steps} steps; they have to be positive, at least 1 and not "
                "negative"
            )

    @property
    def decay_mem(self) -> float:
        """Part of the membrane that is left after a step."""
        return 1 - 1 / self.tau_mem_steps

    @property
    def decay_syn(self) -> float:
        """Part of the synaptic current that is left after a step."""
        return 1 - 1 / self.tau_syn_steps

    @property
    def limit(self) -> float:
        """What the membrane has to exceed."""
        return self.threshold - _SLACK


class State(NamedTuple):
    """Of neurons ``(B, N)`` between two steps, and what they did so far; changed in place.

    Attributes:
        syn: Synaptic current.
        mem: Membrane.
        rest: Refractory steps to go, int32.
        spk: Spikes of the last step.
        counts: Spikes so far.
        potential: Sum of the membrane at them, before the reset.
    """

    syn: Tensor
    mem: Tensor
    rest: Tensor
    spk: Tensor
    counts: Tensor
    potential: Tensor

    @classmethod
    def at_rest(cls, like: Tensor) -> State:
        """Return the state before the first step, for neurons ``(B, N)``."""
        syn, mem, spk, counts, potential = (torch.zeros_like(like) for _ in range(5))
        rest = torch.zeros_like(like, dtype=torch.int32)
        return cls(syn, mem, rest, spk, counts, potential)


def advance(
    cur: Tensor,
    state: State,
    dynamics: SpikeTrainDynamics,
    weight: Tensor | None,
    spk: Tensor,
) -> None:
    """Run the neurons over some steps; changes ``state``, writes ``spk``.

    Args:
        cur: Current that the spikes of the step before bring, ``(S, B, N)``.
        state: Before the first of these steps.
        dynamics: Of the layer.
        weight: From all neurons of the layer to all, ``(N, N)``, or None.
        spk: Takes the spikes of these steps, ``(S, B, N)``.
    """
    given = (cur, spk) if weight is None else (cur, spk, weight)
    if native.takes(*given, multiplies=False) and all(x.is_contiguous() for x in (cur, spk)):
        native_spike_train.advance(cur, state, dynamics, weight, spk)
    else:
        advance_reference(cur, state, dynamics, weight, spk)


def advance_reference(
    cur: Tensor,
    state: State,
    dynamics: SpikeTrainDynamics,
    weight: Tensor | None,
    spk: Tensor,
) -> None:
    """Do what :func:`advance` does in elementary operations."""
    gain = 1 / dynamics.tau_syn_steps
    for now, out in zip(cur, spk, strict=True):
        state.syn.mul_(dynamics.decay_syn).add_(now)
        heard = 0 if weight is None else state.spk @ weight.t()
        if dynamics.inhibition:
            others = state.spk.sum(1, keepdim=True) - state.spk
            heard = heard - dynamics.inhibition * others
        state.syn.add_(heard)
        state.mem.mul_(dynamics.decay_mem).add_(state.syn * gain)
        held = state.rest > 0
        state.mem.masked_fill_(held, 0.0)
        state.rest.sub_(held.to(torch.int32))
        fired = state.mem > dynamics.limit
        state.counts.add_(fired)
        state.potential.add_(torch.where(fired, state.mem, 0.0))
        state.mem.masked_fill_(fired, 0.0)
        state.rest.masked_fill_(fired, dynamics.refractory_steps)
        state.spk.copy_(fired)
        out.copy_(fired)


def spikes_of(cur: Tensor, dynamics: SpikeTrainDynamics, weight: Tensor | None) -> Tensor:
    """Return the spikes ``(T, B, N)`` for currents of all steps, as a graph can hold them.

    Nothing is changed in place and nothing looks at values; there is no gradient.
    """
    gain = 1 / dynamics.tau_syn_steps

    def step(carry: tuple[Tensor, ...], now: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        syn, mem, rest, spk = carry
        syn = syn * dynamics.decay_syn + now
        if weight is not None or dynamics.inhibition:
            heard = torch.zeros_like(spk) if weight is None else spk @ weight.t()
            if dynamics.inhibition:
                heard = heard - dynamics.inhibition * (spk.sum(1, keepdim=True) - spk)
            syn = syn + heard
        held = (rest > 0).to(mem.dtype)
        mem = (1 - held) * (mem * dynamics.decay_mem + syn * gain)
        spk = (mem > dynamics.limit).to(mem.dtype)
        rest = (rest - held) * (1 - spk) + dynamics.refractory_steps * spk
        return (syn, mem * (1 - spk), rest, spk), spk

    rest = torch.zeros_like(cur[0])
    spk, _ = time_loop(step, (rest, rest, rest, rest), cur[:-1])
    return torch.cat([rest.unsqueeze(0), spk])


def adjoint(
    trains: SpikeTrains, part: range, after: tuple[Tensor, Tensor], dynamics: SpikeTrainDynamics
) -> Tensor:
    """Return :math:`x[t]` for some steps of spike trains, going back in time.

    Args:
        trains: Spikes of the neurons.
        part: The steps.
        after: :math:`r` and :math:`q` of the step after them, ``(B, N)`` each, zero after the last
            step; becomes that of the first of these steps.
        dynamics: Of the layer.

    Returns:
        ``(len(part), B, N)``.
    """
    if trains.words is not None:
        return native_spike_train.adjoint(trains, part, after, dynamics)
    return adjoint_reference(trains.values, part, after, dynamics)


def adjoint_reference(
    spk: Tensor, part: range, after: tuple[Tensor, Tensor], dynamics: SpikeTrainDynamics
) -> Tensor:
    """Do what :func:`adjoint` does in elementary operations; ``spk`` is ``(T, B, N)``."""
    r, q = after
    out = torch.empty((len(part), *r.shape), dtype=r.dtype, device=r.device)
    for t in reversed(part):
        out[t - part.start] = q
        r.mul_(dynamics.decay_mem)
        recent = spk[max(t - dynamics.refractory_steps, 0) : t]
        if len(recent):
            r.masked_fill_(recent.any(0), 0.0)
        r.masked_fill_(spk[t].bool(), 1.0)
        q.mul_(dynamics.decay_syn).add_(r * (1 / dynamics.tau_syn_steps))
    return out
