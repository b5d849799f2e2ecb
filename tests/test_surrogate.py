"""The spike functions: values, gradients, transforms, compilers, pickles, drawings.

Every surrogate of the package is found by itself and must have a row in ``CASES``.
"""

from __future__ import annotations

import copy
import math
import pickle
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest
import snntorch as snn
import torch
from hypothesis import given
from hypothesis import strategies as st
from snntorch import surrogate as theirs
from torch import Tensor

from snnplug import surrogate as module
from snnplug.errors import ArgumentError, MissingExtraError
from snnplug.surrogate import (
    Atan,
    FastSigmoid,
    Gaussian,
    HardFire,
    MultiGaussian,
    Rectangular,
    Sigmoid,
    SparseFastSigmoid,
    StraightThrough,
    Surrogate,
    Triangular,
)

FINITE = st.floats(-1e6, 1e6, width=32)
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def normal_cdf(x: Tensor, sigma: float) -> Tensor:
    return (1 + torch.erf(x / (sigma * math.sqrt(2)))) / 2


def hard_sigmoid(x: Tensor, width: float) -> Tensor:
    return ((x / width + 1) / 2).clamp(0, 1)


def ramp(x: Tensor, width: float) -> Tensor:
    """The integral of a triangle of height 1, 0 in the middle."""
    inside = x.clamp(-width, width)
    return inside - inside * inside.abs() / (2 * width)


class Case(NamedTuple):
    """A surrogate with the function it is the derivative of, and its area."""

    surrogate: Surrogate
    antiderivative: Callable[[Tensor], Tensor]
    area: float


CASES = [
    Case(HardFire(), lambda x: hard_sigmoid(x, 1.0), 1),
    Case(HardFire(0.3), lambda x: hard_sigmoid(x, 0.3), 1),
    Case(StraightThrough(), lambda x: x, math.inf),
    Case(Atan(), lambda x: torch.atan(math.pi * x) / math.pi, 1),
    Case(Atan(0.7), lambda x: torch.atan(0.35 * math.pi * x) / math.pi, 1),
    Case(FastSigmoid(), lambda x: x / (1 + 25 * x.abs()), 2 / 25),
    Case(FastSigmoid(2.0), lambda x: x / (1 + 2 * x.abs()), 1),
    Case(SparseFastSigmoid(), lambda x: (y := x.clamp(-0.2, 0.2)) / (1 + 25 * y.abs()), 0.4 / 6),
    Case(
        SparseFastSigmoid(3.0, 1.5),
        lambda x: (y := x.clamp(-1.5, 1.5)) / (1 + 3 * y.abs()),
        3 / 5.5,
    ),
    Case(Sigmoid(), lambda x: torch.sigmoid(25 * x), 1),
    Case(Sigmoid(3.0), lambda x: torch.sigmoid(3 * x), 1),
    Case(Triangular(), lambda x: 0.3 * ramp(x, 1.0), 0.3),
    Case(Triangular(0.5, 2.0), lambda x: 0.5 * ramp(x, 2.0), 1),
    Case(Rectangular(), lambda x: hard_sigmoid(x, 0.5), 1),
    Case(Rectangular(1.6), lambda x: hard_sigmoid(x, 0.8), 1),
    Case(Gaussian(), lambda x: normal_cdf(x, 0.5), 1),
    Case(Gaussian(1.2), lambda x: normal_cdf(x, 1.2), 1),
    Case(
        MultiGaussian(),
        lambda x: (
            1.15 * normal_cdf(x, 0.5) - 0.15 * (normal_cdf(x - 0.5, 3) + normal_cdf(x + 0.5, 3))
        ),
        0.85,
    ),
    Case(
        MultiGaussian(0.2, 0.4, 2.0),
        lambda x: (
            1.4 * normal_cdf(x, 0.2) - 0.4 * (normal_cdf(x - 0.2, 0.4) + normal_cdf(x + 0.2, 0.4))
        ),
        0.6,
    ),
]
SURROGATES = [case.surrogate for case in CASES]
CLASSES = sorted({type(surrogate) for surrogate in SURROGATES}, key=lambda c: c.__name__)

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case.surrogate))
each_surrogate = pytest.mark.parametrize("surrogate", SURROGATES, ids=repr)
each_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def gradient(
    spike: Callable[[Tensor], Tensor], x: Tensor, upstream: Tensor | None = None
) -> Tensor:
    """The gradient of ``spike`` at ``x``, by backpropagation."""
    leaf = x.clone().requires_grad_()
    out = spike(leaf)
    out.backward(torch.ones_like(out) if upstream is None else upstream)
    assert leaf.grad is not None
    return leaf.grad


