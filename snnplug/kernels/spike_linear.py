r"""A linear map that skips the zeros of its input: spikes are rare, and only they need work.

.. math::
    y_{r} = b + \sum_{j:\, x_{rj} \ne 0} x_{rj}\, W_{\cdot j},
    \qquad
    \frac{\partial L}{\partial W_{\cdot j}} = \sum_{r:\, x_{rj} \ne 0} x_{rj}\, g_{r}

One read of the input finds its density; above the limit the dense product is taken. The two differ
in the order of summation, and where a zero meets an infinite or undefined weight: the dense product
makes it NaN, here zeros count as nothing.

Milliseconds of the forward kernel, 3200 rows of ones and zeros, one thread of an EPYC (Zen 4); the
gradient of the weight takes as long:

============== ======= ======= ======= ======= ======= =======
in -> out        dense     1 %    10 %    20 %    30 %    50 %
============== ======= ======= ======= ======= ======= =======
784 -> 1000       50.6     3.7    10.1    16.0    20.8    31.5
2312 -> 512       83.3     5.8    16.2    23.6    32.2    47.9
256 -> 256         4.6     0.5     1.2     1.6     2.2     3.2
============== ======= ======= ======= ======= ======= =======

A processor whose dense product is twice as fast, as some are, breaks even near 45 %; the limit of
30 % leaves it ahead too. Columns go in tiles of 64, so the limit shrinks with the part of the tiles
that is used: 784 -> 32 breaks even at 20 %.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from snnplug.kernels import execution, native, seen_bits
from snnplug.kernels.dense_linear import dense_linear, product
from snnplug.kernels.operator import operator

_LIMIT = 0.3
_TILE = 64
# Transposing the weight takes as long as about 16 rows of the dense product.
_FEWEST_ROWS = 128
_FEWEST_FEATURES = 64
_FEWEST_COLUMNS = 32
# Below this many products the overhead of the call shows.
_LEAST_WORK = 1 << 26

_DENSE, _GRADED, _BINARY = 0, 1, 2


def spike_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``torch.nn.functional.linear(x, weight, bias)``, sooner if ``x`` is mostly zero.

    Gradients reach all three; that of ``weight`` skips the zeros too. Spikes of height 1 are kept
    for the backward pass as one bit each.

    Args:
        x: Any values, ``(..., in_features)``.
        weight: ``(out_features, in_features)``.
        bias: ``(out_features,)``.

    Returns:
        ``(..., out_features)``. A zero of ``x`` adds nothing, even where the weight is not finite.
    """
    # What traces the elementary operations gets no condition on the number of rows.
    if not execution.fused() or not _is_native(x, weight, bias):
        return dense_linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    if not torch.compiler.is_compiling() and _looks_dense(rows, weight.shape[0]):
        return dense_linear(x, weight, bias)
    bias = None if bias is None else bias.contiguous()
    out, bits, done = _forward(rows, weight.contiguous(), bias)
    if seen_bits.is_wanted():
        kind, nonzeros = done.tolist()
        seen_bits.remember(rows, None if kind == _DENSE else bits, kind == _BINARY, nonzeros)
    product: Tensor = out.view(*x.shape[:-1], weight.shape[0])
    return product


