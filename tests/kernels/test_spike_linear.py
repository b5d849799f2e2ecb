"""The sparse linear map: the numbers of ``functional.linear``, and when it is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from snnplug.kernels import native
from snnplug.kernels import spike_linear as module
from snnplug.kernels.spike_linear import spike_linear

FORWARD, BACKWARD = "snp_spike_linear_forward", "snp_spike_linear_backward"
# Beyond the smallest problem that goes to the kernel.
ROWS, FEATURES, COLUMNS = 512, 520, 260


@pytest.fixture(autouse=True)
def _library() -> Iterator[None]:
    assert native.library() is not None, native.available()[1]
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the kernel for every size and density."""
    monkeypatch.setattr(module, "_may_pay", lambda rows, features, columns: rows * columns > 0)
    monkeypatch.setattr(module, "_most_nonzeros", lambda rows, features, columns: rows * features)


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


def spikes(rows: int, features: int, density: float, graded: bool = False, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(rows, features, generator=generator) < density).float()
    return x * torch.randn(rows, features, generator=generator) if graded else x


def parameters(features: int, columns: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(columns, features, generator=generator)
    return weight, torch.randn(columns, generator=generator)


def run(linear: Callable[..., Tensor], *given: Tensor | None) -> list[Tensor]:
    """Return the output and the gradients of all inputs for a fixed gradient of the output."""
    leaves = [t.detach().requires_grad_() for t in given if t is not None]
    out = linear(*leaves)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(2)).to(out.dtype)
    return [out.detach(), *torch.autograd.grad(out, leaves, grad)]


def assert_close(*given: Tensor | None) -> None:
    """Compare output and gradients with the dense product of float64."""
    ours = run(spike_linear, *given)
    exact = run(functional.linear, *(t if t is None else t.double() for t in given))
    for one, other in zip(ours, exact, strict=True):
        assert one.shape == other.shape
        assert one.is_contiguous()
        largest = other.abs().max().item() if other.numel() else 0.0
        torch.testing.assert_close(one.double(), other, rtol=0, atol=1e-6 * largest)


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("density", [0.0, 0.001, 0.01, 0.05, 0.1, 0.3, 1.0])
def test_equals_the_dense_product(
    density: float, graded: bool, always: None, calls: list[str]
) -> None:
    x = spikes(333, 700, density, graded)
    assert_close(x, *parameters(700, 100))
    assert FORWARD in calls
    assert BACKWARD in calls


@pytest.mark.parametrize(
    ("lead", "features", "columns"),
    [((1,), 5, 3), ((1, 1), 64, 64), ((65,), 63, 65), ((3, 7, 2), 129, 127), ((2, 100), 1, 1)],
)
@pytest.mark.parametrize("with_bias", [False, True])
def test_any_shape(
    lead: tuple[int, ...], features: int, columns: int, with_bias: bool, always: None
) -> None:
    rows = int(torch.tensor(lead).prod())
    x = spikes(rows, features, 0.2, graded=True).view(*lead, features)
    weight, bias = parameters(features, columns)
    assert_close(x, weight, *((bias,) if with_bias else ()))


@pytest.mark.parametrize("density", [0.002, 0.05, 0.2])
def test_more_sources_than_are_packed_at_a_time(density: float, always: None) -> None:
    assert_close(spikes(5, 9000, density, graded=True), *parameters(9000, 40))
    assert_close(spikes(9000, 5, density), *parameters(5, 40))


def test_not_contiguous(always: None) -> None:
    weight, bias = parameters(100, 70)
    x = spikes(100, 90, 0.2)
    assert_close(x.t(), weight.t().contiguous().t(), bias)
    assert_close(x.t()[::2, :90], weight[:, :90], bias)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.integers(1, 150),
    features=st.integers(1, 300),
    columns=st.integers(1, 150),
    density=st.floats(0, 1),
    graded=st.booleans(),
    seed=st.integers(0, 1 << 20),
)
def test_whole_numbers_are_exact(
    rows: int, features: int, columns: int, density: float, graded: bool, seed: int, always: None
) -> None:
    generator = torch.Generator().manual_seed(seed)

    def whole(*shape: int) -> Tensor:
        return torch.randint(-8, 9, shape, generator=generator).float()

    x = (torch.rand(rows, features, generator=generator) < density).float()
    x = x * whole(rows, features) if graded else x
    weight, bias, grad = whole(columns, features), whole(columns), whole(rows, columns)
    leaves = [t.requires_grad_() for t in (x, weight, bias)]
    for linear in (spike_linear, functional.linear):
        out = linear(*leaves)
        out.backward(grad)
        result = [out.detach(), *(t.grad for t in leaves)]
        for leaf in leaves:
            leaf.grad = None
        if linear is spike_linear:
            ours = result
    assert all(map(torch.equal, ours, result))


