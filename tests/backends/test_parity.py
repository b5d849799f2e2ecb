"""Every backend gives what eager gives: spikes to the last bit, gradients but for their sums.

The tolerances of gradients are those of another order of summation. bfloat16 rounds a product to
eight bits, so that gradients that pass through two of them may differ by two roundings; float16 to
eleven.
"""

from __future__ import annotations

import contextlib
import sys

import pytest
import torch
from torch import Tensor

import snnplug as sp
from snnplug import backends
from snnplug.backends.compiled import Compiled
from tests.backends.networks import frames, network, training_step
from tests.neurons.makers import NEURONS, Maker, label
from tests.support import fake_poptorch

PRECISIONS = {
    "32-true": (torch.float32, contextlib.nullcontext, 1e-5),
    "64-true": (torch.float64, contextlib.nullcontext, 1e-12),
    "bf16-mixed": (torch.float32, lambda: torch.autocast("cpu", torch.bfloat16), 2 * 2**-8),
    "16-mixed": (torch.float32, lambda: torch.autocast("cpu", torch.float16), 2 * 2**-11),
}

Step = tuple[Tensor, list[Tensor]]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("maker", NEURONS, ids=label)
def test_the_operators_give_what_eager_gives(maker: Maker, precision: str) -> None:
    dtype, context, tolerance = PRECISIONS[precision]
    net = network(maker).to(dtype)
    x = frames().to(dtype)
    with context():
        eager = training_step(net, backends.get("eager").prepare(net), x)
        other = training_step(net, backends.get("fused").prepare(net), x)
    _equal(other, eager, tolerance, precision)


@pytest.mark.slow
@pytest.mark.parametrize("maker", NEURONS, ids=label)
def test_captured_graphs_give_what_eager_gives(maker: Maker) -> None:
    """What torch captures for a compiler, loop and gradients included, in every precision.

    Inductor, which turns such a graph into C++, takes half a minute per neuron: tried on some.
    """
    for precision, (dtype, context, tolerance) in PRECISIONS.items():
        net = network(maker)[:2].to(dtype)
        x = frames(num_steps=3, batch=4).to(dtype)
        torch._dynamo.reset()
        with context():
            eager = training_step(net, backends.get("eager").prepare(net), x)
            captured = training_step(net, Compiled("eager").prepare(net), x)
        _equal(captured, eager, tolerance, precision)


def _equal(found: Step, eager: Step, tolerance: float, precision: str) -> None:
    assert 0 < eager[0].mean() < 1, precision
    assert torch.equal(eager[0], found[0]), precision
    assert any(g.any() for g in eager[1]), precision
    for ours, theirs in zip(found[1], eager[1], strict=True):
        largest = theirs.abs().max().item()
        torch.testing.assert_close(
            ours,
            theirs,
            rtol=tolerance,
            atol=tolerance * largest,
            msg=lambda m: f"{precision}: {m}",
        )


@pytest.mark.parametrize("name", ["eager", "fused"])
def test_no_batch_hears_the_one_before(name: str) -> None:
    net = network(NEURONS[1])
    run = backends.get(name).prepare(net)
    first = run(frames(seed=1))
    run(frames(seed=2))
    assert torch.equal(run(frames(seed=1)), first)
    assert not torch.equal(run(frames(seed=2)), first)


@pytest.mark.parametrize("maker", NEURONS[2:10], ids=label)
def test_contract_the_ipu_spikes_as_eager_does(
    maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradients stay on the device; those of the portable form are compared in its own tests."""
    monkeypatch.setitem(sys.modules, "poptorch", fake_poptorch)
    net = network(maker).eval()
    device = backends.get("ipu").prepare(net)
    for seed in (1, 2, 1):
        wanted = backends.get("eager").prepare(net)(frames(num_steps=4, seed=seed))
        assert torch.equal(device(frames(num_steps=4, seed=seed)), wanted)
    assert wanted.any()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["kernels", "scan"])
def test_inductor_gives_what_eager_gives(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    net = sp.SpikingSequential(
        torch.nn.Linear(6, 8), sp.RLeaky(beta=0.9, linear_features=8), sp.SpikeLinear(8, 4),
        sp.Synaptic(alpha=0.5, beta=0.9),
    ).to(dtype)  # fmt: skip
    x = 2 * frames(num_steps=9).to(dtype)
    eager = training_step(net, backends.get("eager").prepare(net), x)
    torch._dynamo.reset()
    prepared = backends.get("compiled").prepare(net, x)
    assert "compiled in" in prepared.note
    ours = training_step(net, prepared, x)
    assert 0 < eager[0].mean() < 1
    assert torch.equal(eager[0], ours[0])
    for mine, theirs in zip(ours[1], eager[1], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)
    assert torch.equal(prepared(x), eager[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("maker", NEURONS, ids=label)
def test_a_gpu_gives_what_the_processor_gives(maker: Maker) -> None:
    net = network(maker)
    spk, grads = training_step(net, backends.get("eager").prepare(net), frames())
    device = backends.get("cuda").prepare(net)
    x = frames().cuda()
    out = device(x)
    weights = torch.linspace(-1, 1, out.numel(), device="cuda").view_as(out)
    learned = [p for p in net.parameters() if p.requires_grad]
    found = torch.autograd.grad((out * weights).sum(), learned, allow_unused=True)
    assert torch.equal(out.cpu(), spk)
    for ours, theirs in zip(found, grads, strict=True):
        ours = torch.zeros_like(theirs) if ours is None else ours.cpu()
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