def _is_native(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether the native kernel can take this call, and may be faster."""
    return (
        weight.dim() == 2
        and x.dim() >= 2
        and x.shape[-1] == weight.shape[1]
        and (bias is None or bias.shape == weight.shape[:1])
        and _may_pay(x.numel() // max(x.shape[-1], 1), *weight.shape[::-1])
        and native.takes(x, weight, *(() if bias is None else (bias,)))
    )


def _may_pay(rows: int, features: int, columns: int) -> bool:
    """Whether a sparse product of this size can be faster than the dense one."""
    return (
        rows >= _FEWEST_ROWS
        and features >= _FEWEST_FEATURES
        and columns >= _FEWEST_COLUMNS
        and rows * features * columns >= _LEAST_WORK
        and rows * features < 1 << 31  # the kernel's offsets are 32-bit
    )


def _most_nonzeros(rows: int, features: int, columns: int) -> int:
    """Return up to how many values that are not zero the sparse product is taken."""
    tiles = -(-columns // _TILE)
    return int(_LIMIT * columns / (tiles * _TILE) * rows * features)


def _looks_dense(x: Tensor, columns: int) -> bool:
    """Whether a few rows tell that the dense product will be taken: then without the operator."""
    rows, features = x.shape
    most = _most_nonzeros(rows, features, columns)
    return _call("snp_spike_bits", x.data_ptr(), rows, features, most, None, None, 1) < 0


class _SpikeLinear(ctypes.Structure):
    """``snp::SpikeLinear`` of native/kernels.h."""

    _fields_ = (
        ("rows", ctypes.c_int64),
        ("features", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("nonzeros", ctypes.c_int64),
        ("bits", ctypes.c_void_p),
        ("x", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("grad", ctypes.c_void_p),
        ("output", ctypes.c_void_p),
        ("scratch", ctypes.c_void_p),
    )


def _scratch(rows: int, features: int, columns: int, nonzeros: int) -> Tensor:
    """Return the memory that a kernel works in.

    Few sizes, so that the pool has the right one ready at the next call.
    """
    most, threads = _most_nonzeros(rows, features, columns), torch.get_num_threads()
    held = min(most, 1 << nonzeros.bit_length())
    return native.empty((-(-_call("snp_spike_scratch", rows, features, held, threads) // 4),))


def _call(name: str, *args: Any) -> int:
    result: int = getattr(native.library(), name)(*args)
    return result


@operator("snnplug::spike_linear")
def _forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return the product, a bit per value of x (64 to a word), and what was done.

    That is one of ``_DENSE``, ``_GRADED`` and ``_BINARY``, and the number of values not zero; the
    bits are zero after a dense product.
    """
    (rows, features), columns = x.shape, weight.shape[0]
    threads = torch.get_num_threads()
    out = native.empty((rows, columns))
    bits = native.empty((rows, -(-features // 64)), torch.int64)
    graded = ctypes.c_int32()
    nonzeros = _call(
        "snp_spike_bits",
        x.data_ptr(),
        rows,
        features,
        _most_nonzeros(rows, features, columns),
        bits.data_ptr(),
        ctypes.addressof(graded),
        threads,
    )
    if nonzeros < 0:
        if bias is None:
            torch.mm(x, weight.t(), out=out)
        else:
            torch.addmm(bias, x, weight.t(), out=out)
        return out, bits.zero_(), torch.tensor([_DENSE, 0])
    scratch = _scratch(rows, features, columns, nonzeros)
    args = _SpikeLinear(
        rows,
        features,
        columns,
        nonzeros,
        bits.data_ptr(),
        x.data_ptr() if graded.value else None,
        weight.data_ptr(),
        None if bias is None else bias.data_ptr(),
        None,
        out.data_ptr(),
        scratch.data_ptr(),
    )
    _call("snp_spike_linear_forward", ctypes.byref(args), threads)
    return out, bits, torch.tensor([_GRADED if graded.value else _BINARY, nonzeros])


@_forward.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    rows, features = x.shape
    return (
        x.new_empty((rows, weight.shape[0])),
        x.new_empty((rows, (features + 63) // 64), dtype=torch.int64),
        x.new_empty((2,), dtype=torch.int64),
    )


@operator("snnplug::spike_linear_weight")
def _weight_grad(grad: Tensor, x: Tensor, bits: Tensor, done: Tensor, features: int) -> Tensor:
    """Return the gradient of the weight; x may be empty if ``done`` says ``_BINARY``."""
    rows, columns = grad.shape
    threads = torch.get_num_threads()
    out = native.empty((columns, features))
    kind, nonzeros = done.tolist()
    if kind == _DENSE:
        return torch.mm(grad.t(), x, out=out)
    scratch = _scratch(rows, features, columns, nonzeros)
    args = _SpikeLinear(
        rows,
        features,
        columns,
        nonzeros,
        bits.data_ptr(),
        x.data_ptr() if kind == _GRADED else None,
        None,
        None,
        grad.data_ptr(),
        out.data_ptr(),
        scratch.data_ptr(),
    )
    _call("snp_spike_linear_backward", ctypes.byref(args), threads)
    return out


@_weight_grad.register_fake
def _(grad: Tensor, x: Tensor, bits: Tensor, done: Tensor, features: int) -> Tensor:
    return grad.new_empty((grad.shape[1], features))


def weight_gradient_of_bits(
    grad: Tensor, bits: Tensor, features: int, nonzeros: int, large_only: bool = True
) -> Tensor | None:
    """Return the gradient of a weight that multiplied ones and zeros; None where dense is quicker.

    Args:
        grad: Of the product, ``(rows, columns)``, contiguous float32.
        bits: 64 values to a word, ``(rows, words)``.
        features: Values in a row.
        nonzeros: How many of them are 1 in all.
        large_only: Leave small products to the dense one, for a caller that has the values.
    """
    rows, columns = grad.shape
    if large_only and not _may_pay(rows, features, columns):
        return None
    if not _is_sparse(rows, features, columns, nonzeros):
        return None
    done = torch.tensor([_BINARY, nonzeros])
    weight: Tensor = _weight_grad(grad, grad.new_empty(0), bits, done, features)
    return weight


def product_of_bits(bits: Tensor, features: int, nonzeros: int, weight: Tensor) -> Tensor | None:
    """Return ones and zeros times the transposed weight; None where the dense product is quicker.

    Args:
        bits: 64 values to a word, ``(rows, words)``.
        features: Values in a row.
        nonzeros: How many of them are 1 in all.
        weight: ``(columns, features)``, contiguous float32.
    """
    rows, columns = len(bits), len(weight)
    if not _is_sparse(rows, features, columns, nonzeros):
        return None
    out, scratch = native.empty((rows, columns)), _scratch(rows, features, columns, nonzeros)
    pointers = (bits.data_ptr(), None, weight.data_ptr(), None, None)
    args = _SpikeLinear(
        rows, features, columns, nonzeros, *pointers, out.data_ptr(), scratch.data_ptr()
    )
    _call("snp_spike_linear_forward", ctypes.byref(args), torch.get_num_threads())
    return out


def _is_sparse(rows: int, features: int, columns: int, nonzeros: int) -> bool:
    """Whether the kernels can take the product, and are quicker than the dense one."""
    within = rows * features < 1 << 31
    return within and nonzeros <= _most_nonzeros(rows, features, columns)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, weight, _ = inputs
    _, bits, done = output
    # A compiler sees no values here: it keeps the input whatever it holds.
    known = type(done) is Tensor
    kept = x.new_empty(0) if known and done[0].item() == _BINARY else x
    ctx.save_for_backward(kept, bits, done, weight)
    ctx.set_materialize_grads(False)
    ctx.features = x.shape[1]


def _vjp(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    x, bits, done, weight = ctx.saved_tensors
    needs_x, needs_weight, needs_bias = ctx.needs_input_grad
    grad = grad.contiguous()
    return (
        product(grad, weight) if needs_x else None,
        _weight_grad(grad, x, bits, done, ctx.features) if needs_weight else None,
        grad.sum(0) if needs_bias else None,
    )


_forward.register_autograd(_vjp, _setup)
