"""The neurons in Triton against torch: interpreted on the processor, compiled on a GPU.

Without a GPU the kernels are compiled for devices that are not here. Nothing is said of speed.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from snnplug.kernels import execution
from snnplug.kernels.neurons import kernel_for
from snnplug.neurons import lif
from snnplug.surrogate import Atan, HardFire, Surrogate
from tests.kernels.test_neurons import ALL, compare, drive, make, results

# The interpreter of older ones does not run with NumPy 2.4.
pytest.importorskip("triton", "3.9", reason="Triton is not installed: pip install 'triton>=3.9'")

KINDS = ["Leaky", "Synaptic", "RLeaky-one", "RSynaptic-one"]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
KERNELS = "snnplug.kernels.triton_kernels"


@pytest.fixture
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The kernels, interpreted unless the parameter says no."""
    # Triton's decorator reads the variable, so the kernels are decorated anew.
    monkeypatch.setenv("TRITON_INTERPRET", "1" if getattr(request, "param", True) else "0")
    monkeypatch.delitem(sys.modules, KERNELS, raising=False)
    yield importlib.import_module(KERNELS)
    del sys.modules[KERNELS]


@pytest.fixture
def in_triton(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every layer run in Triton."""
    if DEVICE == "cpu":
        request.getfixturevalue("kernels")
    monkeypatch.setattr(lif, "kernel_for", lambda *call: "triton")


def in_torch(neuron: Any, cur: Tensor) -> list[Tensor]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lif, "kernel_for", lambda *call: "torch")
        return results(neuron.sequence, neuron, cur)


def check(kind: str, cur: Tensor, learned: bool = True, **more: Any) -> None:
    more |= {"learn_beta": learned, "learn_threshold": learned}
    if "Synaptic" in kind:
        more["learn_alpha"] = learned
    neuron = make(kind, cur.shape[-1], **more)
    expected = in_torch(neuron, cur)
    assert 0.02 < expected[0].mean() < 0.98
    neuron.to(DEVICE)
    found = [x.cpu() for x in results(neuron.sequence, neuron, cur.to(DEVICE))]
    compare(found, expected, 1 + len(neuron.state_names), 2e-6)


@pytest.mark.usefixtures("in_triton")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize(("delay", "detach"), [(True, True), (True, False), (False, False)])
def test_every_reset_is_that_of_torch(kind: str, reset: str, delay: bool, detach: bool) -> None:
    more: dict[str, Any] = {"reset_mechanism": reset, "reset_delay": delay, "detach_reset": detach}
    check(kind, drive(4, 2, 9), learned=detach or not delay, spike_grad=Atan(), **more)


@pytest.mark.usefixtures("in_triton")
@pytest.mark.parametrize("surrogate", ALL, ids=repr)
def test_every_surrogate_is_that_of_torch(surrogate: Surrogate) -> None:
    check("Leaky", drive(3, 3, 9), spike_grad=surrogate)


@pytest.mark.usefixtures("in_triton")
def test_parameters_of_their_own_for_neurons_of_several_programs() -> None:
    more = {name: torch.rand(70) * 0.5 + 0.5 for name in ("alpha", "beta", "V", "threshold")}
    neuron = neurons_of(**more)
    cur = drive(2, 3, 70)  # 210 neurons, 128 to a program
    expected = in_torch(neuron, cur)
    assert expected[0].any()
    neuron.to(DEVICE)
    found = [x.cpu() for x in results(neuron.sequence, neuron, cur.to(DEVICE))]
    assert [g.shape for g in found[-4:]].count((70,)) == 4
    compare(found, expected, 4, 2e-6)


def neurons_of(alpha: Tensor, beta: Tensor, V: Tensor, threshold: Tensor) -> Any:  # noqa: N803
    from snnplug.neurons.rsynaptic import RSynaptic

    return RSynaptic(
        alpha, beta, V=V, threshold=threshold, all_to_all=False, learn_alpha=True, learn_beta=True,
        learn_threshold=True,
    )  # fmt: skip


@pytest.mark.usefixtures("in_triton")
def test_one_step_and_values_that_are_not_finite() -> None:
    cur = torch.tensor([[[0.5, 2.0, torch.inf, -torch.inf, torch.nan]]])
    neuron = make("Leaky", 5, spike_grad=HardFire())
    expected = in_torch(neuron, cur)
    neuron.to(DEVICE)
    found = results(neuron.sequence, neuron, cur.to(DEVICE))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, equal_nan=True, rtol=0, atol=0)


@pytest.mark.usefixtures("in_triton")
def test_only_the_current_is_kept() -> None:
    neuron = make("Synaptic", 70, learn_alpha=True, reset_delay=False).to(DEVICE)
    cur = drive(2, 2, 70).to(DEVICE).requires_grad_()
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        kept[x.data_ptr()] = x.numel()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        neuron.run(cur)
    assert [at for at, n in kept.items() if n >= cur.numel()] == [cur.data_ptr()]


@pytest.mark.usefixtures("in_triton")
@pytest.mark.parametrize("mode", ["fused", "compiled"])
def test_a_compiler_takes_the_kernel(mode: execution.Mode) -> None:
    neuron = make("Leaky", 5).to(DEVICE)
    seen: list[str] = []

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neuron = neuron

        def forward(self, cur: Tensor) -> Tensor:
            spk: Tensor = self.neuron.run(cur)[0]
            return spk

    def backend(graph: torch.fx.GraphModule, example: Any) -> Any:
        seen.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    cur = drive(3, 2, 5).to(DEVICE)
    expected = neuron.run(cur)[0]
    with execution.running(mode):
        assert torch.equal(torch.compile(Layer(), backend=backend, fullgraph=True)(cur), expected)
    assert sum("snnplug.neurons" in name for name in seen) == 1


TARGETS = [("cuda", 75, 32, "ptx"), ("cuda", 90, 32, "ptx"), ("hip", "gfx90a", 64, "amdgcn")]


@pytest.mark.parametrize("kernels", [False], indirect=True)
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_compiles_for_devices_that_are_not_here(
    kernels: Any, target: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from triton import compile as compiled
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    *device, assembly = target
    constants: dict[str, Any] = {"RESET": 1, "INCLUSIVE": False, "IMMEDIATE": True, "BLOCK": 128}
    scalars = {"steps": "i32", "width": "i32", "features": "i32"}
    for kernel, more in [
        (kernels.neurons_forward, {}),
        (kernels.neurons_backward, {"SURROGATE": 8, "ATTACHED": True}),
    ]:
        values = constants | more
        kinds = {
            name: "constexpr" if name in values else scalars.get(name, "*fp32")
            for name in kernel.arg_names
        }
        source = ASTSource(kernel, kinds, values)
        made = compiled(source, target=GPUTarget(*device), options={"enable_fp_fusion": False})
        text = made.asm[assembly]
        assert len(text) > 1000
        # Each product is rounded before it is added, as torch's are, or a spike could differ.
        if kernel is kernels.neurons_forward:
            assert not re.search(r"\bfma|v_fma|v_mad_f", text)
            assert re.search(r"mul\.(rn\.)?f32|v_(pk_)?mul_f32", text)


@pytest.mark.usefixtures("in_triton")
@pytest.mark.parametrize("surrogate", ALL, ids=repr)
def test_float64_is_float64_throughout(surrogate: Surrogate) -> None:
    learned = {"learn_alpha": True, "learn_beta": True, "learn_threshold": True}
    neuron = make("RSynaptic-one", 6, spike_grad=surrogate, **learned).double()
    cur = drive(4, 2, 6).double() + 1e-9
    expected = in_torch(neuron, cur)
    assert all(x.dtype == torch.float64 for x in expected)
    neuron.to(DEVICE)
    found = [x.cpu() for x in results(neuron.sequence, neuron, cur.to(DEVICE))]
    compare(found, expected, 1 + len(neuron.state_names), 1e-13)


def test_takes_floats_on_a_gpu_only() -> None:
    neuron = make("Leaky", 5)
    how = neuron._dynamics()
    for cur in (drive(2, 2, 5), drive(2, 2, 5).double(), torch.empty(2, 2, 5, device="meta")):
        assert kernel_for(cur, neuron._tensors(cur), how) in ("native", "torch")
    if DEVICE == "cuda":
        on_device = drive(2, 2, 5).cuda()
        assert kernel_for(on_device, neuron._tensors(on_device), how) == "triton"
        dense = make("RLeaky-dense", 5).cuda()
        assert kernel_for(on_device, dense._tensors(on_device), dense._dynamics()) == "torch"
