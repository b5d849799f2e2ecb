"""The spike functions: values, gradients, transforms, pickles."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnplug.errors import ArgumentError
from snnplug.surrogate import HardFire

FINITE = st.floats(-1e6, 1e6, width=32)


def test_gradient_and_spike_at_the_authors_points() -> None:
    u = torch.tensor([-0.1, 0.0, 0.5, 1.0, 1.5, 2.0, 2.1], requires_grad=True)
    spk = HardFire()(u - 1.0)
    spk.sum().backward()
    assert spk.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert u.grad is not None
    assert u.grad.tolist() == [0, 0, 0.5, 0.5, 0.5, 0, 0]


def test_inclusive_fires_at_the_threshold() -> None:
    assert HardFire(inclusive=True)(torch.zeros(1)).item() == 1.0
    assert HardFire()(torch.zeros(1)).item() == 0.0


@given(st.lists(FINITE, min_size=1, max_size=20), st.floats(0.1, 10))
def test_spike_is_exactly_the_step_and_gradient_exactly_the_derivative(
    values: list[float], width: float
) -> None:
    x = torch.tensor(values, requires_grad=True)
    fire = HardFire(width)
    spk = fire(x)
    spk.sum().backward()
    assert torch.equal(spk, (x > 0).float())
    assert x.grad is not None
    assert torch.equal(x.grad, fire.derivative(x.detach()))


def test_box_has_area_one() -> None:
    for width in (0.5, 1.0, 3.0):
        x = torch.linspace(-5, 5, 200_001, dtype=torch.float64)
        area = HardFire(width).derivative(x).sum() * (x[1] - x[0])
        assert area.item() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_keeps_the_dtype(dtype: torch.dtype) -> None:
    x = torch.tensor([-0.5, 0.5], dtype=dtype, requires_grad=True)
    spk = HardFire()(x)
    assert spk.dtype == dtype
    assert spk.tolist() == [0, 1]


def test_survives_torch_func_and_export() -> None:
    fire = HardFire()
    x = torch.linspace(-1.5, 1.5, 7)
    expected = fire.derivative(x)
    assert torch.equal(torch.func.vmap(torch.func.grad(fire))(x), expected)
    assert torch.equal(torch.func.jvp(fire, (x,), (torch.ones(7),))[1], expected)

    class Layer(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return fire(x)

    exported = torch.export.export(Layer(), (x.clone().requires_grad_(),)).module()
    y = x.clone().requires_grad_()
    exported(y).sum().backward()
    assert y.grad is not None
    assert torch.equal(y.grad, expected)


def test_is_a_value() -> None:
    fire = HardFire(0.5)
    assert pickle.loads(pickle.dumps(fire)) == copy.deepcopy(fire) == fire
    assert repr(fire) == "HardFire(width=0.5, inclusive=False)"
    assert hash(fire) == hash(HardFire(0.5))


@pytest.mark.parametrize("width", [0.0, -1.0, float("nan")])
def test_refuses_a_width_that_is_no_width(width: float) -> None:
    with pytest.raises(ArgumentError, match="positive half width"):
        HardFire(width)
