"""The native kernels of the neurons: ``native/neurons.cpp``."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from snnplug.kernels import native
from snnplug.kernels.dynamics import RESETS, Parameters, State, native_surrogate
from snnplug.kernels.reference import Gradients, Rule


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
    )


class _NeuronsForward(ctypes.Structure):
    """``snp::NeuronsForward``."""

    _fields_ = (
        ("layer", _Neurons),
        ("spk", ctypes.c_void_p),
        ("syn", ctypes.c_void_p),
        ("mem", ctypes.c_void_p),
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
    )


def _at(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _layer(cur: Tensor, state: State, p: Parameters, rule: Rule) -> _Neurons:
    number, constants = native_surrogate(rule.surrogate.kind, list(rule.surrogate.parameters()))
    return _Neurons(
        cur.shape[0],
        state.mem.numel(),
        p.beta.numel(),
        RESETS[rule.reset],
        number,
        rule.attached,
        rule.surrogate.inclusive,
        rule.immediate,
        rule.learned,
        p.graded.item(),
        (ctypes.c_float * len(constants))(*constants),
        cur.data_ptr(),
        state.mem.data_ptr(),
        _at(state.syn),
        _at(state.spk),
        _at(p.alpha),
        p.beta.data_ptr(),
        p.threshold.data_ptr(),
        _at(p.own),
        _at(p.weight),
    )


def _call(name: str, args: ctypes.Structure) -> None:
    getattr(native.library(), name)(ctypes.byref(args), torch.get_num_threads())


def forward(cur: Tensor, state: State, p: Parameters, rule: Rule) -> tuple[Tensor, State]:
    """Return the spikes and the state after the last step; all tensors contiguous float32."""
    shape = tuple(state.mem.shape)
    spk, mem = native.empty(tuple(cur.shape)), native.empty(shape)
    syn = None if state.syn is None else native.empty(shape)
    layer = _layer(cur, state, p, rule)
    _call("snp_neurons_forward", _NeuronsForward(layer, _at(spk), _at(syn), _at(mem)))
    return spk, State(mem, syn)


def backward(
    grad_spk: Tensor, grads: State, cur: Tensor, start: State, p: Parameters, rule: Rule
) -> Gradients:
    """Return the gradients; the states of every step are computed again from the current."""
    shape = tuple(start.mem.shape)
    grad_cur, mem = native.empty(tuple(cur.shape)), native.empty(shape)
    syn, spk = (None if x is None else native.empty(shape) for x in (start.syn, start.spk))
    parameters = native.empty((5, *shape)) if rule.learned else None
    args = _NeuronsBackward(
        _layer(cur, start, p, rule),
        *map(_at, (grad_spk, grads.syn, grads.mem, grad_cur, spk, syn, mem)),
        *(() if parameters is None else map(_at, parameters)),
    )
    _call("snp_neurons_backward", args)
    return Gradients(grad_cur, State(mem, syn, spk), parameters, None)
