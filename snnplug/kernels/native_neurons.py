"""The native kernels of the neurons: ``native/neurons.cpp`` and ``native/recurrent.cpp``."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from snnplug.kernels import native
from snnplug.kernels.dynamics import RESETS, Parameters, State, native_surrogate
from snnplug.kernels.reference import Gradients, StepRule, Trace, weight_gradient
from snnplug.kernels.spike_linear import weight_gradient_of_bits

# Columns of a panel in native/dense.h.
_PANEL = 64


class _Neurons(ctypes.Structure):
    """``snp::Neurons`` of native/kernels.h."""

    _fields_ = (
        ("steps", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("features", ctypes.c_int64),
        ("reset", ctypes.c_int32),
        ("surrogate", ctypes.c_int32),
        ("attached", ctypes.c_int32),
        ("inclusive", ctypes.c_int32),
        ("immediate", ctypes.c_int32),
        ("learned", ctypes.c_int32),
        ("graded", ctypes.c_float),
        ("constants", ctypes.c_float * 5),
        ("cur", ctypes.c_void_p),
        ("mem0", ctypes.c_void_p),
        ("syn0", ctypes.c_void_p),
        ("spk0", ctypes.c_void_p),
        ("alpha", ctypes.c_void_p),
        ("beta", ctypes.c_void_p),
        ("threshold", ctypes.c_void_p),
        ("own", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
    )


class _Trace(ctypes.Structure):
    """``snp::Trace``."""

    _fields_ = (
        ("potential", ctypes.c_void_p),
        ("mem", ctypes.c_void_p),
        ("syn", ctypes.c_void_p),
        ("pre", ctypes.c_void_p),
    )


class _NeuronsForward(ctypes.Structure):
    """``snp::NeuronsForward``."""

    _fields_ = (
        ("layer", _Neurons),
        ("spk", ctypes.c_void_p),
        ("syn", ctypes.c_void_p),
        ("mem", ctypes.c_void_p),
        ("trace", _Trace),
        ("scratch", ctypes.c_void_p),
    )


class _NeuronsBackward(ctypes.Structure):
    """``snp::NeuronsBackward``."""

    _fields_ = (
        ("layer", _Neurons),
        ("grad_spk", ctypes.c_void_p),
        ("grad_syn", ctypes.c_void_p),
        ("grad_mem", ctypes.c_void_p),
        ("grad_cur", ctypes.c_void_p),
        ("grad_spk0", ctypes.c_void_p),
        ("grad_syn0", ctypes.c_void_p),
        ("grad_mem0", ctypes.c_void_p),
        ("grad_alpha", ctypes.c_void_p),
        ("grad_beta", ctypes.c_void_p),
        ("grad_threshold", ctypes.c_void_p),
        ("grad_own", ctypes.c_void_p),
        ("grad_graded", ctypes.c_void_p),
        ("trace", _Trace),
        ("scratch", ctypes.c_void_p),
        ("bits", ctypes.c_void_p),
    )


def _at(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _layer(
    num_steps: int, cur: Tensor | None, state: State, p: Parameters, rule: StepRule
) -> _Neurons:
    number, constants = native_surrogate(rule.surrogate)
    return _Neurons(
        num_steps,
        state.mem.numel(),
        p.beta.numel(),
        RESETS[rule.reset],
        number,
        rule.attached,
        rule.surrogate.inclusive,
        rule.immediate,
        rule.learned,
        p.graded.item(),
        constants,
        _at(cur),
        state.mem.data_ptr(),
        _at(state.syn),
        _at(state.spk),
        _at(p.alpha),
        p.beta.data_ptr(),
        p.threshold.data_ptr(),
        _at(p.own),
        _at(p.weight),
        _at(p.bias),
    )


def _trace(trace: Trace | None) -> _Trace:
    return _Trace() if trace is None else _Trace(*map(_at, trace))


def _scratch(p: Parameters) -> Tensor | None:
    """Return the memory for the packed recurrent weight."""
    if p.weight is None:
        return None
    features = len(p.weight)
    return native.empty((features * (-(-features // _PANEL) * _PANEL),))


def _call(name: str, args: ctypes.Structure) -> int:
    result: int = getattr(native.library(), name)(ctypes.byref(args), torch.get_num_threads())
    return result


def forward(
    cur: Tensor, state: State, p: Parameters, rule: StepRule, trace: Trace | None
) -> tuple[Tensor, State]:
    """Return the spikes and the state after the last step; all tensors contiguous float32.

    With a dense recurrence ``trace`` is filled, if there is one.
    """
    shape = tuple(state.mem.shape)
    spk, mem = native.empty(tuple(cur.shape)), native.empty(shape)
    syn = None if state.syn is None else native.empty(shape)
    layer, scratch = _layer(len(cur), cur, state, p, rule), _scratch(p)
    args = _NeuronsForward(layer, _at(spk), _at(syn), _at(mem), _trace(trace), _at(scratch))
    _call("snp_neurons_forward" if p.weight is None else "snp_recurrent_forward", args)
    return spk, State(mem, syn)


def backward(
    grad_spk: Tensor,
    grad_mem: Tensor | None,
    grad_syn: Tensor | None,
    cur: Tensor | None,
    start: State,
    p: Parameters,
    rule: StepRule,
    trace: Trace | None,
) -> Gradients:
    """Return the gradients.

    The states of every step come from ``trace`` with a dense recurrence; else they are computed
    again from the current.
    """
    shape = tuple(start.mem.shape)
    grad_cur, mem = native.empty(tuple(grad_spk.shape)), native.empty(shape)
    syn, spk = (None if x is None else native.empty(shape) for x in (start.syn, start.spk))
    parameters = native.empty((5, *shape)) if rule.learned else None
    scratch, bits = _scratch(p), None
    if p.weight is not None:
        rows, words = (len(grad_spk) - 1) * shape[0], -(-shape[1] // 64)
        bits = native.empty((rows, words), torch.int64)
    args = _NeuronsBackward(
        _layer(len(grad_spk), cur, start, p, rule),
        *map(_at, (grad_spk, grad_syn, grad_mem, grad_cur, spk, syn, mem)),
        *([None] * 5 if parameters is None else map(_at, parameters)),
        _trace(trace),
        _at(scratch),
        _at(bits),
    )
    if bits is None or trace is None:
        _call("snp_neurons_backward", args)
        return Gradients(grad_cur, State(mem, syn, spk), parameters, None)
    nonzeros = _call("snp_recurrent_backward", args)
    if parameters is not None:
        parameters[3] = 0  # a dense layer has no weight of a neuron's own
        if syn is None:
            parameters[0] = 0
    weight = weight_gradient_of_bits(grad_cur[1:].flatten(0, 1), bits, shape[1], nonzeros)
    if weight is None or start.spk is None:
        weight = weight_gradient(grad_cur, start, p, rule, trace)
    else:
        weight.mul_(p.graded).addmm_(grad_cur[0].t(), start.spk)
    return Gradients(grad_cur, State(mem, syn, spk), parameters, weight)