class Layer(torch.nn.Module):
    def __init__(self, surrogate: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.surrogate = surrogate

    def forward(self, x: Tensor) -> Tensor:
        return self.surrogate(x)


def test_no_surrogate_of_the_package_is_missing_from_the_cases() -> None:
    known = {cls for cls in Surrogate.__subclasses__() if cls.__module__.startswith("snnplug.")}
    assert known == set(CLASSES)
    assert all(cls() in SURROGATES for cls in CLASSES)  # the defaults


# The spike and its gradient


@each_surrogate
@given(values=st.lists(FINITE, min_size=1, max_size=20))
def test_spike_is_exactly_the_step_and_gradient_exactly_the_derivative(
    surrogate: Surrogate, values: list[float]
) -> None:
    x = torch.tensor(values)
    assert torch.equal(surrogate(x.clone().requires_grad_()), (x > 0).float())
    assert torch.equal(gradient(surrogate, x), surrogate.derivative(x))
    with torch.no_grad():
        assert torch.equal(surrogate(x), (x > 0).float())


@each_surrogate
@each_dtype
def test_keeps_the_dtype_and_stays_finite(surrogate: Surrogate, dtype: torch.dtype) -> None:
    far = torch.logspace(-6, 4, 400, dtype=torch.float64)
    x = torch.cat([-far, torch.tensor([-0.0, 0.0]), far]).to(dtype)
    spk, grad = surrogate(x.clone().requires_grad_()), gradient(surrogate, x)
    assert spk.dtype == grad.dtype == surrogate.derivative(x).dtype == dtype
    assert torch.equal(spk, (x > 0).to(dtype))
    assert grad.isfinite().all()
    assert (grad != 0).any()


@each_surrogate
def test_derivative_is_even(surrogate: Surrogate) -> None:
    x = torch.logspace(-5, 3, 1000)
    assert torch.equal(surrogate.derivative(-x), surrogate.derivative(x))


@each_case
def test_derivative_is_that_of_the_function_it_stands_for(case: Case) -> None:
    # No point of this grid is nearer to an edge of a box than the step.
    x = torch.linspace(-3.0, 3.0, 701, dtype=torch.float64) + 1e-3 / 3
    step = 1e-6
    numerical = (case.antiderivative(x + step) - case.antiderivative(x - step)) / (2 * step)
    torch.testing.assert_close(case.surrogate.derivative(x), numerical, rtol=1e-6, atol=1e-8)


@each_case
def test_area_under_the_derivative(case: Case) -> None:
    # x = sinh(u): fine near the threshold, and far enough for tails that fall with 1 / x^2.
    u = torch.linspace(-16, 16, 400_001, dtype=torch.float64)
    area = torch.trapezoid(case.surrogate.derivative(u.sinh()) * u.cosh(), u).item()
    if math.isinf(case.area):
        assert area > 1e6
    else:
        assert area == pytest.approx(case.area, abs=1e-3)


def test_hard_fire_at_the_authors_points() -> None:
    u = torch.tensor([-0.1, 0.0, 0.5, 1.0, 1.5, 2.0, 2.1])
    assert HardFire()(u - 1.0).tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert gradient(HardFire(), u - 1.0).tolist() == [0, 0, 0.5, 0.5, 0.5, 0, 0]


def test_inclusive_fires_at_the_threshold() -> None:
    assert HardFire(inclusive=True)(torch.zeros(1)).item() == 1.0
    assert HardFire()(torch.zeros(1)).item() == 0.0


@given(st.lists(FINITE, min_size=1, max_size=20), st.floats(0.01, 10))
def test_special_cases_are_the_same_to_the_last_bit(values: list[float], width: float) -> None:
    x = torch.tensor(values)
    box, cusp, bell = HardFire(width / 2), FastSigmoid(width), Gaussian(width)
    assert torch.equal(Rectangular(width).derivative(x), box.derivative(x))
    assert torch.equal(SparseFastSigmoid(width, 2e6).derivative(x), cusp.derivative(x))
    assert torch.equal(MultiGaussian(width, height=1e-300).derivative(x), bell.derivative(x))


# Against snnTorch

MEMBRANES = torch.linspace(-5, 5, 20_001)
UPSTREAM = torch.randn(20_001, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("ours", "reference"),
    [
        (Atan(), theirs.atan()),
        (Atan(0.7), theirs.atan(alpha=0.7)),
        (StraightThrough(), theirs.straight_through_estimator()),
    ],
    ids=["atan", "atan of 0.7", "straight through"],
)
def test_gradient_is_snntorchs_to_the_last_bit(
    ours: Surrogate, reference: Callable[[Tensor], Tensor]
) -> None:
    assert torch.equal(ours(MEMBRANES), reference(MEMBRANES))
    assert torch.equal(
        gradient(ours, MEMBRANES, UPSTREAM), gradient(reference, MEMBRANES, UPSTREAM)
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case.surrogate))
def test_what_is_not_finite_spikes_as_in_snntorch(case: Case) -> None:
    x = torch.tensor([math.nan, math.inf, -math.inf, 0.5], requires_grad=True)
    spk = case.surrogate(x)
    assert torch.equal(spk, theirs.atan()(x))
    spk.sum().backward()
    assert x.grad is not None
    assert x.grad[1:3].tolist() == [0, 0]
    assert x.grad[3] == case.surrogate.derivative(torch.tensor(0.5))


