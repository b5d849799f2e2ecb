"""Backends by name: honoured, or refused with what would help."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import snnplug as sp
from snnplug import backends
from snnplug.backends import compiled
from snnplug.backends.base import Prepared
from snnplug.errors import BackendError
from snnplug.kernels.time_loop import scans
from tests.backends.networks import frames, network
from tests.neurons.makers import NEURONS


@pytest.mark.parametrize("name", backends.names())
def test_says_whether_it_runs_and_why(name: str) -> None:
    backend = sp.backends.get(name)
    runs, reason = backend.available()
    assert backend.name == name
    assert reason
    assert "32-true" in backend.precisions
    if not runs:
        with pytest.raises(BackendError, match="does not run here"):
            backend.prepare(nn.Identity())


def test_a_misspelt_name_is_answered_with_the_names() -> None:
    with pytest.raises(BackendError, match="Did you mean fused"):
        backends.get("fuse")


def test_without_a_compiler_the_request_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "cpp_compiler", lambda: (False, "there is no C++ compiler"))
    with pytest.raises(BackendError, match=r"no C.. compiler; install g.., or use backend fused"):
        backends.get("compiled").prepare(nn.Identity())


def test_eager_takes_no_operator_and_fused_does(monkeypatch: pytest.MonkeyPatch) -> None:
    from snnplug.neurons import lif

    calls: list[str] = []
    operator = lif.neurons
    monkeypatch.setattr(lif, "neurons", lambda *a: (calls.append("taken"), operator(*a))[1])
    net = network(NEURONS[1])
    net = sp.SpikingSequential(nn.Linear(6, 3), sp.Leaky(beta=0.9))
    backends.get("eager").prepare(net)(frames())
    assert not calls
    backends.get("fused").prepare(net)(frames())
    assert calls


@pytest.mark.parametrize(("dtype", "loop"), [(torch.float32, "neurons"), (torch.float64, "scan")])
def test_a_compiler_meets_a_kernel_or_a_scan(dtype: torch.dtype, loop: str) -> None:
    torch._dynamo.reset()
    seen: list[str] = []

    def compiler(graph: torch.fx.GraphModule, example: object) -> object:
        seen.extend(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
        return graph.forward

    net = sp.SpikingSequential(nn.Linear(6, 3), sp.Leaky(beta=0.9)).to(dtype)
    prepared = compiled.compiled(net, None, "compiled", compiler)  # type: ignore[arg-type]
    with torch.no_grad():
        out = prepared(frames().to(dtype))
    assert torch.equal(out, backends.get("eager").prepare(net)(frames().to(dtype)))
    loops = [name for name in seen if "neurons" in name or "scan" in name]
    assert len(loops) == 1
    assert loop in loops[0]


def test_hooks_see_a_compiled_network() -> None:
    torch._dynamo.reset()
    net = sp.SpikingSequential(nn.Linear(6, 3), sp.Leaky(beta=0.9))
    prepared = compiled.Compiled("aot_eager").prepare(net)
    before = prepared(frames())
    seen = []
    hook = net[0].register_forward_hook(lambda *_: seen.append(1))
    assert torch.equal(prepared(frames()), before)
    assert seen
    hook.remove()
    prepared(frames())
    assert len(seen) == 1


def test_what_cannot_be_compiled_is_refused() -> None:
    class Branches(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    torch._dynamo.reset()
    prepared = compiled.Compiled("aot_eager").prepare(Branches())
    with pytest.raises(BackendError, match=r"cannot be compiled.*use backend fused"):
        prepared(frames())


class Narrow(sp.HardFire):
    """A surrogate that no kernel knows."""

    def derivative(self, x: torch.Tensor) -> torch.Tensor:
        return super().derivative(2 * x)


def test_batches_are_not_compiled_again() -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    net = sp.SpikingSequential(
        sp.SpikeLinear(6, 3), sp.RLeaky(beta=0.9, linear_features=3), nn.Linear(3, 4),
        sp.Leaky(beta=0.9, spike_grad=Narrow()),
    )  # fmt: skip
    prepared = compiled.Compiled("aot_eager").prepare(net, frames())
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert graphs == 1
    for seed, batch in enumerate((5, 5, 3, 7)):
        prepared(frames(batch=batch, seed=seed)).sum().backward()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs


def test_other_lengths_and_other_networks_do_not_run_into_torchs_limits() -> None:
    """torch keeps eight graphs per code, and makes a variable of a length that changes."""
    torch._dynamo.reset()
    scans()  # compiles a graph of its own, once
    torch._dynamo.utils.counters.clear()

    class Lengths(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * len(x)

    for _ in range(3):
        prepared = compiled.Compiled("eager").prepare(Lengths())
        for num_steps in (4, 9, 5, 12):
            for batch in (3, 5):
                assert prepared(frames(num_steps, batch)).shape == (num_steps, batch, 6)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 12


@pytest.mark.slow
def test_inductor_compiles_one_length_after_the_other() -> None:
    torch._dynamo.reset()
    net = sp.SpikingSequential(nn.Linear(6, 3), sp.Leaky(beta=0.9))
    prepared = compiled.Compiled().prepare(net)
    for num_steps in (6, 9):
        spk = prepared(frames(num_steps))
        assert torch.equal(spk, net(frames(num_steps)))
        spk.sum().backward()


def test_whether_scan_works_may_be_asked_in_validation() -> None:
    scans.cache_clear()
    with torch.inference_mode():
        assert scans() == (True, "one scan, for any number of time steps")


def test_without_scan_long_sequences_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "scans", lambda: (False, "torch 0 has no scan"))
    torch._dynamo.reset()
    net = sp.SpikingSequential(nn.Linear(6, 3), sp.Leaky(beta=0.9))
    prepared = compiled.Compiled("aot_eager").prepare(net)
    assert torch.equal(prepared(frames(6)), backends.get("eager").prepare(net)(frames(6)))
    with pytest.raises(BackendError, match=r"26 time steps would be unrolled.*use backend fused"):
        prepared(frames(26))


def test_auto_measures_once_and_takes_the_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    from snnplug.backends import auto

    times = {"fused": 2.0, "compiled": 1.0}
    asked: list[int] = []
    monkeypatch.setattr(auto, "_measured", lambda *_: (asked.append(1), times)[1])
    net = sp.SpikingSequential(nn.Linear(6, 3), sp.Leaky(beta=0.9))
    backend = auto.Auto(compiler="aot_eager")
    first = backend.prepare(net, frames(num_steps=4))
    assert first.backend == "compiled"
    assert "fused 2.00 ms, compiled 1.00 ms" in first.note
    times["fused"] = 0.5
    assert backend.prepare(net, frames(num_steps=4)).backend == "compiled"
    assert len(asked) == 1
    assert backend.prepare(net, frames(num_steps=5)).backend == "fused"
    with pytest.raises(BackendError, match="needs frames"):
        backend.prepare(net)


@pytest.mark.slow
def test_auto_times_a_training_step_of_both() -> None:
    from snnplug.backends.auto import Auto

    torch._dynamo.reset()
    net = sp.SpikingSequential(nn.Linear(6, 3), sp.Leaky(beta=0.7))
    prepared = Auto(compiler="aot_eager").prepare(net, frames(num_steps=6))
    # Interpreted, the compiled graph can only be slower than the kernels.
    assert isinstance(prepared, Prepared)
    assert prepared.backend == "fused"
    assert all(p.grad is None for p in net.parameters())
