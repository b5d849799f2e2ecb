"""The dense linear map: the bits of ``functional.linear``, in memory used before."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from snnplug.kernels import dense_linear as module
from snnplug.kernels import native
from snnplug.kernels.dense_linear import dense_linear

# Beyond the smallest that is taken.
SHAPE = (4, 300, 256)


def tensors(*shape: int, columns: int = 11) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (shape, (columns, shape[-1]), (columns,))
    return [torch.randn(s, generator=generator).requires_grad_() for s in shapes]


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("shape", [SHAPE, (1100, 256)])
def test_bits_are_those_of_torch(shape: tuple[int, ...], with_bias: bool) -> None:
    given = tensors(*shape)[: 2 + with_bias]
    outs = [linear(*given) for linear in (dense_linear, functional.linear)]
    assert "dense_linear" in str(outs[0].grad_fn.next_functions)
    assert torch.equal(*outs)
    grad = torch.randn(outs[0].shape, generator=torch.Generator().manual_seed(1))
    for ours, theirs in zip(*(torch.autograd.grad(o, given, grad) for o in outs), strict=True):
        assert torch.equal(ours, theirs)


def test_gradient_lies_in_memory_used_before() -> None:
    x, weight, bias = tensors(*SHAPE)
    native.release_memory()
    grads = torch.autograd.grad(dense_linear(x, weight, bias).sum(), x)
    del grads
    library = native.library()
    assert library is not None
    assert library.snp_pool_kept() >= x.numel() * 4


def test_leaves_small_and_other_input_to_torch() -> None:
    x, weight, bias = tensors(7, 256)
    assert "Addmm" in type(dense_linear(x, weight, bias).grad_fn).__name__
    given = [t.detach().double() for t in tensors(*SHAPE)]
    assert dense_linear(*given).dtype == torch.float64
    x, weight, bias = tensors(*SHAPE)
    mapped = torch.func.vmap(dense_linear, in_dims=(0, None, None))(x, weight, bias)
    torch.testing.assert_close(mapped, functional.linear(x, weight, bias))


def test_compiles_to_torchs_own() -> None:
    x, weight, bias = tensors(*SHAPE)
    run = torch.compile(dense_linear, fullgraph=True, backend="aot_eager")
    assert torch.equal(run(x, weight, bias), functional.linear(x, weight, bias))


def test_registered_correctly() -> None:
    x, weight, bias = tensors(40, 32)
    torch.library.opcheck(module._forward.registered, (x, weight, bias))
    torch.library.opcheck(module.product.registered, (x.detach(), weight.detach().t()))
