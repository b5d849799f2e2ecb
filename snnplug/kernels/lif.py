r"""Leaky integrate-and-fire over a sequence: the operator of the first-order neurons.

.. math::
    u[t] &= \beta\, u[t-1] + I[t] - \theta\, r[t] &&\text{reset "subtract"} \\
    u[t] &= \beta\, (1 - r[t])\, u[t-1] + I[t] &&\text{reset "zero"} \\
    u[t] &= \beta\, u[t-1] + I[t] &&\text{reset "none"}

with :math:`r[t] = \mathbb{1}[u[t-1] > \theta]` and spikes :math:`a\, \mathbb{1}[u[t] > \theta]`.

Two implementations give the same numbers: the reference, in torch with autograd's backward, and the
native kernel, which keeps only the current for its backward pass and computes the membranes again.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from math import pi
from typing import Any

import torch
from torch import Tensor

from snnplug.kernels import native
from snnplug.surrogate import Surrogate

RESETS = ("subtract", "zero", "none")


@dataclass(frozen=True)
class Dynamics:
    """What does not change between calls.

    Attributes:
        reset: ``"subtract"``, ``"zero"`` or ``"none"``.
        spike_grad: The spike function: one of snnplug's surrogates, or any other.
        detach_reset: Let no gradient through the reset.
        reset_delay: A spike resets the membrane in the next step; False: in its own.
    """

    reset: str
    spike_grad: Callable[[Tensor], Tensor]
    detach_reset: bool = True
    reset_delay: bool = True


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
        dynamics: Reset and surrogate.

    Returns:
        Spikes ``(T, B, *features)``, and the membrane after the last step.
    """
    kind = native_kind(dynamics.spike_grad)
    features = cur.shape[2:]
    beta, threshold = (p.to(cur.dtype).expand(features).contiguous() for p in (beta, threshold))
    if kind is None or not _is_native(cur):
        return lif_reference(cur, mem, beta, threshold, graded, dynamics)
    number, first, second = kind
    spk, last = _forward(
        cur.contiguous(),
        mem.contiguous(),
        beta,
        threshold,
        graded,
        RESETS.index(dynamics.reset),
        number,
        first,
        second,
        not dynamics.detach_reset,
        bool(getattr(dynamics.spike_grad, "inclusive", False)),
        not dynamics.reset_delay,
    )
    return spk, last


#: Number of a surrogate in native/kernels.h, and the constants of its derivative there.
_NATIVE: dict[str, tuple[int, Callable[..., tuple[float, float]]]] = {
    "hard_fire": (0, lambda width: (width, 0.5 / width)),
    "rectangular": (0, lambda width: (width / 2, 1 / width)),
    "straight_through": (1, lambda: (0.0, 0.0)),
    "atan": (2, lambda alpha: (alpha / 2, pi / 2 * alpha)),
    "fast_sigmoid": (3, lambda slope: (slope, 0.0)),
    "sparse_fast_sigmoid": (4, lambda slope, cutoff: (slope, cutoff)),
    "triangular": (5, lambda height, width: (height, width)),
}


def native_kind(spike_grad: object) -> tuple[int, float, float] | None:
    """Return number and constants of a surrogate's derivative, if the native kernel knows it."""
    if not isinstance(spike_grad, Surrogate) or spike_grad.kind not in _NATIVE:
        return None
    number, constants = _NATIVE[spike_grad.kind]
    first, second = constants(*spike_grad.parameters())
    return number, first, second


def _is_native(cur: Tensor) -> bool:
    """Whether the native kernel can and should take this call."""
    return (
        cur.device.type == "cpu"
        and cur.dtype == torch.float32
        and cur.numel() > 0
        and not torch.compiler.is_exporting()
        and not torch._C._are_functorch_transforms_active()
        and native.library() is not None
    )


def lif_reference(
    cur: Tensor, mem: Tensor, beta: Tensor, threshold: Tensor, graded: Tensor, dynamics: Dynamics
) -> tuple[Tensor, Tensor]:
    """Do what :func:`lif` does in elementary operations, with autograd's own backward."""
    mode, graded = dynamics.reset, graded.to(cur.dtype)

    def fire(shifted: Tensor) -> Tensor:  # snnTorch's functions give float32 only
        return dynamics.spike_grad(shifted).to(shifted.dtype)

    immediate = not dynamics.reset_delay and mode != "none"
    spikes = []
    fired: Tensor | None = None
    for now in cur.unbind(0):
        # Where the membrane is above the threshold now: the spikes, unless it moved after them.
        fired = fire(mem - threshold) if fired is None and mode != "none" else fired
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
        fired = None if immediate else spk
        spikes.append(spk * graded)
    return torch.stack(spikes), mem


