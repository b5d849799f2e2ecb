"""An operator called straight, and as torch sees it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import snnplug as sp
from snnplug.errors import BackendError
from snnplug.kernels.operator import operator


@operator("snnplug_tests::cubed")
def cubed(x: Tensor, factor: float) -> Tensor:
    return factor * x**3


@cubed.register_fake
def _(x: Tensor, factor: float) -> Tensor:
    return torch.empty_like(x)


def _setup(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
    x, ctx.factor = inputs
    ctx.save_for_backward(x)


def _vjp(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    (x,) = ctx.saved_tensors
    return grad * 3 * ctx.factor * x**2, None


cubed.register_autograd(_vjp, _setup)


class Watch(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


class FunctionNames(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def _value_and_gradient(function: Any) -> tuple[Tensor, Tensor]:
    x = torch.arange(4.0, requires_grad=True)
    out = function(x, 2.0)
    out.sum().backward()
    assert x.grad is not None
    return out.detach(), x.grad


def test_straight_and_registered_are_equal() -> None:
    x = torch.arange(4.0)
    for function in (cubed, cubed.registered, torch.compile(cubed, fullgraph=True)):
        value, gradient = _value_and_gradient(function)
        assert torch.equal(value, 2 * x**3)
        assert torch.equal(gradient, 6 * x**2)
    torch.library.opcheck(cubed.registered, (x.requires_grad_(), 2.0))


@pytest.mark.parametrize("mode", [Watch, FunctionNames])
def test_who_watches_sees_the_operator(mode: type[Watch] | type[FunctionNames]) -> None:
    with mode() as watch:
        cubed(torch.ones(2), 2.0)
        sp.Leaky(beta=0.9).run(torch.ones(3, 1, 2))
    assert any("snnplug_tests.cubed" in name for name in watch.seen)
    assert any("snnplug.neurons" in name for name in watch.seen)


def test_a_tensor_of_another_kind_sees_the_operator() -> None:
    with torch._subclasses.FakeTensorMode() as mode:
        fake = mode.from_tensor(torch.ones(2))
    out = cubed(fake, 2.0)
    assert isinstance(out, torch._subclasses.FakeTensor)


def test_nothing_watches_and_the_dispatcher_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("called as an operator")

    monkeypatch.setattr(cubed, "registered", refuse)
    assert cubed(torch.ones(1), 2.0).item() == 2.0


@pytest.mark.parametrize("watched", [False, True])
def test_a_second_derivative_is_refused_not_taken_for_zero(watched: bool) -> None:
    x = torch.rand(3, 1, 2, requires_grad=True)
    with Watch() if watched else nullcontext():
        spk, _ = sp.Leaky(beta=0.9).run(x)
        (gradient,) = torch.autograd.grad(spk.sum(), x, create_graph=True)
        with pytest.raises(BackendError, match="first derivatives only"):
            (gradient.sum() + x.sum()).backward()
