r"""A 2-d convolution that skips the zeros of its input, and the largest output of each window.

.. math::
    z_{o, w} = \max_{k} y_{o, q(w, k)},
    \qquad
    \frac{\partial L}{\partial y_{o, q(w, k)}} = g_{o, w}\, \mathbb{1}[k = k^*_{o, w}]

for the windows :math:`w` of a pool and their places :math:`k`, with :math:`y` of
:mod:`snnplug.kernels.spike_conv`. The outputs of an image are summed and compared in the cache and
never stored; the place :math:`k^*` is kept as a byte. Of the outputs of a window only that one has
a gradient: a pool of 2 x 2 leaves a quarter of the products of the backward pass, whatever the
density. Of equal values the first counts, as in torch.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from snnplug.kernels import execution, native, seen_bits, spike_conv
from snnplug.kernels.operator import operator
from snnplug.kernels.spike_conv import spike_conv2d

# The place in a window is kept as a byte.
_MOST_PLACES = 256

# Up to so many times the density of a convolution alone: the pool and three quarters of the
# backward pass are saved at any density. See tests/benchmarks/spike_conv.py.
_GAIN = 2.0

_GRADED, _BINARY = 1, 2


def max_pooled_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    window: tuple[int, int],
    step: tuple[int, int],
) -> Tensor:
    """Return ``max_pool2d(spike_conv2d(x, ...), window, step)``, the same bits in one pass.

    Gradients reach ``x``, ``weight`` and ``bias``; their sums may be taken in another order.

    Args:
        x: As in :func:`~snnplug.kernels.spike_conv.spike_conv2d`, and so are the others up to
            ``groups``.
        weight: Kernels.
        bias: ``(out_channels,)``.
        stride: Step of the kernel.
        padding: Zeros around the image.
        dilation: Distance of neighbouring taps.
        groups: How many parts the channels fall into.
        window: Height and width of a window of the pool, in outputs.
        step: Distance of neighbouring windows, in outputs.

    Returns:
        ``(N, out_channels, windows down, windows across)``; what no window covers is left out.
    """
    geometry = (stride, padding, dilation, groups)
    if (
        not execution.fused()
        or spike_conv._is_tiny(x, weight)
        or not _is_native(x, weight, bias, geometry, window, step)
    ):
        return functional.max_pool2d(spike_conv2d(x, weight, bias, *geometry), window, step)
    x = x.contiguous()
    if not torch.compiler.is_compiling() and spike_conv._looks_dense(x, _most(x, weight, groups)):
        return functional.max_pool2d(functional.conv2d(x, weight, bias, *geometry), window, step)
    bias = None if bias is None else bias.contiguous()
    arguments = (x, weight.contiguous(), bias, *geometry, window, step)
    result: tuple[Tensor, ...] = _forward(*arguments)
    out, _, bits, kind = result
    if seen_bits.is_wanted():
        seen_bits.remember(x, bits, kind.item() == _BINARY)
    return out


def _is_native(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: tuple[tuple[int, int], tuple[int, int], tuple[int, int], int],
    window: tuple[int, int],
    step: tuple[int, int],
) -> bool:
    """Whether the native kernel can take this call, and may be faster."""
    return (
        spike_conv._is_native(x, weight, bias, *geometry)
        and geometry[2][1] == 1  # neighbouring taps are neighbours in memory
        and min(window) > 0
        and min(step) > 0
        and 1 < window[0] * window[1] <= _MOST_PLACES
        and min(_windows(x.shape, weight.shape, geometry, window, step)) > 0
    )


def _most(x: Tensor, weight: Tensor, groups: int) -> int:
    """Return up to how many values that are not zero the one pass is taken."""
    return min(x.numel(), int(_GAIN * spike_conv._most_nonzeros(x, weight, groups)))


def _windows(
    image: Sequence[int],
    weight: Sequence[int],
    geometry: Sequence[Any],
    window: Sequence[int],
    step: Sequence[int],
) -> tuple[int, int]:
    """Return how many windows there are, down and across."""
    size = spike_conv._out_size(image, weight, *geometry[:3])
    down, across = ((size[k] - window[k]) // step[k] + 1 for k in (0, 1))
    return down, across


class _PooledConv(ctypes.Structure):
    """``snp::PooledConv`` of native/kernels.h."""

    _fields_ = (
        ("conv", spike_conv._SpikeConv),
        ("window", spike_conv._Pair),
        ("step", spike_conv._Pair),
        ("pooled", spike_conv._Pair),
        ("which", ctypes.c_void_p),
        ("grad_input", ctypes.c_void_p),
    )


def _run(
    name: str,
    shape: Sequence[int],
    weight: Sequence[int],
    geometry: Sequence[Any],
    pool: tuple[Sequence[int], Sequence[int]],
    which: Tensor,
    grad_input: Tensor | None = None,
    /,
    **arrays: Tensor | None,
) -> None:
    """Call a kernel on an input and a weight of these shapes, and on arrays by the field's name."""
    window, step = pool
    pooled = _windows(shape, weight, geometry, window, step)
    covered = tuple((pooled[k] - 1) * step[k] + window[k] for k in (0, 1))
    args = _PooledConv(
        spike_conv._arguments(shape, weight, geometry, covered, arrays),
        spike_conv._Pair(*window),
        spike_conv._Pair(*step),
        spike_conv._Pair(*pooled),
        which.data_ptr(),
        None if grad_input is None else grad_input.data_ptr(),
    )
    threads = torch.get_num_threads()
    size = spike_conv._call("snp_pooled_conv_scratch", ctypes.byref(args), threads)
    scratch = native.empty((-(-size // 4),))
    args.conv.scratch = scratch.data_ptr()
    spike_conv._call(name, ctypes.byref(args), threads)


@operator("snnplug::pooled_conv")
def _forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    window: Sequence[int],
    step: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the largest outputs, their places, a bit per value of x, and what x is: a constant."""
    geometry = (stride, padding, dilation, groups)
    nonzeros, bits, graded = spike_conv._bits(x, x.numel())
    kind = torch.tensor(_GRADED if graded else _BINARY)
    if nonzeros > _most(x, weight, groups):
        dense = functional.conv2d(x, weight, bias, *geometry)
        out, index = functional.max_pool2d_with_indices(dense, list(window), list(step))
        return out.contiguous(), _places(index, dense.shape[3], window, step), bits, kind
    windows = _windows(x.shape, weight.shape, geometry, window, step)
    out = native.empty((x.shape[0], weight.shape[0], *windows))
    which = native.empty((x.shape[0], *windows, weight.shape[0]), torch.uint8)
    arrays = {"bits": bits, "x": x if graded else None, "weight": weight, "bias": bias}
    _run(
        "snp_pooled_conv_forward",
        x.shape,
        weight.shape,
        geometry,
        (window, step),
        which,
        output=out,
        **arrays,
    )
    return out, which, bits, kind


def _places(index: Tensor, columns: int, window: Sequence[int], step: Sequence[int]) -> Tensor:
    """Turn torch's indices, which count through a plane, into places in windows, channels last."""
    down, across = (torch.arange(n) * s for n, s in zip(index.shape[2:], step, strict=True))
    row, column = index // columns - down[:, None], index % columns - across
    places = (row * window[1] + column).to(torch.uint8)
    return places.permute(0, 2, 3, 1).contiguous()


@_forward.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    window: Sequence[int],
    step: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    geometry = (stride, padding, dilation, groups)
    size = _windows(x.shape, weight.shape, geometry, window, step)
    features = x.shape[1] * x.shape[2] * x.shape[3]
    return (
        x.new_empty((x.shape[0], weight.shape[0], *size)),
        x.new_empty((x.shape[0], *size, weight.shape[0]), dtype=torch.uint8),
        x.new_empty((x.shape[0], (features + 63) // 64), dtype=torch.int64),
        x.new_empty((), dtype=torch.int64),
    )


@operator("snnplug::pooled_conv_backward")
def _backward(
    grad: Tensor,
    which: Tensor,
    x: Tensor,
    bits: Tensor,
    kind: Tensor,
    weight: Tensor,
    needed: Sequence[bool],
    shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    window: Sequence[int],
    step: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Return the gradients of x and of the weight, each empty unless needed.

    x may be empty if ``kind`` says ``_BINARY``.
    """
    needs_x, needs_weight = needed
    grad_x = native.empty(tuple(shape)) if needs_x else grad.new_empty(0)
    grad_weight = native.empty(tuple(weight.shape)) if needs_weight else grad.new_empty(0)
    _run(
        "snp_pooled_conv_backward",
        shape,
        weight.shape,
        (stride, padding, dilation, groups),
        (window, step),
        which,
        grad_x if needs_x else None,
        bits=bits,
        x=x if kind.item() == _GRADED else None,
        weight=weight,
        grad=grad,
        output=grad_weight if needs_weight else None,
    )
    return grad_x, grad_weight


@_backward.register_fake
def _(
    grad: Tensor,
    which: Tensor,
    x: Tensor,
    bits: Tensor,
    kind: Tensor,
    weight: Tensor,
    needed: Sequence[bool],
    shape: Sequence[int],
    *rest: Any,
) -> tuple[Tensor, Tensor]:
    needs_x, needs_weight = needed
    return (
        grad.new_empty(tuple(shape) if needs_x else 0),
        grad.new_empty(tuple(weight.shape) if needs_weight else 0),
    )


def _setup(
    ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor, Tensor]
) -> None:
    x, weight, _, *ctx.geometry = inputs
    _, which, bits, kind = output
    # A compiler sees no values here: it keeps the input whatever it holds.
    known = type(kind) is Tensor
    kept = x.new_empty(0) if known and kind.item() == _BINARY else x
    ctx.save_for_backward(which, kept, bits, kind, weight)
    ctx.set_materialize_grads(False)
    ctx.shape = tuple(x.shape)


def _vjp(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    needs_x, needs_weight, needs_bias, *rest = ctx.needs_input_grad
    grad = grad.contiguous()
    grad_x = grad_weight = None
    if needs_x or needs_weight:
        grad_x, grad_weight = _backward(
            grad, *ctx.saved_tensors, (needs_x, needs_weight), ctx.shape, *ctx.geometry
        )
    return (
        grad_x if needs_x else None,
        grad_weight if needs_weight else None,
        spike_conv.bias_gradient(grad) if needs_bias else None,
        *(None for _ in rest),
    )


_forward.register_autograd(_vjp, _setup)
