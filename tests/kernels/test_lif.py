"""The leaky operator: native equals reference, and both are snnTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

import pytest
import snntorch as snn
import torch
from torch import Tensor

from snnplug.kernels import native
from snnplug.kernels.dynamics import Dynamics, Parameters
from snnplug.kernels.lif import lif, lif_reference
from snnplug.kernels.neurons import kernel_for
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

RESETS = ("subtract", "zero", "none")
KNOWN: list[Surrogate] = [
    HardFire(),
    HardFire(0.4, inclusive=True),
    StraightThrough(),
    Atan(),
    FastSigmoid(),
    SparseFastSigmoid(),
    Triangular(),
    Rectangular(),
    Sigmoid(),
    Gaussian(),
    MultiGaussian(),
]
CASES = [
    Dynamics(reset, spike_grad, detach_reset, reset_delay)
    for reset, spike_grad, detach_reset, reset_delay in product(
        RESETS, KNOWN, (True, False), (True, False)
    )
]
RESETS = ("subtract", "zero", "none")
Run = Callable[..., tuple[Tensor, Tensor]]


@pytest.fixture(autouse=True)
def _library() -> None:
    assert native.library() is not None, native.available()[1]


def arguments(per_neuron: bool, seed: int = 0, steps: int = 15) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = 300  # more than a tile, and no multiple of it
    cur = torch.randn(steps, 3, features, generator=generator)
    mem = torch.randn(3, features, generator=generator) * 0.5
    beta = torch.rand(features if per_neuron else 1, generator=generator)
    threshold = torch.rand(features if per_neuron else 1, generator=generator) + 0.3
    return [cur, mem, beta, threshold, torch.tensor(1.3)]


def outputs(run: Run, given: list[Tensor], dynamics: Dynamics) -> list[Tensor]:
    """Return spikes, last membrane, and the gradient of every argument."""
    leaves = [x.clone().requires_grad_() for x in given]
    spk, mem = run(*leaves, dynamics)
    generator = torch.Generator().manual_seed(99)
    weights = [torch.randn(x.shape, generator=generator).to(x.dtype) for x in (spk, mem)]
    loss = (spk * weights[0]).sum() + (mem * weights[1]).sum()
    return [spk, mem, *torch.autograd.grad(loss, leaves)]


@pytest.mark.parametrize("dynamics", CASES, ids=str)
@pytest.mark.parametrize("per_neuron", [True, False])
def test_native_equals_reference(dynamics: Dynamics, per_neuron: bool) -> None:
    for seed in range(3):
        given = arguments(per_neuron, seed)
        ours, single = outputs(lif, given, dynamics), outputs(lif_reference, given, dynamics)
        assert torch.equal(ours[0], single[0])
        assert torch.equal(ours[1], single[1])
        assert 0.02 < (ours[0] > 0).float().mean() < 0.98
        # Gradients grow and cancel along a sequence. Where double precision takes the same path,
        # the native kernel is as near to it as the reference in single precision.
        double = outputs(lif_reference, [x.double() for x in given], dynamics)
        same = (double[0] == single[0]).all(0)
        assert same.float().mean() > 0.9
        scale = double[2].abs().amax(0)
        for mine, theirs, exact in zip(ours[2:4], single[2:4], double[2:4], strict=True):
            error, usual = (mine - exact).abs(), (theirs - exact).abs()
            allowed = 1e-5 * scale + 1e-6 + 8 * (usual.amax(0) if usual.dim() == 3 else usual)
            assert (error <= allowed)[..., same].all()
        for mine, theirs in zip(ours[4:], single[4:], strict=True):  # sums over many neurons
            assert (mine - theirs).abs().max() <= 1e-5 * (theirs.abs().max() + scale.sum())


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("reset_delay", [True, False])
def test_spikes_and_gradient_are_snntorchs(reset: str, reset_delay: bool) -> None:
    for seed in range(10):
        cur = arguments(False, seed)[0]
        neuron = snn.Leaky(beta=0.8, reset_mechanism=reset, reset_delay=reset_delay)
        theirs = cur.clone().requires_grad_()
        mem = torch.zeros_like(cur[0])
        spikes = []
        for now in theirs.unbind(0):
            spk, mem = neuron(now, mem)
            spikes.append(spk)
        weight = torch.randn_like(cur)
        (expected,) = torch.autograd.grad((torch.stack(spikes) * weight).sum(), theirs)
        ours = cur.clone().requires_grad_()
        constants = (torch.tensor(0.8), torch.tensor(1.0), torch.tensor(1.0))
        dynamics = Dynamics(reset, Atan(), True, reset_delay)
        spk, last = lif(ours, torch.zeros_like(cur[0]), *constants, dynamics)
        (found,) = torch.autograd.grad((spk * weight).sum(), ours)
        assert torch.equal(spk, torch.stack(spikes))
        assert torch.equal(last, mem)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.fixture
def isa() -> Iterator[Callable[[int], int]]:
    lib = native.library()
    assert lib is not None
    best = native.available()[1]
    yield lib.snp_use_isa
    lib.snp_use_isa({"portable": 0, "avx2": 1, "avx512": 2}[best])


def test_every_instruction_set_gives_the_same_bits(isa: Callable[[int], int]) -> None:
    used = []
    for dynamics in CASES[::7]:
        results = []
        for which in range(3):
            if isa(which):
                used.append(which)
                results.append(outputs(lif, arguments(True), dynamics))
        for other in results[1:]:
            assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
    assert 0 in used


def test_number_of_threads_changes_nothing() -> None:
    threads = torch.get_num_threads()
    try:
        results = []
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            results.append(outputs(lif, arguments(True), CASES[0]))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_sequences_can_be_cut() -> None:
    cur, mem, *constants = arguments(True)
    whole, last = lif(cur, mem, *constants, CASES[0])
    first, state = lif(cur[:4], mem, *constants, CASES[0])
    second, end = lif(cur[4:], state, *constants, CASES[0])
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(end, last)


def test_nan_and_infinity_propagate_as_in_the_reference() -> None:
    given = arguments(True)
    given[0][3, 1, 7], given[0][5, 2, 9], given[0][2, 0, 11] = float("nan"), torch.inf, -torch.inf
    for dynamics in CASES[:: len(KNOWN) * 2]:
        with torch.no_grad():
            ours, theirs = lif(*given, dynamics), lif_reference(*given, dynamics)
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(a.isnan(), b.isnan())
            assert torch.equal(a.nan_to_num(), b.nan_to_num())


def test_only_the_current_is_kept() -> None:
    given = [x.requires_grad_() for x in arguments(True)]
    kept: list[int] = []

    def pack(x: Tensor) -> Tensor:
        kept.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        lif(*given, CASES[0])
    assert sum(kept) == sum(x.numel() for x in given)


def test_is_a_proper_operator() -> None:
    given = [x.requires_grad_() for x in arguments(True, steps=3)]
    cur, mem, beta, threshold, graded = given
    tensors = (cur, mem, None, None, beta, threshold, graded, None, None, None, None)
    rule = ("subtract", "atan", [2.0], [False, False, False, True], "native", True)
    torch.library.opcheck(torch.ops.snnplug.neurons.default, (*tensors, *rule))


def test_compiles_whole_exports_as_torch_and_works_under_functorch() -> None:
    given, dynamics = arguments(True, steps=4), CASES[0]

    class Layer(torch.nn.Module):
        def forward(self, *given: Tensor) -> tuple[Tensor, Tensor]:
            return lif(*given, dynamics)

    expected = lif(*given, dynamics)
    compiled = torch.compile(Layer(), fullgraph=True, backend="aot_eager")(*given)
    exported = torch.export.export(Layer(), tuple(given))
    assert all(torch.equal(a, b) for a, b in zip(compiled, expected, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(exported.module()(*given), expected, strict=True))
    assert not any("snnplug" in str(node.target) for node in exported.graph.nodes)
    gradient = torch.func.grad(lambda cur: lif(cur, *given[1:], dynamics)[0].sum())(given[0])
    leaf = given[0].clone().requires_grad_()
    lif(leaf, *given[1:], dynamics)[0].sum().backward()
    torch.testing.assert_close(gradient, leaf.grad, rtol=1e-5, atol=1e-6)


class Narrow(HardFire):
    """A surrogate with an equation that no operator has."""

    def derivative(self, x: Tensor) -> Tensor:
        return super().derivative(2 * x)


@pytest.mark.parametrize("spike_grad", [Narrow(), snn.surrogate.sigmoid()])
def test_other_surrogates_take_the_reference(spike_grad: Callable[[Tensor], Tensor]) -> None:
    dynamics = replace(CASES[0], spike_grad=spike_grad)
    given = arguments(True)
    assert not kernel_for(given[0], Parameters(*given[2:]), dynamics)
    for a, b in zip(lif(*given, dynamics), lif_reference(*given, dynamics), strict=True):
        assert torch.equal(a, b)


def test_double_precision_takes_the_reference_and_passes_a_numerical_check() -> None:
    """Below threshold nothing spikes and everything is smooth."""
    generator = torch.Generator().manual_seed(0)
    given = [
        torch.rand(5, 2, 3, generator=generator, dtype=torch.float64) * 0.1,
        torch.zeros(2, 3, dtype=torch.float64),
        torch.rand(3, generator=generator, dtype=torch.float64),
        torch.full((3,), 100.0, dtype=torch.float64),
        torch.tensor(1.0, dtype=torch.float64),
    ]
    leaves = [x.requires_grad_() for x in given[:3]]
    assert torch.autograd.gradcheck(
        lambda *x: lif(*x, *given[3:], Dynamics("subtract", HardFire()))[1], leaves
    )


def test_pool_gives_memory_back() -> None:
    lib = native.library()
    assert lib is not None
    native.release_memory()
    shape = (1 << 10, 1 << 10)
    first = native.empty(shape)
    address = first.data_ptr()
    assert lib.snp_pool_kept() == 0
    del first
    assert lib.snp_pool_kept() == 4 << 20
    again = native.empty(shape)
    assert again.data_ptr() == address
    del again
    native.limit_memory(1 << 20)
    assert lib.snp_pool_kept() == 0
    native.limit_memory(1 << 30)


def test_switch_turns_the_library_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNNPLUG_NATIVE", "0")
    assert native._load() is None
    assert native.available() == (False, "switched off by SNNPLUG_NATIVE=0")
    monkeypatch.setattr(native, "_LIBRARY", None)
    given = arguments(True)
    assert torch.equal(lif(*given, CASES[0])[0], lif_reference(*given, CASES[0])[0])
    assert native.empty((1 << 10, 1 << 10)).shape == (1 << 10, 1 << 10)