def test_gradients_are_differences_of_the_output(always: None) -> None:
    # The map is linear in each argument, so a difference with a step of 1 is exact.
    x = torch.tensor([[0.0, 1.0, 0.0], [2.0, 0.0, -1.0]], requires_grad=True)
    weight = torch.tensor([[1.0, 2.0, 3.0], [-1.0, 0.0, 4.0]], requires_grad=True)
    bias = torch.tensor([1.0, -2.0], requires_grad=True)
    grad = torch.tensor([[1.0, -3.0], [2.0, 5.0]])
    given = (x, weight, bias)
    before = spike_linear(*given)
    for which, got in enumerate(torch.autograd.grad(before, given, grad)):
        for k in range(got.numel()):
            moved = [t.detach().clone() for t in given]
            moved[which].view(-1)[k] += 1
            assert ((spike_linear(*moved) - before) * grad).sum() == got.flatten()[k]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e-42])
def test_strange_values_multiply(value: float, always: None) -> None:
    x = spikes(40, 100, 0.1)
    x[3, 5] = value
    weight, bias = parameters(100, 20)
    expected = functional.linear(x, weight, bias)
    torch.testing.assert_close(spike_linear(x, weight, bias), expected, equal_nan=True)


def test_zeros_are_skipped_where_the_weight_is_not_finite(always: None) -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-0.0, 0.0]])
    weight = torch.tensor([[2.0, float("inf")]])
    assert spike_linear(x, weight).flatten().tolist() == [2.0, float("inf"), 0.0]


def test_same_bits_for_any_number_of_threads(always: None) -> None:
    for density, columns in ((0.02, 300), (0.2, 30)):
        given = (spikes(700, 300, density, graded=True), *parameters(300, columns))
        results = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            out = run(spike_linear, *given)
            results.append((out[0], out[2]))
        for other in results[1:]:
            assert all(map(torch.equal, results[0], other))


def test_every_instruction_set(always: None) -> None:
    library = native.library()
    assert library is not None
    names = {"portable": 0, "avx2": 1, "avx512": 2}
    best = names[native.available()[1]]
    try:
        for which in range(best + 1):
            assert library.snp_use_isa(which)
            for graded in (False, True):
                assert_close(spikes(130, 200, 0.1, graded), *parameters(200, 90))
    finally:
        library.snp_use_isa(best)


@pytest.mark.parametrize(
    ("density", "graded", "expected"),
    [(0.05, False, True), (0.05, True, True), (0.2, False, True), (0.5, False, False)],
)
def test_density_decides(density: float, graded: bool, expected: bool, calls: list[str]) -> None:
    assert_close(spikes(ROWS, FEATURES, density, graded), *parameters(FEATURES, COLUMNS))
    assert (FORWARD in calls) is expected
    assert (BACKWARD in calls) is expected


def test_dense_after_all(calls: list[str]) -> None:
    # The few rows that are looked at first are empty: the operator itself finds out.
    x = spikes(ROWS, FEATURES, 0.5)
    x[::61] = 0
    for bias in (True, False):
        weight, given = parameters(FEATURES, COLUMNS)
        assert_close(x, weight, *((given,) if bias else ()))
    assert "snp_spike_bits" in calls
    assert FORWARD not in calls
    assert BACKWARD not in calls


