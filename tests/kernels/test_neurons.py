"""The operator over a sequence: second order and recurrent neurons, native against torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from snnplug.kernels import native
from snnplug.kernels.dynamics import known
from snnplug.kernels.neurons import kernel_for
from snnplug.neurons.base import SequenceNeuron
from snnplug.neurons.leaky import Leaky
from snnplug.neurons.rleaky import RLeaky
from snnplug.neurons.rsynaptic import RSynaptic
from snnplug.neurons.synaptic import Synaptic
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

ALL: list[Surrogate] = [
    HardFire(),
    HardFire(0.4, inclusive=True),
    StraightThrough(),
    Atan(),
    FastSigmoid(),
    SparseFastSigmoid(),
    Sigmoid(4.0),
    Triangular(),
    Rectangular(),
    Gaussian(),
    MultiGaussian(),
]
KINDS: dict[str, Callable[..., Any]] = {
    "Leaky": lambda n, **more: Leaky(0.9, **more),
    "Synaptic": lambda n, **more: Synaptic(0.7, 0.9, **more),
    "RLeaky-one": lambda n, **more: RLeaky(0.9, V=0.3, all_to_all=False, **more),
    "RLeaky-dense": lambda n, **more: RLeaky(0.9, linear_features=n, **more),
    "RSynaptic-one": lambda n, **more: RSynaptic(0.7, 0.9, V=0.3, all_to_all=False, **more),
    "RSynaptic-dense": lambda n, **more: RSynaptic(0.7, 0.9, linear_features=n, **more),
}
DENSE = ["RLeaky-dense", "RSynaptic-dense"]


@pytest.fixture(autouse=True)
def _library() -> None:
    torch.manual_seed(0)
    assert native.library() is not None, native.available()[1]


def drive(steps: int, batch: int, features: int, mean: float = 0.25) -> Tensor:
    return torch.randn(steps, batch, features) * 0.6 + mean


def make(kind: str, features: int, rounded: bool = True, **more: Any) -> Any:
    """A layer; weights in multiples of 1/64 have one sum, whatever its order."""
    neuron = KINDS[kind](features, threshold=0.9, **more)
    if rounded and hasattr(neuron, "recurrent"):
        for p in neuron.recurrent.parameters():
            p.data.copy_((p.data * 64).round() / 64)
    return neuron


def results(run: Callable[..., Any], neuron: SequenceNeuron, cur: Tensor) -> list[Tensor]:
    """Spikes, the last state, and the gradient of the current and of all parameters."""
    leaf = cur.clone().requires_grad_()
    state = neuron._resting(cur[0], (None,) * len(neuron.state_names))
    spk, after = run(leaf, state)
    generator = torch.Generator().manual_seed(1)
    outputs = [spk, *after]
    weights = [torch.rand(x.shape, generator=generator, dtype=torch.float64) for x in outputs]
    total = torch.stack([(x * w.to(x.dtype)).sum() for x, w in zip(outputs, weights, strict=True)])
    found = torch.autograd.grad(total.sum(), [leaf, *neuron.parameters()], allow_unused=True)
    return [x.detach() for x in outputs] + [torch.zeros(1) if g is None else g for g in found]


def compare(found: list[Tensor], expected: list[Tensor], bits: int, tolerance: float) -> None:
    """The first ``bits`` are equal, the others within ``tolerance`` of the largest value."""
    for k, (a, b) in enumerate(zip(found, expected, strict=True)):
        if k < bits:
            assert torch.equal(a, b)
        else:
            assert (a - b).abs().max() <= tolerance * b.abs().max(), k


@pytest.mark.parametrize("surrogate", ALL, ids=repr)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("learned", [True, False])
def test_every_surrogate_native_and_in_torch_is_autograds(
    kind: str, surrogate: Surrogate, learned: bool
) -> None:
    for reset, delay, detach in [("subtract", True, True), ("zero", False, False)]:
        more: dict[str, Any] = {"learn_beta": learned, "learn_threshold": learned}
        if "Synaptic" in kind:
            more["learn_alpha"] = learned
        neuron = make(
            kind,
            70,
            spike_grad=surrogate,
            reset_mechanism=reset,
            reset_delay=delay,
            detach_reset=detach,
            **more,
        )
        cur = drive(11, 5, 70)
        bits = 1 + len(neuron.state_names)
        ours = results(neuron.sequence, neuron, cur)
        assert 0.02 < ours[0].mean() < 0.98
        compare(ours, results(neuron._loop, neuron, cur), bits, 2e-6)
        neuron.to(torch.float64)
        cur = cur.double()
        compare(
            results(neuron.sequence, neuron, cur), results(neuron._loop, neuron, cur), bits, 1e-12
        )


@pytest.mark.filterwarnings("ignore::snnplug.neurons.decay_precision.DecayWarning")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_spikes_as_step_by_step_and_sums_gradients_in_float32(
    kind: str, dtype: torch.dtype
) -> None:
    neuron = make(kind, 8, learn_beta=True).to(dtype)
    cur = drive(9, 4, 8).to(dtype)
    found = results(neuron.sequence, neuron, cur)
    expected = results(neuron._loop, neuron, cur)
    compare(found, expected, 1 + len(neuron.state_names), 0.03 if dtype == torch.bfloat16 else 5e-3)


@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize("mean", [0.1, 0.8])
def test_a_sample_does_not_depend_on_its_batch_or_the_threads(kind: str, mean: float) -> None:
    """Rare spikes are gathered, frequent ones multiplied: the sums are the same."""
    features = 150
    neuron = make(kind, features, rounded=False)
    cur = torch.cat([drive(30, 6, features, mean), drive(30, 5, features, -0.2)], 1)
    threads = torch.get_num_threads()
    try:
        outputs = []
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            outputs.append(results(neuron.run, neuron, cur))
    finally:
        torch.set_num_threads(threads)
    rates = outputs[0][0].mean((0, 2))
    assert (rates < 0.25).any()
    assert mean < 0.5 or (rates > 0.25).any()
    for other in outputs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(outputs[0], other, strict=True))
    for sample in range(cur.shape[1]):
        alone = neuron.run(cur[:, sample : sample + 1])[0]
        assert torch.equal(alone[:, 0], outputs[0][0][:, sample])


@pytest.mark.parametrize("kind", DENSE)
def test_weight_gradient_from_few_and_from_many_spikes(kind: str) -> None:
    features, rates = 96, []
    neuron = make(kind, features)
    for mean in (-0.4, 0.9):
        cur = drive(130, 64, features, mean)
        found = results(neuron.run, neuron, cur)
        rates.append(found[0].mean().item())
        compare(found, results(neuron._loop, neuron, cur), 1 + len(neuron.state_names), 1e-5)
    assert rates[0] < 0.2 < 0.4 < rates[1]


@pytest.fixture
def isa() -> Iterator[Callable[[int], int]]:
    lib = native.library()
    assert lib is not None
    best = native.available()[1]
    yield lib.snp_use_isa
    lib.snp_use_isa({"portable": 0, "avx2": 1, "avx512": 2}[best])


@pytest.mark.parametrize("kind", KINDS)
def test_every_instruction_set_gives_the_same_spikes(kind: str, isa: Callable[[int], int]) -> None:
    neuron = make(kind, 70, rounded=False, spike_grad=MultiGaussian())
    cur = drive(20, 7, 70)
    found = [results(neuron.run, neuron, cur) for which in range(3) if isa(which)]
    for other in found[1:]:
        # Backward, dense products round once or twice per term.
        bits = 1 + len(neuron.state_names) if kind in DENSE else len(other)
        compare(other, found[0], bits, 1e-5)


@pytest.mark.parametrize("kind", ["Leaky", "RSynaptic-one"])
def test_large_outputs_which_go_past_the_caches_are_those_of_small_ones(kind: str) -> None:
    neuron = make(kind, 512)
    cur, grad = drive(33, 64, 512), torch.randn(33, 64, 512)
    assert cur.numel() * 4 >= 4 << 20  # kPastFrom of native/neuron_tile.h

    def both(cur: Tensor, grad: Tensor) -> Tensor:
        leaf = cur.clone().requires_grad_()
        spk, _ = neuron.run(leaf)
        return torch.stack([spk.detach(), *torch.autograd.grad(spk, leaf, grad)])

    parts = map(both, cur.split(13, dim=1), grad.split(13, dim=1))
    assert torch.equal(both(cur, grad), torch.cat(list(parts), dim=2))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_for_the_backward_pass(kind: str) -> None:
    neuron = make(kind, 70)
    cur = drive(20, 7, 70).requires_grad_()
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        kept[x.data_ptr()] = x.numel()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        neuron.run(cur)
    per_step = [n for n in kept.values() if n >= cur.numel()]
    assert per_step == [cur.numel()]  # one float: the current, or the potential
    assert (cur.data_ptr() in kept) is (kind not in DENSE)


@pytest.mark.parametrize("kind", KINDS)
def test_is_a_proper_operator(kind: str) -> None:
    neuron = make(kind, 5, learn_beta=True)
    cur = drive(3, 2, 5).requires_grad_()
    tensors = neuron._tensors(cur)
    rest = torch.zeros(2, 5)
    second, heard = "Synaptic" in kind, kind.startswith("R")
    beta, threshold, alpha, own = (
        p if p is None else p.detach().expand(5).clone().requires_grad_()
        for p in (tensors.beta, tensors.threshold, tensors.alpha, tensors.own)
    )
    torch.library.opcheck(
        torch.ops.snnplug.neurons.default,
        (
            cur,
            rest,
            rest.clone() if second else None,
            rest.clone() if heard else None,
            *(beta, threshold, tensors.graded, alpha, own, tensors.weight, tensors.bias),
            *("subtract", "atan", [2.0], [False, False, False, True], "native", True),
        ),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_compiles_whole_exports_as_torch_and_works_under_functorch(kind: str) -> None:
    neuron = make(kind, 5)

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neuron = neuron

        def forward(self, cur: Tensor) -> Tensor:
            spk: Tensor = self.neuron.run(cur)[0]
            return spk

    layer, cur = Layer(), drive(4, 3, 5)
    expected = layer(cur)
    leaves = [cur.clone().requires_grad_() for _ in range(2)]
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for run, leaf in zip([compiled, layer], leaves, strict=True):
        out = run(leaf)
        assert torch.equal(out, expected)
        out.sum().backward()
    gradient = torch.func.grad(lambda x: layer(x).sum())(cur)
    for other in (leaves[1].grad, gradient):
        torch.testing.assert_close(leaves[0].grad, other, rtol=1e-5, atol=1e-6)
    exported = torch.export.export(layer, (cur,))
    assert torch.equal(exported.module()(cur), expected)
    assert not any("snnplug" in str(node.target) for node in exported.graph.nodes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_double_precision_passes_a_numerical_check(kind: str, reset: str) -> None:
    """Between spikes everything is smooth: here all neurons spike, or none."""
    for threshold in (100.0, -100.0):
        neuron = make(kind, 3, reset_mechanism=reset, spike_grad=HardFire(), learn_beta=True)
        neuron.to(torch.float64)
        neuron.threshold.fill_(threshold)
        cur = torch.rand(5, 2, 3, dtype=torch.float64) * 0.1
        assert kernel_for(cur, neuron._tensors(cur), neuron._dynamics())
        parameters = list(neuron.parameters())
        state = [torch.rand(2, 3, dtype=torch.float64).requires_grad_() for _ in neuron.state_names]

        def run(*leaves: Tensor, neuron: Any = neuron, n: int = len(state)) -> tuple[Tensor, ...]:
            _, after = neuron.run(leaves[0], leaves[1 : 1 + n])
            return tuple(x for x in after if x.grad_fn is not None)

        assert torch.autograd.gradcheck(run, [cur.requires_grad_(), *state, *parameters])


def test_hooks_and_other_maps_are_stepped_in_torch() -> None:
    neuron = make("RLeaky-dense", 5)
    cur = drive(4, 3, 5)
    seen: list[Tensor] = []
    with neuron.recurrent.register_forward_hook(lambda module, args, out: seen.append(out)):
        spk = neuron.run(cur)[0]
    assert len(seen) == 4
    assert torch.equal(spk, neuron.run(cur)[0])
    assert neuron._tensors(cur[..., :4]) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert neuron._tensors(cur) is None


def test_a_surrogate_of_ones_own_is_stepped_in_torch() -> None:
    class Narrow(HardFire):
        def derivative(self, x: Tensor) -> Tensor:
            return super().derivative(2 * x)

    assert known(Narrow()) is None
    neuron = make("Synaptic", 5, spike_grad=Narrow())
    cur = drive(4, 3, 5)
    assert not kernel_for(cur, neuron._tensors(cur), neuron._dynamics())
    assert torch.equal(neuron.run(cur)[0], make("Synaptic", 5).run(cur)[0])