def test_fast_sigmoid_is_snntorchs_within_rounding() -> None:
    reference = theirs.fast_sigmoid()
    assert torch.equal(gradient(FastSigmoid(), MEMBRANES), gradient(reference, MEMBRANES))
    # snnTorch divides the gradient from above, where this multiplies by the quotient.
    torch.testing.assert_close(
        gradient(FastSigmoid(), MEMBRANES, UPSTREAM),
        gradient(reference, MEMBRANES, UPSTREAM),
        rtol=1.2e-7,
        atol=0,
    )


def test_sigmoid_is_snntorchs_where_that_is_finite() -> None:
    ours, reference = (gradient(f, MEMBRANES) for f in (Sigmoid(), theirs.sigmoid()))
    finite = reference.isfinite()
    assert ours.isfinite().all()
    # snnTorch's denominator overflows long before its numerator: it is 0 where this is 1e-18.
    torch.testing.assert_close(ours[finite], reference[finite], rtol=2e-6, atol=2e-18)


@pytest.mark.skipif(version("snntorch") != "1.0.0", reason="the page names the faults of 1.0.0")
def test_faults_of_snntorch_that_the_page_names() -> None:
    for dtype, edge in ((torch.float32, -3.42), (torch.float16, -0.44)):
        sigmoid = gradient(theirs.sigmoid(), MEMBRANES.to(dtype))
        assert MEMBRANES[sigmoid.isnan()].max().item() == pytest.approx(edge, abs=0.005)
    assert gradient(theirs.triangular(), torch.tensor([-2.0, 0.0, 2.0])).tolist() == [1, -1, -1]
    assert gradient(theirs.SFS(), torch.tensor([-0.1, 0.1, 1.0])).tolist() == [0, 0, 0]
    escape = gradient(theirs.spike_rate_escape(), MEMBRANES)
    assert escape.max().item() == pytest.approx(25)
    assert MEMBRANES[escape.argmax()].item() == pytest.approx(1)
    with pytest.raises(TypeError):
        theirs.LSO()(MEMBRANES)

    atan = theirs.atan()
    assert atan(torch.zeros(1, dtype=torch.float16)).dtype == torch.float32
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(atan)
    with pytest.raises(RuntimeError, match="functorch"):
        torch.func.vmap(torch.func.grad(atan))(MEMBRANES)
    x = torch.zeros(3, requires_grad=True)
    assert not torch.export.export(Layer(atan), (x,)).module()(x).requires_grad


def test_shares_and_means_on_the_page_are_what_is_measured() -> None:
    page = (Path(__file__).parents[1] / "docs/explanation/surrogates.md").read_text("utf-8")
    rows = {
        name: (float(share), float(mean))
        for name, share, mean in re.findall(r"^\| `(\w+)\(\)` \| (\S+) \| (\S+) \|$", page, re.M)
    }
    assert rows.keys() == {cls.__name__ for cls in CLASSES}
    torch.manual_seed(0)
    fc, neuron = torch.nn.Linear(784, 256), snn.Leaky(0.9)
    mem, membranes = neuron.init_leaky(), []
    with torch.no_grad():
        for frame in (torch.rand(25, 64, 784) < 0.13).float():
            mem = neuron(fc(frame), mem)[1]
            membranes.append(mem - 1)
    x = torch.stack(membranes)
    assert (x > 0).float().mean().item() == pytest.approx(0.014, abs=0.001)
    for cls in CLASSES:
        g, (share, mean) = cls().derivative(x), rows[cls.__name__]
        assert (g != 0).float().mean().item() == pytest.approx(share, abs=0.01), cls
        assert g.mean().item() == pytest.approx(mean, rel=0.06), cls


