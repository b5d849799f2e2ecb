"""The sparse convolution: the numbers of ``functional.conv2d``, and when it is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from snnplug.kernels import native
from snnplug.kernels import spike_conv as module
from snnplug.kernels.spike_conv import spike_conv2d

FORWARD, BACKWARD = "snp_spike_conv_forward", "snp_spike_conv_backward"


class Case(NamedTuple):
    """A convolution: input and weight shapes, then the arguments after the bias."""

    image: tuple[int, int, int, int]
    weight: tuple[int, int, int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def options(self) -> tuple[Any, ...]:
        return self[2:]


CASES = (
    Case((5, 2, 34, 34), (12, 2, 5, 5)),
    Case((33, 3, 7, 9), (17, 3, 3, 3), padding=(1, 1)),
    Case((7, 6, 9, 13), (130, 3, 3, 2), (2, 1), (1, 2), (1, 2), 2),
    Case((3, 4, 8, 8), (4, 1, 1, 3), (3, 2), (2, 0), (2, 1), 4),
    Case((1, 1, 1, 1), (1, 1, 1, 1)),
    Case((2, 65, 3, 1), (64, 65, 3, 1), (1, 4), (2, 3)),
    Case((4, 6, 9, 11), (50, 3, 4, 7), padding=(2, 5), groups=2),
    Case((2, 9, 6, 5), (20, 9, 3, 4), padding=(3, 0)),
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
    monkeypatch.setattr(module, "_LEAST_WORK", 0)
    monkeypatch.setattr(module, "_most_nonzeros", lambda x, weight, groups: x.numel())


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the functions of the library that are called."""
    names: list[str] = []
    call = module._call

    def record(name: str, *args: Any) -> int:
        names.append(name)
        return call(name, *args)

    monkeypatch.setattr(module, "_call", record)
    return names


def tensors(
    case: Case, density: float = 0.1, graded: bool = False, whole: bool = False, seed: int = 0
) -> list[Tensor]:
    """Return input, weight, bias; small whole numbers if asked."""
    generator = torch.Generator().manual_seed(seed)

    def values(*shape: int) -> Tensor:
        if whole:
            return torch.randint(-8, 9, shape, generator=generator).float()
        return torch.randn(shape, generator=generator)

    x = (torch.rand(case.image, generator=generator) < density).float()
    x = x * values(*case.image) if graded else x
    return [x, values(*case.weight), values(case.weight[0])]


def run(conv: Callable[..., Tensor], given: list[Tensor], case: Case) -> list[Tensor]:
    """Return the output and the gradients of all inputs for a fixed gradient of the output."""
    leaves = [t.detach().requires_grad_() for t in given]
    bias = () if len(leaves) == 3 else (None,)
    out = conv(*leaves, *bias, *case.options)
    generator = torch.Generator().manual_seed(2)
    grad = torch.randint(-3, 4, out.shape, generator=generator).to(out.dtype)
    return [out.detach(), *torch.autograd.grad(out, leaves, grad)]


def assert_close(given: list[Tensor], case: Case) -> None:
    """Compare output and gradients with the dense convolution of float64."""
    ours = run(spike_conv2d, given, case)
    exact = run(functional.conv2d, [t.double() for t in given], case)
    for one, other in zip(ours, exact, strict=True):
        assert one.shape == other.shape
        largest = other.abs().max().item()
        torch.testing.assert_close(one.double(), other, rtol=0, atol=2e-6 * largest)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("graded", [False, True])
def test_whole_numbers_are_exact(case: Case, graded: bool, always: None, calls: list[str]) -> None:
    for density in (0.0, 0.01, 0.2, 1.0):
        given = tensors(case, density, graded, whole=True)
        ours, theirs = (run(conv, given, case) for conv in (spike_conv2d, functional.conv2d))
        assert all(map(torch.equal, ours, theirs))
    assert FORWARD in calls
    assert BACKWARD in calls


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("with_bias", [False, True])
def test_equals_the_dense_convolution(case: Case, with_bias: bool, always: None) -> None:
    assert_close(tensors(case, 0.2, graded=True)[: 2 + with_bias], case)


def test_equals_the_sum_over_taps(always: None) -> None:
    case = Case((2, 4, 5, 6), (6, 2, 2, 3), (2, 1), (1, 2), (1, 2), 2)
    x, weight, bias = tensors(case, 0.4, graded=True, whole=True)
    got = spike_conv2d(x, weight, bias, *case.options)
    expected = bias[None, :, None, None].repeat(2, 1, *got.shape[2:])
    for n, o, i, j in product(*map(range, got.shape)):
        for c, k, m in product(range(2), range(2), range(3)):
            row, column = 2 * i - 1 + k, j - 2 + 2 * m
            if 0 <= row < 5 and 0 <= column < 6:
                expected[n, o, i, j] += weight[o, c, k, m] * x[n, o // 3 * 2 + c, row, column]
    assert torch.equal(got, expected)


def test_memory_in_any_order(always: None) -> None:
    case = CASES[1]
    x, weight, bias = tensors(case, whole=True)
    expected = run(functional.conv2d, [x, weight, bias], case)
    last = torch.channels_last
    for given in (
        [x.to(memory_format=last), weight.to(memory_format=last), bias],
        [x.repeat_interleave(2, 0)[::2], weight, bias],
    ):
        assert all(map(torch.equal, run(spike_conv2d, given, case), expected))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e-42])
def test_strange_values_multiply(value: float, always: None) -> None:
    case = CASES[1]
    x, weight, bias = tensors(case)
    x[3, 1, 4, 5] = value
    expected = functional.conv2d(x, weight, bias, *case.options)
    got = spike_conv2d(x, weight, bias, *case.options)
    finite = expected.isfinite()
    assert torch.equal(got.isfinite(), finite)
    torch.testing.assert_close(got[finite], expected[finite], rtol=1e-5, atol=1e-5)


