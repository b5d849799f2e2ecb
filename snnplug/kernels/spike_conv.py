r"""A 2-d convolution that skips the zeros of its input, forward and in the gradient of its weight.

Each value that is not zero adds its kernel to the outputs that it reaches:

.. math::
    y_{o, q(p, k)} \mathrel{+}= x_{p}\, W_{o, k},
    \qquad
    \frac{\partial L}{\partial W_{o, k}} = \sum_{p:\, x_p \ne 0} x_p\, g_{o, q(p, k)}

where :math:`q(p, k)` is the output that the input :math:`p` reaches through the tap :math:`k`. One
read of the input finds its density; above the limit the dense convolution is taken. The two differ
in the order of summation, and where a zero meets an infinite or undefined weight: the dense
convolution makes it NaN, here zeros count as nothing. The gradient of the input is always dense.
Sums are the same bits for any number of threads.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_input, conv2d_weight

from snnplug.kernels import execution, native, seen_bits
from snnplug.kernels.operator import operator

# One thread of an EPYC (Zen 4), forward and backward: a kernel of 3 x 3 breaks even near 30 %, of
# 5 x 5 above 40 %, of one pixel, where finding a spike costs as much as using it, near 6 %.
_LIMIT = 0.25
_LIMIT_OF_ONE_TAP = 0.05
_LANES = 16
# Below this many products the overhead of the call shows.
_LEAST_WORK = 1 << 26

_DENSE, _GRADED, _BINARY = 0, 1, 2


def spike_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> Tensor:
    """Return ``torch.nn.functional.conv2d`` of the same, sooner if ``x`` is mostly zero.

    Gradients reach ``x``, ``weight`` and ``bias``; that of ``weight`` skips the zeros too. Spikes
    of height 1 are kept for the backward pass as one bit each.

    Args:
        x: Any values, ``(N, in_channels, height, width)``.
        weight: ``(out_channels, in_channels / groups, kernel height, kernel width)``.
        bias: ``(out_channels,)``.
        stride: Step of the kernel, in pixels down and across.
        padding: Zeros put around the image, in pixels above and left (and as many opposite).
        dilation: Distance of neighbouring taps, in pixels down and across.
        groups: How many parts the channels fall into.

    Returns:
        ``(N, out_channels, height, width)``. A zero of ``x`` adds nothing, even where the weight is
        not finite.
    """
    if (
        not execution.fused()
        or _is_tiny(x, weight)
        or not _is_native(x, weight, bias, stride, padding, dilation, groups)
    ):
        return functional.conv2d(x, weight, bias, stride, padding, dilation, groups)
    x = x.contiguous()
    if not torch.compiler.is_compiling() and _looks_dense(x, _most_nonzeros(x, weight, groups)):
        return functional.conv2d(x, weight, bias, stride, padding, dilation, groups)
    bias = None if bias is None else bias.contiguous()
    result: tuple[Tensor, ...] = _forward(
        x, weight.contiguous(), bias, stride, padding, dilation, groups
    )
    out, bits, done = result
    if seen_bits.is_wanted():
        kind = done.item()
        seen_bits.remember(x, None if kind == _DENSE else bits, kind == _BINARY)
    return out


def _is_tiny(x: Tensor, weight: Tensor) -> bool:
    """Whether this is too small for another look at it: that alone would show in the time."""
    return x.numel() * weight.numel() < _LEAST_WORK


def _is_native(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> bool:
    """Whether the native kernel can take this call, and may be faster."""
    return (
        x.dim() == weight.dim() == 4
        and x.shape[1] == weight.shape[1] * groups
        and weight.shape[0] % groups == 0
        and (bias is None or bias.shape == weight.shape[:1])
        and min(stride) > 0
        and min(padding) >= 0
        and min(dilation) > 0
        and min(_out_size(x.shape, weight.shape, stride, padding, dilation)) > 0
        and _may_pay(x, weight, _out_size(x.shape, weight.shape, stride, padding, dilation))
        and native.takes(x, weight, *(() if bias is None else (bias,)))
    )


def _out_size(
    image: Sequence[int],
    weight: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> tuple[int, int]:
    """Return the height and width of the output."""
    height, width = (
        (image[2 + axis] + 2 * padding[axis] - dilation[axis] * (weight[2 + axis] - 1) - 1)
        // stride[axis]
        + 1
        for axis in (0, 1)
    )
    return height, width


def _may_pay(x: Tensor, weight: Tensor, out_size: tuple[int, int]) -> bool:
    """Whether a sparse convolution of this size can be faster than the dense one."""
    work = x.shape[0] * weight.numel() * out_size[0] * out_size[1]
    return work >= _LEAST_WORK and x.numel() > 0


def _most_nonzeros(x: Tensor, weight: Tensor, groups: int) -> int:
    """Return up to how many values that are not zero the sparse way is taken.

    Channels of a group are padded to whole vectors; the limit shrinks with the part that is used.
    """
    channels = weight.shape[0] // groups
    padded = -(-channels // _LANES) * _LANES
    limit = _LIMIT_OF_ONE_TAP if weight.shape[2] * weight.shape[3] == 1 else _LIMIT
    return int(limit * channels / padded * x.numel())


def _looks_dense(x: Tensor, most: int) -> bool:
    """Whether a few images tell that the dense one will be taken: then without the operator."""
    features = x.numel() // x.shape[0]
    return _call("snp_spike_bits", x.data_ptr(), x.shape[0], features, most, None, None, 1) < 0


_Pair = ctypes.c_int64 * 2


class _SpikeConv(ctypes.Structure):
    """``snp::SpikeConv`` of native/kernels.h."""

    _fields_ = (
        ("batch", ctypes.c_int64),
        ("groups", ctypes.c_int64),
        ("in_channels", ctypes.c_int64),
        ("out_channels", ctypes.c_int64),
        ("in_size", _Pair),
        ("out_size", _Pair),
        ("kernel", _Pair),
        ("stride", _Pair),
        ("padding", _Pair),
        ("dilation", _Pair),
        ("bits", ctypes.c_void_p),
        ("x", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("grad", ctypes.c_void_p),
        ("output", ctypes.c_void_p),
        ("scratch", ctypes.c_void_p),
    )


def _call(name: str, *args: Any) -> int:
    result: int = getattr(native.library(), name)(*args)
    return result


def _run(
    name: str,
    shape: Sequence[int],
    weight: Sequence[int],
    geometry: tuple[Sequence[int], Sequence[int], Sequence[int], int],
    /,
    **arrays: Tensor | None,
) -> None:
    """Call a kernel on an input and a weight of these shapes, and on arrays by the field's name."""
    args = _arguments(shape, weight, geometry, _out_size(shape, weight, *geometry[:3]), arrays)
    threads = torch.get_num_threads()
    size = _call("snp_spike_conv_scratch", ctypes.byref(args), threads)
    scratch = native.empty((-(-size // 4),))
    args.scratch = scratch.data_ptr()
    _call(name, ctypes.byref(args), threads)


def _arguments(
    shape: Sequence[int],
    weight: Sequence[int],
    geometry: Sequence[Any],
    out_size: Sequence[int],
    arrays: Mapping[str, Tensor | None],
) -> _SpikeConv:
    """Return what the kernel takes, but for the scratch memory."""
    stride, padding, dilation, groups = geometry
    return _SpikeConv(
        shape[0],
        groups,
        weight[1],
        weight[0] // groups,
        _Pair(*shape[2:]),
        _Pair(*out_size),
        _Pair(*weight[2:]),
        _Pair(*stride),
        _Pair(*padding),
        _Pair(*dilation),
        **{key: array.data_ptr() for key, array in arrays.items() if array is not None},
    )


def _bits(x: Tensor, most: int) -> tuple[int, Tensor, bool]:
    """Return how many values are not zero, a bit for each value, and whether one is not 0 or 1.

    The number is negative, and the rest without meaning, if it is more than ``most``.
    """
    features = x.numel() // x.shape[0]
    bits = native.empty((x.shape[0], -(-features // 64)), torch.int64)
    graded = ctypes.c_int32()
    nonzeros = _call(
        "snp_spike_bits",
        x.data_ptr(),
        x.shape[0],
        features,
        most,
        bits.data_ptr(),
        ctypes.addressof(graded),
        torch.get_num_threads(),
    )
    return nonzeros, bits, bool(graded.value)


@operator("snnplug::spike_conv")
def _forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the convolution, a bit per value of x, and which way: one of the constants above."""
    nonzeros, bits, graded = _bits(x, _most_nonzeros(x, weight, groups))
    if nonzeros < 0:
        out = functional.conv2d(x, weight, bias, stride, padding, dilation, groups)
        return out.contiguous(), bits.zero_(), torch.tensor(_DENSE)
    size = _out_size(x.shape, weight.shape, stride, padding, dilation)
    out = native.empty((x.shape[0], weight.shape[0], *size))
    _run(
        "snp_spike_conv_forward",
        x.shape,
        weight.shape,
        (stride, padding, dilation, groups),
        bits=bits,
        x=x if graded else None,
        weight=weight,
        bias=bias,
        output=out,
    )
    return out, bits, torch.tensor(_GRADED if graded else _BINARY)


@_forward.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> tuple[Tensor, Tensor, Tensor]:
    size = _out_size(x.shape, weight.shape, stride, padding, dilation)
    features = x.shape[1] * x.shape[2] * x.shape[3]
    return (
        x.new_empty((x.shape[0], weight.shape[0], *size)),
        x.new_empty((x.shape[0], (features + 63) // 64), dtype=torch.int64),
        x.new_empty((), dtype=torch.int64),
    )


@operator("snnplug::spike_conv_weight")
def _weight_grad(
    grad: Tensor,
    x: Tensor,
    bits: Tensor,
    done: Tensor,
    shape: Sequence[int],
    weight: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Return the gradient of the weight; x may be empty if ``done`` says ``_BINARY``."""
    kind = done.item()
    if kind == _DENSE:
        dense: Tensor = conv2d_weight(  # type: ignore[no-untyped-call]
            x, tuple(weight), grad, tuple(stride), tuple(padding), tuple(dilation), groups
        )
        return dense.contiguous()
    out = native.empty(tuple(weight))
    _run(
        "snp_spike_conv_backward",
        shape,
        weight,
        (stride, padding, dilation, groups),
        bits=bits,
        x=x if kind == _GRADED else None,
        grad=grad,
        output=out,
    )
    return out


@_weight_grad.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    bits: Tensor,
    done: Tensor,
    shape: Sequence[int],
    weight: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    return grad.new_empty(tuple(weight))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, weight, _, *ctx.geometry = inputs
    _, bits, done = output
    # A compiler sees no values here: it keeps the input whatever it holds.
    known = type(done) is Tensor
    kept = x.new_empty(0) if known and done.item() == _BINARY else x
    ctx.save_for_backward(kept, bits, done, weight)
    ctx.set_materialize_grads(False)
    ctx.shape = tuple(x.shape)


def bias_gradient(grad: Tensor) -> Tensor:
    """Return the sum of a gradient ``(N, channels, height, width)`` over all but the channels.

    Whole rows of memory first: two to four times sooner than a sum over three axes.
    """
    return grad.flatten(1).sum(0).view(grad.shape[1], -1).sum(1)


def _vjp(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    x, bits, done, weight = ctx.saved_tensors
    needs_x, needs_weight, needs_bias, *_rest = ctx.needs_input_grad
    grad = grad.contiguous()
    shape, geometry = ctx.shape, ctx.geometry
    grad_x = None
    if needs_x:
        grad_x = conv2d_input(shape, weight, grad, *geometry)  # type: ignore[no-untyped-call]
    return (
        grad_x,
        _weight_grad(grad, x, bits, done, shape, weight.shape, *geometry) if needs_weight else None,
        bias_gradient(grad) if needs_bias else None,
        *(None,) * 4,
    )


_forward.register_autograd(_vjp, _setup)
