"""Convolution and max pool in one pass: the numbers of the two after each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from snnplug.kernels import native, spike_conv
from snnplug.kernels import pooled_conv as module
from snnplug.kernels.pooled_conv import max_pooled_conv2d
from snnplug.kernels.spike_conv import spike_conv2d

FORWARD, BACKWARD = "snp_pooled_conv_forward", "snp_pooled_conv_backward"


class Case(NamedTuple):
    """Input and weight shapes, then the arguments after the bias."""

    image: tuple[int, int, int, int]
    weight: tuple[int, int, int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    window: tuple[int, int] = (2, 2)
    step: tuple[int, int] = (2, 2)

    @property
    def options(self) -> tuple[Any, ...]:
        return self[2:]


CASES = (
    Case((5, 2, 34, 34), (12, 2, 5, 5)),
    Case((17, 12, 15, 15), (64, 12, 5, 5)),
    Case((3, 6, 14, 13), (130, 3, 3, 2), (2, 1), (1, 2), (2, 1), 2, (3, 2), (2, 3)),
    Case((2, 65, 7, 6), (64, 65, 3, 3), padding=(1, 1), window=(2, 3), step=(1, 1)),
    Case((3, 4, 9, 40), (4, 1, 1, 35), groups=4, window=(4, 1), step=(5, 2)),
    Case((1, 1, 1, 2), (1, 1, 1, 1), window=(1, 2), step=(1, 1)),
    Case((4, 6, 9, 11), (50, 3, 4, 7), padding=(2, 5), groups=2, window=(3, 3), step=(2, 3)),
)
# Beyond the smallest problem that goes to the kernel.
LARGE = Case((64, 12, 15, 15), (64, 12, 5, 5))


@pytest.fixture(autouse=True)
def _library() -> Iterator[None]:
    assert native.library() is not None, native.available()[1]
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the kernel for every size and density."""
    monkeypatch.setattr(spike_conv, "_LEAST_WORK", 0)
    monkeypatch.setattr(spike_conv, "_most_nonzeros", lambda x, weight, groups: x.numel())


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the functions of the library that are called."""
    names: list[str] = []
    call = spike_conv._call

    def record(name: str, *args: Any) -> int:
        names.append(name)
        return call(name, *args)

    monkeypatch.setattr(spike_conv, "_call", record)
    return names


def tensors(case: Case, density: float, graded: bool = False, whole: bool = False) -> list[Tensor]:
    """Return input, weight, bias; small whole numbers if asked, of which many are equal."""
    generator = torch.Generator().manual_seed(0)

    def values(*shape: int) -> Tensor:
        if whole:
            return torch.randint(-2, 3, shape, generator=generator).float()
        return torch.randn(shape, generator=generator)

    x = (torch.rand(case.image, generator=generator) < density).float()
    x = x * values(*case.image) if graded else x
    return [x, values(*case.weight), values(case.weight[0])]


def apart(
    x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any, conv: Any = functional.conv2d
) -> Tensor:
    """Return the pool of the convolution, each by torch."""
    *geometry, window, step = options
    return functional.max_pool2d(conv(x, weight, bias, *geometry), window, step)


def run(pooled: Callable[..., Tensor], given: list[Tensor], case: Case) -> list[Tensor]:
    """Return the output and the gradients of all inputs for a fixed gradient of the output."""
    leaves = [t.detach().requires_grad_() for t in given]
    bias = () if len(leaves) == 3 else (None,)
    out = pooled(*leaves, *bias, *case.options)
    generator = torch.Generator().manual_seed(2)
    grad = torch.randint(-3, 4, out.shape, generator=generator).to(out.dtype)
    return [out.detach(), *torch.autograd.grad(out, leaves, grad)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("graded", [False, True])
def test_whole_numbers_are_exact(case: Case, graded: bool, always: None, calls: list[str]) -> None:
    # Whole numbers make ties: a gradient that goes to another of the equals would show.
    for density in (0.0, 0.05, 0.3, 1.0):
        for with_bias in (False, True):
            given = tensors(case, density, graded, whole=True)[: 2 + with_bias]
            ours, theirs = (run(f, given, case) for f in (max_pooled_conv2d, apart))
            assert all(map(torch.equal, ours, theirs))
    assert FORWARD in calls
    assert BACKWARD in calls


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_float64(case: Case, always: None) -> None:
    given = tensors(case, 0.2, graded=True)
    exact = run(apart, [t.double() for t in given], case)
    for one, other in zip(run(max_pooled_conv2d, given, case), exact, strict=True):
        largest = other.abs().max().item()
        torch.testing.assert_close(one.double(), other, rtol=0, atol=2e-6 * largest)


@pytest.mark.parametrize("density", [0.05, 0.7])
def test_output_is_that_of_the_two_to_the_last_bit(density: float, calls: list[str]) -> None:
    x, weight, bias = tensors(LARGE, density)
    ours = max_pooled_conv2d(x, weight, bias, *LARGE.options)
    assert torch.equal(ours, apart(x, weight, bias, *LARGE.options, conv=spike_conv2d))
    assert (FORWARD in calls) is (density < 0.2)


@pytest.mark.parametrize("density", [0.05, 0.7])
@pytest.mark.parametrize("graded", [False, True])
def test_density_decides(density: float, graded: bool, calls: list[str]) -> None:
    given = tensors(LARGE, density, graded, whole=True)
    ours, theirs = (run(f, given, LARGE) for f in (max_pooled_conv2d, apart))
    assert all(map(torch.equal, ours, theirs))
    assert (FORWARD in calls) is (BACKWARD in calls) is (density < 0.2)


@pytest.mark.parametrize("graded", [False, True])
def test_dense_after_all_keeps_the_backward(graded: bool, calls: list[str]) -> None:
    given = tensors(LARGE, 0.9, graded, whole=True)
    given[0][::61] = 0  # the few images that are looked at first
    ours, theirs = (run(f, given, LARGE) for f in (max_pooled_conv2d, apart))
    assert all(map(torch.equal, ours, theirs))
    assert FORWARD not in calls
    assert BACKWARD in calls


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e-42])
def test_strange_values_spread_as_in_torch(value: float, always: None) -> None:
    case = Case((4, 3, 9, 9), (17, 3, 3, 3), padding=(1, 1))
    x, weight, bias = tensors(case, 0.3)
    x[3, 1, 4, 5] = value
    args = (x, weight, bias, *case.options)
    torch.testing.assert_close(
        max_pooled_conv2d(*args), apart(*args), rtol=1e-5, atol=1e-5, equal_nan=True
    )
    # The place that gets the gradient too: the last that is not a number.
    ours, theirs = (run(f, [x, weight, bias], case)[1] for f in (max_pooled_conv2d, apart))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_strange_gradient_stays_in_its_patch(value: float, always: None) -> None:
    case = Case((2, 5, 9, 9), (9, 5, 3, 3))
    x, weight, bias = tensors(case, 0.3)
    grads = []
    for pooled in (max_pooled_conv2d, apart):
        leaf = x.clone().requires_grad_()
        out = pooled(leaf, weight, bias, *case.options)
        grad = torch.ones_like(out)
        grad[1, 4, 1, 2] = value
        grads.append(torch.autograd.grad(out, leaf, grad)[0])
    assert torch.equal(grads[0].isfinite(), grads[1].isfinite())


def test_same_bits_for_any_number_of_threads(always: None) -> None:
    given = tensors(LARGE, 0.1, graded=True)
    results = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        out = run(max_pooled_conv2d, given, LARGE)
        results.append(out[:3])
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


def test_every_instruction_set(always: None) -> None:
    library = native.library()
    assert library is not None
    best = {"portable": 0, "avx2": 1, "avx512": 2}[native.available()[1]]
    try:
        for which in range(best + 1):
            assert library.snp_use_isa(which)
            for case, graded in product(CASES, (False, True)):
                given = tensors(case, 0.2, graded, whole=True)
                ours, theirs = (run(f, given, case) for f in (max_pooled_conv2d, apart))
                assert all(map(torch.equal, ours, theirs))
    finally:
        library.snp_use_isa(best)


def test_keeps_bits_and_bytes_only() -> None:
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    x, weight, bias = tensors(LARGE, 0.05)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        max_pooled_conv2d(x, weight.requires_grad_(), bias, *LARGE.options)
    largest = max(t.nbytes for t in kept if t.data_ptr() != weight.data_ptr())
    assert largest == 64 * 64 * 5 * 5


@pytest.mark.parametrize("change", ["double", "dilation", "tiny", "window of one"])
def test_falls_back(change: str, calls: list[str]) -> None:
    case = {
        "dilation": LARGE._replace(dilation=(1, 2)),
        "tiny": CASES[0],
        "window of one": LARGE._replace(window=(1, 1)),
    }.get(change, LARGE)
    given = tensors(case, 0.05, whole=True)
    given = [t.double() for t in given] if change == "double" else given
    ours, theirs = (run(f, given, case) for f in (max_pooled_conv2d, apart))
    assert all(map(torch.equal, ours, theirs))
    assert not {FORWARD, BACKWARD} & set(calls)


def test_wrong_arguments_raise_as_in_torch() -> None:
    x, weight, bias = tensors(LARGE, 0.05)
    with pytest.raises(RuntimeError, match="channels"):
        max_pooled_conv2d(x[:, 1:], weight, bias, *LARGE.options)
    with pytest.raises(RuntimeError, match="kernel size"):
        max_pooled_conv2d(x, weight, bias, *LARGE._replace(window=(0, 2)).options)
    with pytest.raises(RuntimeError, match="too small"):
        max_pooled_conv2d(x, weight, bias, *LARGE._replace(window=(12, 2)).options)


@pytest.mark.parametrize("density", [0.05, 0.7])
@pytest.mark.parametrize("graded", [False, True])
def test_registered_correctly(density: float, graded: bool) -> None:
    case = Case((20, 3, 7, 9), (17, 3, 3, 3), padding=(1, 1))
    x, weight, bias = tensors(case, density, graded)
    options = tuple(list(o) if isinstance(o, tuple) else o for o in case.options)
    for needs_x in (False, True):
        leaves = (x.requires_grad_(needs_x), weight.requires_grad_(), bias.requires_grad_())
        torch.library.opcheck(module._forward.registered, (*leaves, *options))
    x, weight = x.detach(), weight.detach()
    out, which, bits, kind = module._forward(x, weight, None, *options)
    for needed in ([True, True], [False, True], [True, False]):
        args = (torch.ones_like(out), which, x, bits, kind, weight, needed, list(x.shape), *options)
        torch.library.opcheck(module._backward.registered, args)


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_whole(dynamic: bool, calls: list[str]) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(
        max_pooled_conv2d, fullgraph=True, backend="aot_eager", dynamic=dynamic
    )
    given = tensors(LARGE, 0.05)
    ours, theirs = (run(f, given, LARGE) for f in (compiled, max_pooled_conv2d))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-4)
    assert calls.count(FORWARD) == calls.count(BACKWARD) == 2
