r"""Leaky integrate-and-fire over a sequence: the operator as first-order neurons use it.

.. math::
    u[t] &= \beta\, u[t-1] + I[t] - \theta\, r[t] &&\text{reset "subtract"} \\
    u[t] &= \beta\, (1 - r[t])\, u[t-1] + I[t] &&\text{reset "zero"} \\
    u[t] &= \beta\, u[t-1] + I[t] &&\text{reset "none"}

with :math:`r[t] = \mathbb{1}[u[t-1] > \theta]` and spikes :math:`a\, \mathbb{1}[u[t] > \theta]`.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from snnplug.kernels.dynamics import Dynamics, Parameters, State
from snnplug.kernels.neurons import kernel_for, neurons
from snnplug.kernels.time_loop import time_loop


def lif(
    cur: Tensor, mem: Tensor, beta: Tensor, threshold: Tensor, graded: Tensor, dynamics: Dynamics
) -> tuple[Tensor, Tensor]:
    """Run leaky neurons over a sequence.

    Args:
        cur: Input current, ``(T, B, *features)``.
        mem: Membrane before the first step, ``(B, *features)``.
        beta: Factor kept of the membrane per step; broadcasts against ``features``.
        threshold: Broadcasts against ``features``.
        graded: Height of a spike, 0-dimensional.
        dynamics: Surrogate, and reset: ``"subtract"``, ``"zero"`` or ``"none"``.

    Returns:
        Spikes ``(T, B, *features)``, and the membrane after the last step.
    """
    parameters = Parameters(beta, threshold, graded)
    kernel = kernel_for(cur, parameters, dynamics)
    if kernel is None:
        beta, threshold = (p.to(cur.dtype) for p in (beta, threshold))
        return lif_reference(cur, mem, beta, threshold, graded, dynamics)
    if dynamics.reset == "zero":
        dynamics = replace(dynamics, reset="membrane")
    spk, state = neurons(cur, State(mem), parameters, dynamics, kernel)
    return spk, state.mem


def lif_reference(
    cur: Tensor, mem: Tensor, beta: Tensor, threshold: Tensor, graded: Tensor, dynamics: Dynamics
) -> tuple[Tensor, Tensor]:
    """Do what :func:`lif` does in elementary operations, with autograd's own backward."""
    mode, graded = dynamics.reset, graded.to(cur.dtype)

    def fire(shifted: Tensor) -> Tensor:  # snnTorch's functions give float32 only
        return dynamics.spike_grad(shifted).to(shifted.dtype)

    immediate = not dynamics.reset_delay and mode != "none"
    hands_on = dynamics.reset_delay and mode != "none"

    def step(carry: tuple[Tensor, ...], now: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        mem = carry[0]
        # Where the membrane is above the threshold now: the spikes, unless it moved after them.
        fired = carry[1] if hands_on else fire(mem - threshold) if immediate else None
        reset = mem if fired is None else fired.detach() if dynamics.detach_reset else fired
        if mode == "subtract":
            mem = (beta * mem + now) - reset * threshold
        elif mode == "zero":
            mem = beta * ((1 - reset) * mem) + now
        else:
            mem = beta * mem + now
        spk = fire(mem - threshold)
        if immediate:
            mem = mem - (spk - reset) * (threshold if mode == "subtract" else mem)
        return (mem, spk) if hands_on else (mem,), spk * graded

    spk, (mem, *_) = time_loop(step, (mem, fire(mem - threshold)) if hands_on else (mem,), cur)
    return spk, mem
