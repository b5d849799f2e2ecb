"""The native kernels of spike trains: ``native/spike_train.cpp``."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from snnplug.kernels import native

if TYPE_CHECKING:
    from snnplug.kernels.spike_train import SpikeTrainDynamics, State
    from snnplug.kernels.trains import SpikeTrains

# Columns of a panel in native/dense.h, and values of a word of bits.
_PANEL = _WORD = 64


class _SpikeTrain(ctypes.Structure):
    """``snp::SpikeTrain`` of native/kernels.h."""

    _fields_ = (
        ("steps", ctypes.c_int64),
        ("batch", ctypes.c_int64),
        ("features", ctypes.c_int64),
        ("refractory", ctypes.c_int32),
        ("decay_mem", ctypes.c_float),
        ("decay_syn", ctypes.c_float),
        ("gain", ctypes.c_float),
        ("limit", ctypes.c_float),
        ("inhibition", ctypes.c_float),
        ("cur", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("scratch", ctypes.c_void_p),
        ("syn", ctypes.c_void_p),
        ("mem", ctypes.c_void_p),
        ("rest", ctypes.c_void_p),
        ("last", ctypes.c_void_p),
        ("counts", ctypes.c_void_p),
        ("potential", ctypes.c_void_p),
        ("spk", ctypes.c_void_p),
    )


class _SpikeTrainAdjoint(ctypes.Structure):
    """``snp::SpikeTrainAdjoint``."""

    _fields_ = (
        ("first", ctypes.c_int64),
        ("last", ctypes.c_int64),
        ("batch", ctypes.c_int64),
        ("features", ctypes.c_int64),
        ("refractory", ctypes.c_int32),
        ("decay_mem", ctypes.c_float),
        ("decay_syn", ctypes.c_float),
        ("gain", ctypes.c_float),
        ("bits", ctypes.c_void_p),
        ("r", ctypes.c_void_p),
        ("q", ctypes.c_void_p),
        ("output", ctypes.c_void_p),
    )


class _SpikeProduct(ctypes.Structure):
    """``snp::SpikeProduct``."""

    _fields_ = (
        ("steps", ctypes.c_int64),
        ("batch", ctypes.c_int64),
        ("features", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("bits", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("output", ctypes.c_void_p),
    )


def advance(
    cur: Tensor, state: State, dynamics: SpikeTrainDynamics, weight: Tensor | None, spk: Tensor
) -> None:
    """Do what :func:`snnplug.kernels.spike_train.advance` does; contiguous float32."""
    steps, batch, features = cur.shape
    scratch = None
    if weight is not None:
        weight = weight.contiguous()
        scratch = native.empty((features * -(-features // _PANEL) * _PANEL,))
    args = _SpikeTrain(
        steps,
        batch,
        features,
        dynamics.refractory_steps,
        dynamics.decay_mem,
        dynamics.decay_syn,
        1 / dynamics.tau_syn_steps,
        dynamics.limit,
        dynamics.inhibition,
        cur.data_ptr(),
        None if weight is None else weight.data_ptr(),
        None if scratch is None else scratch.data_ptr(),
        *(x.data_ptr() for x in state),
        spk.data_ptr(),
    )
    _call("snp_spike_train_forward", ctypes.byref(args))


def adjoint(
    trains: SpikeTrains, part: range, after: tuple[Tensor, Tensor], dynamics: SpikeTrainDynamics
) -> Tensor:
    """Do what :func:`snnplug.kernels.spike_train.adjoint` does, from bits."""
    _, batch, features = trains.shape
    out = native.empty((len(part), batch, features))
    args = _SpikeTrainAdjoint(
        part.start,
        part.stop,
        batch,
        features,
        dynamics.refractory_steps,
        dynamics.decay_mem,
        dynamics.decay_syn,
        1 / dynamics.tau_syn_steps,
        None if trains.words is None else trains.words.data_ptr(),
        *(x.data_ptr() for x in after),
        out.data_ptr(),
    )
    _call("snp_spike_train_adjoint", ctypes.byref(args))
    return out


def bits_of(x: Tensor) -> tuple[Tensor, int, bool]:
    """Return a bit per value of ``x (rows, features)``, how many are set, and if one is not 1."""
    rows, features = x.shape
    bits = torch.empty(rows, -(-features // _WORD), dtype=torch.int64)
    graded = ctypes.c_int32()
    ones = _call(
        "snp_spike_bits",
        x.data_ptr(),
        rows,
        features,
        x.numel(),
        bits.data_ptr(),
        ctypes.addressof(graded),
    )
    return bits, ones, bool(graded.value)


def rows_of_bits(bits: Tensor, features: int) -> Tensor:
    """Return the values of bits, ``(rows, features)``."""
    out = native.empty((len(bits), features))
    _call("snp_spike_rows", bits.data_ptr(), len(bits), features, out.data_ptr())
    return out


def sum_at_bits(bits: Tensor, y: Tensor | None, shape: torch.Size) -> Tensor:
    """Return the sum over time of ``y (T, B, N)``, or of ones, where a bit is set: ``(B, N)``."""
    steps, batch, features = shape
    out = torch.zeros(batch, features)
    where = None if y is None else y.data_ptr()
    _call("snp_sum_at_spikes", bits.data_ptr(), where, steps, batch, features, out.data_ptr())
    return out


def outer_at_bits(bits: Tensor, y: Tensor, shape: torch.Size) -> Tensor:
    """Return the sum over time of ``y (T, B, M)`` times bits ``shape (T, B, N)``: ``(B, M, N)``."""
    steps, batch, features = shape
    columns = y.shape[-1]
    out = torch.zeros(batch, features, columns)
    args = _SpikeProduct(
        steps, batch, features, columns, bits.data_ptr(), y.data_ptr(), None, out.data_ptr()
    )
    _call("snp_outer_at_spikes", ctypes.byref(args))
    return out.transpose(1, 2)


def product_at_bits(bits: Tensor, y: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
    """Return the sum over time of ``y (T, B, M) @ weight (M, N)`` at the bits: ``(B, N)``."""
    steps, batch, features = shape
    out, weight = torch.zeros(batch, features), weight.contiguous()
    pointers = (bits.data_ptr(), y.data_ptr(), weight.data_ptr(), out.data_ptr())
    args = _SpikeProduct(steps, batch, features, y.shape[-1], *pointers)
    _call("snp_product_at_spikes", ctypes.byref(args))
    return out


def _call(name: str, *args: object) -> int:
    result: int = getattr(native.library(), name)(*args, torch.get_num_threads())
    return result
