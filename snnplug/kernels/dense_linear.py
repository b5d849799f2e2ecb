r"""A linear map whose large results lie in memory used before.

.. math::
    y = x W^\top + b, \qquad
    \frac{\partial L}{\partial x} = g W, \quad
    \frac{\partial L}{\partial W} = g^\top x, \quad
    \frac{\partial L}{\partial b} = \sum_r g_r

The bits of ``functional.linear``. A fresh large array costs a page fault every 4 KiB, and stays
resident beside the arrays that other kernels take in turn.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from snnplug.kernels import native
from snnplug.kernels.operator import operator

# Values of the input, 1 MB: what is smaller costs the call more than the memory.
_LEAST = 1 << 18


def dense_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``torch.nn.functional.linear(x, weight, bias)``; gradients reach all three.

    Args:
        x: ``(..., in_features)``.
        weight: ``(out_features, in_features)``.
        bias: ``(out_features,)``.

    Returns:
        ``(..., out_features)``.
    """
    if (
        torch.compiler.is_compiling()
        or weight.dim() != 2
        or x.dim() < 2
        or x.numel() < _LEAST
        or x.shape[-1] != weight.shape[1]
        or not native.takes(x, weight, *(() if bias is None else (bias,)))
    ):
        return functional.linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1])
    product: Tensor = _forward(rows, weight, bias)
    return product.view(*x.shape[:-1], weight.shape[0])


@operator("snnplug::dense_linear")
def _forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    out = native.empty((x.shape[0], weight.shape[0]))
    if bias is None:
        return torch.mm(x, weight.t(), out=out)
    return torch.addmm(bias, x, weight.t(), out=out)


@_forward.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty((x.shape[0], weight.shape[0]))


@operator("snnplug::product")
def product(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b`` of matrices that kernels take: ``(n, inner)`` and ``(inner, columns)``."""
    return torch.mm(a, b, out=native.empty((a.shape[0], b.shape[1])))


@product.register_fake
def _(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty((a.shape[0], b.shape[1]))


def _setup(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])
    ctx.set_materialize_grads(False)


def _vjp(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight = ctx.saved_tensors
    needs_x, needs_weight, needs_bias = ctx.needs_input_grad
    return (
        product(grad, weight) if needs_x else None,
        product(grad.t(), x) if needs_weight else None,
        grad.sum(0) if needs_bias else None,
    )


_forward.register_autograd(_vjp, _setup)