class _Lif(ctypes.Structure):
    """``snp::Lif`` of native/kernels.h."""

    _fields_ = (
        ("steps", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("features", ctypes.c_int64),
        ("reset", ctypes.c_int32),
        ("surrogate", ctypes.c_int32),
        ("attached", ctypes.c_int32),
        ("inclusive", ctypes.c_int32),
        ("immediate", ctypes.c_int32),
        ("graded", ctypes.c_float),
        ("p0", ctypes.c_float),
        ("p1", ctypes.c_float),
        ("cur", ctypes.c_void_p),
        ("mem0", ctypes.c_void_p),
        ("beta", ctypes.c_void_p),
        ("threshold", ctypes.c_void_p),
    )


class _LifForward(ctypes.Structure):
    """``snp::LifForward``."""

    _fields_ = (("lif", _Lif), ("spk", ctypes.c_void_p), ("mem", ctypes.c_void_p))


class _LifBackward(ctypes.Structure):
    """``snp::LifBackward``."""

    _fields_ = (
        ("lif", _Lif),
        ("grad_spk", ctypes.c_void_p),
        ("grad_mem", ctypes.c_void_p),
        ("grad_cur", ctypes.c_void_p),
        ("grad_mem0", ctypes.c_void_p),
        ("grad_beta", ctypes.c_void_p),
        ("grad_threshold", ctypes.c_void_p),
        ("grad_graded", ctypes.c_void_p),
    )


def _lif(
    cur: Tensor,
    mem: Tensor,
    beta: Tensor,
    threshold: Tensor,
    graded: Tensor,
    reset: int,
    surrogate: int,
    p0: float,
    p1: float,
    attached: bool,
    inclusive: bool,
    immediate: bool,
) -> _Lif:
    return _Lif(
        cur.shape[0],
        mem.numel(),
        beta.numel(),
        reset,
        surrogate,
        attached,
        inclusive,
        immediate,
        graded.item(),
        p0,
        p1,
        cur.data_ptr(),
        mem.data_ptr(),
        beta.data_ptr(),
        threshold.data_ptr(),
    )


@torch.library.custom_op("snnplug::lif", mutates_args=())
def _forward(
    cur: Tensor,
    mem: Tensor,
    beta: Tensor,
    threshold: Tensor,
    graded: Tensor,
    reset: int,
    surrogate: int,
    p0: float,
    p1: float,
    attached: bool,
    inclusive: bool,
    immediate: bool,
) -> tuple[Tensor, Tensor]:
    flags = (attached, inclusive, immediate)
    spk, last = native.empty(tuple(cur.shape)), native.empty(tuple(mem.shape))
    args = _LifForward(
        _lif(cur, mem, beta, threshold, graded, reset, surrogate, p0, p1, *flags),
        spk.data_ptr(),
        last.data_ptr(),
    )
    _call("snp_lif_forward", args)
    return spk, last


@_forward.register_fake
def _(
    cur: Tensor, mem: Tensor, beta: Tensor, threshold: Tensor, graded: Tensor, *rest: Any
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(cur), torch.empty_like(mem)


@torch.library.custom_op("snnplug::lif_backward", mutates_args=())
def _backward(
    grad_spk: Tensor,
    grad_mem: Tensor,
    cur: Tensor,
    mem: Tensor,
    beta: Tensor,
    threshold: Tensor,
    graded: Tensor,
    reset: int,
    surrogate: int,
    p0: float,
    p1: float,
    attached: bool,
    inclusive: bool,
    immediate: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    grad_cur, grad_mem0 = native.empty(tuple(cur.shape)), native.empty(tuple(mem.shape))
    # Gradients of beta, threshold and height per neuron and sample: summed over samples outside, in
    # an order that does not depend on the number of threads.
    parameters = native.empty((3, *mem.shape))
    flags = (attached, inclusive, immediate)
    args = _LifBackward(
        _lif(cur, mem, beta, threshold, graded, reset, surrogate, p0, p1, *flags),
        grad_spk.data_ptr(),
        grad_mem.data_ptr(),
        grad_cur.data_ptr(),
        grad_mem0.data_ptr(),
        *(row.data_ptr() for row in parameters),
    )
    _call("snp_lif_backward", args)
    return grad_cur, grad_mem0, parameters


@_backward.register_fake
def _(
    grad_spk: Tensor, grad_mem: Tensor, cur: Tensor, mem: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(cur), torch.empty_like(mem), mem.new_empty((3, *mem.shape))


def _call(name: str, args: ctypes.Structure) -> None:
    lib = native.library()
    getattr(lib, name)(ctypes.byref(args), torch.get_num_threads())


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:5])
    ctx.constants = inputs[5:]


def _vjp(ctx: Any, grad_spk: Tensor | None, grad_mem: Tensor | None) -> tuple[Any, ...]:
    cur, mem, beta, threshold, graded = ctx.saved_tensors
    grad_spk = torch.zeros_like(cur) if grad_spk is None else grad_spk.contiguous()
    grad_mem = torch.zeros_like(mem) if grad_mem is None else grad_mem.contiguous()
    grad_cur, grad_mem0, parameters = _backward(
        grad_spk, grad_mem, cur, mem, beta, threshold, graded, *ctx.constants
    )
    _, _, needs_beta, needs_threshold, needs_graded = ctx.needs_input_grad[:5]
    return (
        grad_cur,
        grad_mem0,
        parameters[0].sum(0) if needs_beta else None,
        parameters[1].sum(0) if needs_threshold else None,
        parameters[2].sum().to(graded.dtype) if needs_graded else None,
        *(None for _ in ctx.constants),
    )


torch.library.register_autograd("snnplug::lif", _vjp, setup_context=_setup)
