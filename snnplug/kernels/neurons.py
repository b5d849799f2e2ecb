r"""Neurons over a whole sequence in one operator: first and second order, recurrent or not.

With :math:`r[t] = \mathbb{1}[u[t-1] > \theta]`, the reset that is due, and :math:`V` a dense map or
a factor per neuron:

.. math::
    i[t] &= \alpha\, i[t-1] + I[t] + V(s[t-1]) &&\text{second order; first order } \alpha = 0 \\
    a[t] &= \beta\, u[t-1] + i[t] \\
    p[t] &= a[t] - \theta\, r[t] &&\text{reset "subtract"} \\
    p[t] &= (1 - r[t])\, a[t] &&\text{reset "zero"} \\
    p[t] &= \beta\, (1 - r[t])\, u[t-1] + i[t] &&\text{reset "membrane"} \\
    s[t] &= h\, \mathbb{1}[p[t] > \theta]

and :math:`u[t] = p[t]`; a reset that is not delayed takes :math:`\mathbb{1}[p[t] > \theta] - r[t]`
times the threshold, or the potential itself, from it.

Three implementations give the same spikes: torch (``reference.py``) for every dtype and device, the
native kernels for float32 on the CPU, and Triton's for float32 on a GPU without a dense recurrence.
The native ones add up only the recurrent weights of neurons that spiked, in ascending order, as a
stepper does; a sample with more than a quarter of them takes the dense product. A zero adds nothing
even where the weight is not finite, unless the product is dense.

Kept for the backward pass, per neuron and step: 4 bytes. That is the current, from which native and
Triton kernels compute the states again, or with a dense recurrence, and in torch, the potential.
There another 4 each are kept for the membrane if the reset is not delayed, the synaptic current if
parameters are learned, and the membrane before an attached reset to zero. No spikes are kept.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor

from snnplug.kernels import execution, native, native_neurons, reference, triton_neurons
from snnplug.kernels.dynamics import (
    Dynamics,
    Parameters,
    State,
    known,
    rebuilt,
)
from snnplug.kernels.operator import operator
from snnplug.kernels.reference import StepRule, kept_rows, trace_of

Kernel = Literal["native", "triton", "torch"]


def kernel_for(cur: Tensor, parameters: Parameters, dynamics: Dynamics) -> Kernel | None:
    """Return what does the work of a call, or None: it is left to elementary operations.

    Those can be exported, transformed by ``torch.func`` and, where no kernel runs, compiled.
    """
    if (
        not execution.fused()
        or known(dynamics.spike_grad) is None
        or not cur.is_floating_point()
        or cur.dim() < 2
        or cur.numel() == 0
        or torch.compiler.is_exporting()
        or torch._C._are_functorch_transforms_active()
    ):
        return None
    products = [p for p in (parameters.weight, parameters.bias) if p is not None]
    if native.takes(cur, *products, multiplies=bool(products)):
        return "native"
    if not products and triton_neurons.takes(cur):
        return "triton"
    return None if torch.compiler.is_compiling() else "torch"


def _any_learned(*tensors: Tensor | None) -> bool:
    """Whether a gradient of one of these may be asked for."""
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)


def neurons(
    cur: Tensor, state: State, parameters: Parameters, dynamics: Dynamics, kernel: Kernel
) -> tuple[Tensor, State]:
    """Run a layer of neurons over a sequence.

    Args:
        cur: Input current, ``(T, B, *features)``.
        state: The state before the first step; ``syn`` and ``spk`` where the layer has them.
        parameters: Of the layer, on the device of ``cur``.
        dynamics: Reset and surrogate.
        kernel: What :func:`kernel_for` says of this call.

    Returns:
        Spikes ``(T, B, *features)``, and the state after the last step.
    """
    surrogate = known(dynamics.spike_grad)
    if surrogate is None:
        raise TypeError(f"no operator knows the derivative of {dynamics.spike_grad!r}")
    learned = _any_learned(*parameters[:-2])  # all but the dense map
    beta, threshold, alpha, own = _per_feature(cur, parameters, learned)
    kept = _any_learned(cur, *state, *parameters)
    weight, bias, *start = (
        None if x is None else x.contiguous()
        for x in (parameters.weight, parameters.bias, cur, *state)
    )
    spk, syn, mem, _ = _forward(
        *start,
        beta,
        threshold,
        parameters.graded,
        alpha,
        own,
        weight,
        bias,
        dynamics.reset,
        surrogate.kind,
        list(surrogate.parameters()),
        [
            surrogate.inclusive,
            not dynamics.detach_reset,
            not dynamics.reset_delay and dynamics.reset != "none",
            learned,
        ],
        kernel,
        kept,
    )
    last = None if state.spk is None else spk[-1].clone()
    return spk, State(mem, None if state.syn is None else syn, last)


def _per_feature(cur: Tensor, parameters: Parameters, learned: bool) -> list[Tensor | None]:
    """Return beta, threshold, alpha and own of every feature, or of all if each is one number."""
    found = [parameters.beta, parameters.threshold, parameters.alpha, parameters.own]
    alike = (
        not learned
        and parameters.weight is None
        and all(p is None or p.numel() == 1 for p in found)
    )
    shape = (1,) if alike else cur.shape[2:]
    return [None if p is None else p.to(cur.dtype).expand(shape).contiguous() for p in found]


@lru_cache
def _rule(
    reset: str, surrogate: str, constants: tuple[float, ...], flags: tuple[bool, ...]
) -> StepRule:
    """Return the rule that an operator is told of: few arguments, since each takes time."""
    inclusive, attached, immediate, learned = flags
    return StepRule(
        reset, rebuilt(surrogate, list(constants), inclusive), attached, immediate, learned
    )


_FORWARD = {
    "native": native_neurons.forward,
    "triton": triton_neurons.forward,
    "torch": reference.forward,
}


@operator("snnplug::neurons")
def _forward(
    cur: Tensor,
    mem: Tensor,
    syn: Tensor | None,
    spk: Tensor | None,
    beta: Tensor,
    threshold: Tensor,
    graded: Tensor,
    alpha: Tensor | None,
    own: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    reset: str,
    surrogate: str,
    constants: list[float],
    flags: list[bool],
    kernel: str,
    kept: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return spikes, synaptic current, membrane, and what backward needs beside the inputs."""
    rule = _rule(reset, surrogate, tuple(constants), tuple(flags))
    state, second = State(mem, syn, spk), syn is not None
    p = Parameters(beta, threshold, graded.to(cur.dtype), alpha, own, weight, bias)
    from_current = kernel != "torch" and weight is None
    shape = (kept_rows(rule, second) if kept and not from_current else 0, *cur.shape)
    rows = native.empty(shape) if kernel == "native" else cur.new_empty(shape)
    trace = trace_of(rows, rule, second) if shape[0] else None
    spikes, last = _FORWARD[kernel](cur, state, p, rule, trace)
    return spikes, _or_empty(last.syn, cur), last.mem, rows