def test_spikes_are_kept_as_bits() -> None:
    weight, bias = parameters(FEATURES, COLUMNS)
    sizes: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    for graded, kept in ((False, False), (True, True)):
        sizes.clear()
        x = spikes(ROWS, FEATURES, 0.1, graded)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            spike_linear(x, weight.requires_grad_(), bias)
        assert (x.numel() * 4 in sizes) is kept
        assert ROWS * -(-FEATURES // 64) * 8 in sizes


def test_only_the_gradients_that_are_needed(calls: list[str]) -> None:
    weight, bias = parameters(FEATURES, COLUMNS)
    x = spikes(ROWS, FEATURES, 0.1)
    spike_linear(x, weight, bias.requires_grad_()).sum().backward()
    assert bias.grad is not None
    assert FORWARD in calls
    assert BACKWARD not in calls


def test_small_problems_stay_dense(calls: list[str]) -> None:
    for rows, features, columns in (
        (16, 800, 8000),
        (9000, 800, 10),
        (90_000, 32, 32),
        (200, 90, 90),
    ):
        spike_linear(spikes(rows, features, 0.01), *parameters(features, columns))
    assert not calls


class Tagged(Tensor):
    """A subclass, whose functions are its own."""


def test_falls_back(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    x, (weight, bias) = spikes(ROWS, FEATURES, 0.05), parameters(FEATURES, COLUMNS)
    doubles = [t.double() for t in (x, weight, bias)]
    assert torch.equal(spike_linear(*doubles), functional.linear(*doubles))
    meta = [t.to("meta") for t in (x, weight, bias)]
    assert spike_linear(*meta).shape == (ROWS, COLUMNS)
    assert spike_linear(x[:0], weight, bias).shape == (0, COLUMNS)
    assert spike_linear(x[:, :0], weight[:, :0], bias).shape == (ROWS, COLUMNS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert spike_linear(x, weight, bias).dtype == torch.bfloat16
    assert isinstance(spike_linear(x.as_subclass(Tagged), weight, bias), Tagged)
    torch.func.vmap(spike_linear, in_dims=(0, None, None))(x.expand(2, -1, -1), weight, bias)
    torch.func.grad(lambda w: spike_linear(x, w, bias).sum())(weight)
    monkeypatch.setattr(native, "library", lambda: None)
    assert torch.equal(spike_linear(x, weight, bias), functional.linear(x, weight, bias))
    assert not calls


def test_wrong_shapes_raise_as_the_dense_product_does() -> None:
    x, (weight, bias) = spikes(ROWS, FEATURES, 0.05), parameters(FEATURES, COLUMNS)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        spike_linear(x[:, 1:], weight, bias)
    with pytest.raises(RuntimeError):
        spike_linear(x, weight, bias[1:])


@pytest.mark.parametrize("density", [0.1, 0.5])
@pytest.mark.parametrize("graded", [False, True])
def test_registered_correctly(density: float, graded: bool) -> None:
    x, (weight, bias) = spikes(150, 70, density, graded), parameters(70, 40)
    for needs_x in (False, True):
        leaves = (x.requires_grad_(needs_x), weight.requires_grad_(), bias.requires_grad_())
        torch.library.opcheck(module._forward.registered, leaves)
    torch.library.opcheck(module._forward.registered, (x.detach(), weight.detach(), None))
    _, bits, done = module._forward(x.detach(), weight.detach(), None)
    grad = torch.ones(150, 40)
    torch.library.opcheck(module._weight_grad.registered, (grad, x.detach(), bits, done, 70))


@pytest.mark.parametrize("density", [0.05, 0.5])
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_whole(density: float, dynamic: bool, calls: list[str]) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(spike_linear, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    given = (spikes(ROWS, FEATURES, density).view(2, ROWS // 2, -1), *parameters(FEATURES, COLUMNS))
    for one, other in zip(run(compiled, *given), run(spike_linear, *given), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-4)
    assert (calls.count(FORWARD), calls.count(BACKWARD)) == ((2, 2) if density < 0.3 else (0, 0))


class Layer(torch.nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return spike_linear(input, self.weight, self.bias)


def test_exports_as_the_dense_product() -> None:
    layer = Layer(FEATURES, COLUMNS)
    graph = torch.export.export(layer, (spikes(ROWS, FEATURES, 0.05),)).graph
    targets = [str(node.target) for node in graph.nodes if node.op == "call_function"]
    assert targets == ["aten.linear.default"]