@each_surrogate
def test_stands_in_for_snntorchs_own(surrogate: Surrogate) -> None:
    cur = torch.rand(12, 3, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    ours, reference = snn.Leaky(0.8, spike_grad=surrogate), snn.Leaky(0.8)
    mem, mem_reference = ours.init_leaky(), reference.init_leaky()
    total = torch.zeros(())
    for step in cur:
        spk, mem = ours(step, mem)
        spk_reference, mem_reference = reference(step, mem_reference)
        assert torch.equal(spk, spk_reference)
        total = total + spk.sum()
    assert 0 < total.item() < cur.numel()
    total.backward()
    assert cur.grad is not None
    assert cur.grad.isfinite().all()
    assert (cur.grad != 0).any()


# Transforms, compilers, pickles


@each_class
def test_survives_torch_func(cls: type[Surrogate]) -> None:
    surrogate, x = cls(), torch.linspace(-1.6, 1.6, 9)
    expected = surrogate.derivative(x)
    assert torch.equal(torch.func.vmap(torch.func.grad(surrogate))(x), expected)
    assert torch.equal(torch.func.jvp(surrogate, (x,), (torch.ones(9),))[1], expected)


@each_class
def test_gradient_survives_export(cls: type[Surrogate]) -> None:
    surrogate, x = cls(), torch.linspace(-1.6, 1.6, 9)
    exported = torch.export.export(Layer(surrogate), (x.clone().requires_grad_(),)).module()
    assert torch.equal(gradient(exported, x), surrogate.derivative(x))


@each_class
def test_compiles_into_one_graph(cls: type[Surrogate]) -> None:
    torch._dynamo.reset()
    surrogate, x = cls(), torch.linspace(-1.6, 1.6, 9)
    compiled = torch.compile(Layer(surrogate), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x.clone().requires_grad_()), (x > 0).float())
    assert torch.equal(gradient(compiled, x), surrogate.derivative(x))


@each_surrogate
def test_is_a_value(surrogate: Surrogate) -> None:
    again = eval(repr(surrogate), vars(module))
    assert pickle.loads(pickle.dumps(surrogate)) == copy.deepcopy(surrogate) == again == surrogate
    assert hash(again) == hash(surrogate)
    assert sum(other == surrogate for other in SURROGATES) == 1
    with pytest.raises(AttributeError):
        surrogate.inclusive = True


@each_surrogate
def test_kernels_get_a_name_and_up_to_four_numbers(surrogate: Surrogate) -> None:
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(surrogate).__name__).lower()
    assert surrogate.kind == name
    assert "kind" not in repr(surrogate)
    numbers = surrogate.parameters()
    assert len(numbers) <= 4
    assert all(type(number) is float for number in numbers)
    assert type(surrogate)(*numbers) == surrogate


def test_parameters_are_floats_and_leave_out_what_is_no_number_of_the_equation() -> None:
    assert HardFire(2, inclusive=True).parameters() == (2.0,)
    assert type(FastSigmoid(25).parameters()[0]) is float


def test_a_surrogate_of_ones_own_needs_nothing_but_a_derivative() -> None:
    @dataclass(frozen=True)
    class Cosine(Surrogate):
        width: float

        def derivative(self, x: Tensor) -> Tensor:
            return torch.cos(x / self.width)

    assert Cosine(2.0).kind == "custom"
    assert Cosine(2.0).parameters() == (2.0,)
    assert gradient(Cosine(2.0), torch.tensor([0.0])).item() == 1
    with pytest.raises(ArgumentError, match="width is 0; Cosine needs a positive, finite width"):
        Cosine(0)


def test_a_changed_equation_does_not_keep_the_name_that_kernels_know() -> None:
    class Renamed(Atan):
        pass

    class Doubled(Atan):
        def derivative(self, x: Tensor) -> Tensor:
            return 2 * super().derivative(x)

    class Late(Atan):
        def step(self, x: Tensor) -> Tensor:
            return (x > 1).to(x.dtype)

    assert (Renamed().kind, Doubled().kind, Late().kind) == ("atan", "custom", "custom")
    assert gradient(Doubled(), torch.zeros(1)).item() == 2


@each_class
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_refuses_a_parameter_that_is_not_positive_and_finite(
    cls: type[Surrogate], value: float
) -> None:
    for field in fields(cls):  # type: ignore[arg-type]
        if field.name != "inclusive":
            with pytest.raises(ArgumentError, match=f"{field.name} is {value}; {cls.__name__}"):
                cls(**{field.name: value})


# The drawing


@each_class
def test_plot_draws_the_spike_and_the_derivative(cls: type[Surrogate]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure()
    canvas = FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    assert cls().plot(ax, span=1.5) is ax
    canvas.draw()
    spike, derivative = ax.get_lines()
    x = torch.tensor(spike.get_xdata())
    assert (x.min(), x.max(), x.abs().min()) == (-1.5, 1.5, 0)
    assert torch.equal(torch.tensor(spike.get_ydata()), (x > 0).to(x.dtype))
    assert torch.equal(torch.tensor(derivative.get_ydata()), cls().derivative(x))
    assert ax.get_title() == repr(cls())


def test_plot_opens_a_figure_of_its_own() -> None:
    import matplotlib as mpl
    from matplotlib import pyplot

    mpl.use("Agg")
    ax = Atan().plot()
    try:
        assert ax.get_figure() is pyplot.gcf()
    finally:
        pyplot.close()


def test_plot_without_matplotlib_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'snnplug\[viz\]'"):
        Atan().plot()