def _or_empty(tensor: Tensor | None, like: Tensor) -> Tensor:
    """Return the tensor, or an empty one: an operator cannot return None."""
    return like.new_empty(0) if tensor is None else tensor


@_forward.register_fake
def _(
    cur: Tensor, mem: Tensor, syn: Tensor | None, *rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    weight, kernel, kept = rest[6], *rest[-2:]
    reset, surrogate, constants, flags = rest[8:12]
    rule = _rule(reset, surrogate, tuple(constants), tuple(flags))
    from_current = kernel != "torch" and weight is None
    rows = kept_rows(rule, syn is not None) if kept and not from_current else 0
    return (
        torch.empty_like(cur),
        cur.new_empty(0) if syn is None else torch.empty_like(syn),
        torch.empty_like(mem),
        cur.new_empty((rows, *cur.shape)),
    )


@operator("snnplug::neurons_backward")
def _backward(
    grad_spk: Tensor,
    grad_syn: Tensor | None,
    grad_mem: Tensor | None,
    cur: Tensor | None,
    trace: Tensor,
    mem: Tensor,
    syn: Tensor | None,
    spk: Tensor | None,
    beta: Tensor,
    threshold: Tensor,
    graded: Tensor,
    alpha: Tensor | None,
    own: Tensor | None,
    weight: Tensor | None,
    reset: str,
    surrogate: str,
    constants: list[float],
    flags: list[bool],
    kernel: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of current, membrane, synaptic current, spikes, parameters and weight.

    Those of the parameters are (alpha, beta, threshold, own, graded) per neuron and sample: they
    are summed over the samples outside, in an order that does not depend on the number of threads.
    """
    rule = _rule(reset, surrogate, tuple(constants), tuple(flags))
    start = State(mem, syn, spk)
    p = Parameters(beta, threshold, graded.to(mem.dtype), alpha, own, weight)
    rows = trace_of(trace, rule, syn is not None) if len(trace) else None
    last = grad_mem, grad_syn
    if kernel == "native":
        found = native_neurons.backward(grad_spk, *last, cur, start, p, rule, rows)
    elif rows is not None:
        found = reference.backward(grad_spk, *last, start, p, rule, rows)
    else:
        assert cur is not None  # noqa: S101  # kept where no rows are
        found = triton_neurons.backward(grad_spk, *last, cur, start, p, rule)
    d_syn, d_spk, d_parameters, d_weight = (
        _or_empty(x, mem)
        for x in (found.state.syn, found.state.spk, found.parameters, found.weight)
    )
    return found.cur, found.state.mem, d_syn, d_spk, d_parameters, d_weight


@_backward.register_fake
def _(
    grad_spk: Tensor,
    grad_syn: Tensor | None,
    grad_mem: Tensor | None,
    cur: Tensor | None,
    trace: Tensor,
    mem: Tensor,
    syn: Tensor | None,
    spk: Tensor | None,
    *rest: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    learned: bool = rest[-2][-1]
    weight: Tensor | None = rest[5]
    return (
        torch.empty_like(grad_spk),
        torch.empty_like(mem),
        mem.new_empty(0) if syn is None else torch.empty_like(syn),
        mem.new_empty(0) if spk is None else torch.empty_like(spk),
        mem.new_empty((5, *mem.shape) if learned else 0),
        mem.new_empty(0) if weight is None else torch.empty_like(weight),
    )


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    cur, *tensors = inputs[:11]
    trace = output[3]
    ctx.save_for_backward(None if len(trace) else cur, trace, *tensors[:-1])
    ctx.constants = inputs[11:16]
    ctx.set_materialize_grads(False)


def _vjp(
    ctx: Any,
    grad_spk: Tensor | None,
    grad_syn: Tensor | None,
    grad_mem: Tensor | None,
    _: Tensor | None,
) -> tuple[Any, ...]:
    cur, trace, mem, syn, spk, beta, threshold, graded, alpha, own, weight = ctx.saved_tensors
    shape = trace.shape[1:]
    grad_spk = mem.new_zeros(shape) if grad_spk is None else grad_spk.contiguous()
    grad_syn, grad_mem = (None if x is None else x.contiguous() for x in (grad_syn, grad_mem))
    tensors = (mem, syn, spk, beta, threshold, graded, alpha, own, weight)
    grad_cur, d_mem, d_syn, d_spk, parameters, d_weight = _backward(
        grad_spk, grad_syn, grad_mem, cur, trace, *tensors, *ctx.constants
    )
    needs = ctx.needs_input_grad

    def summed(row: int, needed: bool) -> Tensor | None:
        return parameters[row].sum(0) if needed else None

    d_graded = summed(4, needs[6])
    return (
        grad_cur,
        d_mem,
        None if syn is None else d_syn,
        None if spk is None else d_spk,
        summed(1, needs[4]),
        summed(2, needs[5]),
        None if d_graded is None else d_graded.sum().to(graded.dtype),
        summed(0, needs[7]),
        summed(3, needs[8]),
        d_weight if needs[9] else None,
        grad_cur.sum((0, 1)) if needs[10] else None,
        *(None for _ in range(6)),
    )


_forward.register_autograd(_vjp, _setup)