def test_zeros_are_skipped_where_the_weight_is_not_finite(always: None) -> None:
    x = torch.tensor([[[[1.0, 0.0, -0.0]]]])
    weight = torch.full((1, 1, 1, 1), float("inf"))
    assert spike_conv2d(x, weight).flatten().tolist() == [float("inf"), 0.0, 0.0]


def test_same_bits_for_any_number_of_threads(always: None) -> None:
    given = tensors(LARGE, graded=True)
    results = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        out = run(spike_conv2d, given, LARGE)
        results.append((out[0], out[2]))
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
                ours, theirs = (run(c, given, case) for c in (spike_conv2d, functional.conv2d))
                assert all(map(torch.equal, ours, theirs))
    finally:
        library.snp_use_isa(best)


@pytest.mark.parametrize(("density", "expected"), [(0.02, True), (0.15, True), (0.5, False)])
@pytest.mark.parametrize("graded", [False, True])
def test_density_decides(density: float, graded: bool, expected: bool, calls: list[str]) -> None:
    assert_close(tensors(LARGE, density, graded), LARGE)
    assert (FORWARD in calls) is expected
    assert (BACKWARD in calls) is expected


def test_a_kernel_of_one_pixel_needs_fewer_spikes(calls: list[str]) -> None:
    case = Case((100, 64, 16, 16), (64, 64, 1, 1))
    assert_close(tensors(case, 0.1), case)
    assert FORWARD not in calls
    assert_close(tensors(case, 0.04), case)
    assert FORWARD in calls


def test_dense_after_all(calls: list[str]) -> None:
    # The few images that are looked at first are empty: the operator itself finds out.
    given = tensors(LARGE, 0.5)
    given[0][::61] = 0
    assert_close(given, LARGE)
    assert "snp_spike_bits" in calls
    assert FORWARD not in calls
    assert BACKWARD not in calls


def test_spikes_are_kept_as_bits() -> None:
    sizes: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    for graded in (False, True):
        sizes.clear()
        x, weight, bias = tensors(LARGE, 0.05, graded)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            spike_conv2d(x, weight.requires_grad_(), bias)
        assert (x.numel() * 4 in sizes) is graded
        assert 64 * -(-12 * 15 * 15 // 64) * 8 in sizes


def test_falls_back(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, bias = tensors(LARGE)
    doubles = [t.double() for t in (x, weight, bias)]
    assert torch.equal(spike_conv2d(*doubles), functional.conv2d(*doubles))
    assert spike_conv2d(x[:0], weight, bias).shape == (0, 64, 11, 11)
    assert spike_conv2d(x[0], weight, bias).shape == (64, 11, 11)
    assert spike_conv2d(*(t.to("meta") for t in (x, weight, bias))).shape == (64, 64, 11, 11)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert spike_conv2d(x, weight, bias).dtype == torch.bfloat16
    torch.func.grad(lambda w: spike_conv2d(x, w, bias).sum())(weight)
    spike_conv2d(x[:1], weight, bias)
    monkeypatch.setattr(native, "library", lambda: None)
    assert torch.equal(spike_conv2d(x, weight, bias), functional.conv2d(x, weight, bias))
    assert not calls


def test_wrong_arguments_raise_as_the_dense_convolution_does() -> None:
    x, weight, bias = tensors(LARGE)
    with pytest.raises(RuntimeError, match="channels"):
        spike_conv2d(x[:, 1:], weight, bias)
    with pytest.raises(RuntimeError, match="bias"):
        spike_conv2d(x, weight, bias[1:])
    with pytest.raises(RuntimeError, match="stride"):
        spike_conv2d(x, weight, bias, (0, 1))
    with pytest.raises(RuntimeError, match="Kernel size"):
        spike_conv2d(x[:, :, :3], weight, bias)


@pytest.mark.parametrize("density", [0.05, 0.5])
@pytest.mark.parametrize("graded", [False, True])
def test_registered_correctly(density: float, graded: bool) -> None:
    case = Case((20, 3, 7, 9), (17, 3, 3, 3), padding=(1, 1))
    x, weight, bias = tensors(case, density, graded)
    options = tuple(list(o) if isinstance(o, tuple) else o for o in case.options)
    for needs_x in (False, True):
        leaves = (x.requires_grad_(needs_x), weight.requires_grad_(), bias.requires_grad_())
        torch.library.opcheck(module._forward.registered, (*leaves, *options))
    x, weight = x.detach(), weight.detach()
    out, bits, done = module._forward(x, weight, None, *options)
    args = (torch.ones_like(out), x, bits, done, list(x.shape), list(weight.shape), *options)
    torch.library.opcheck(module._weight_grad.registered, args)


@pytest.mark.parametrize("density", [0.05, 0.5])
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_whole(density: float, dynamic: bool, calls: list[str]) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(spike_conv2d, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    given = tensors(LARGE, density)
    for one, other in zip(
        run(compiled, given, LARGE), run(spike_conv2d, given, LARGE), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-3)
    assert (calls.count(FORWARD), calls.count(BACKWARD)) == ((2, 2) if density < 0.2 else (0, 0))


class Layer(torch.nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return spike_conv2d(input, self.weight, self.bias)


def test_exports_as_the_dense_convolution() -> None:
    graph = torch.export.export(Layer(12, 64, 5), (tensors(LARGE)[0],)).graph
    targets = [str(node.target) for node in graph.nodes if node.op == "call_function"]
    assert targets == ["aten.conv2d.default"]
