"""``torch.compile`` over the whole network: a kernel or one ``scan`` per loop over time."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import FunctionType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from snnplug.backends.base import Backend, Prepared
from snnplug.errors import BackendError
from snnplug.kernels import execution
from snnplug.kernels.time_loop import scans

#: Without scan the loop is unrolled: compiling 25 steps of two layers took 20 s, 100 steps 69 s.
LONGEST_UNROLLED = 25


class Compiled(Backend):
    """Compile the network into fused loops; a shape is compiled once, any batch size after it.

    Layers that a kernel of ours takes, and those of the spike-train rules, stay one operator each,
    whose memory is that of spikes as numbers, not bits; the loops over time of others become
    one ``scan``. Compilation takes some seconds without a scan and half a minute with, once per
    shape of frames, per mode (training, evaluation) and process; torch keeps the kernels on disk
    for the next one. The first step is compiled at :meth:`prepare` if it is given an example.

    Args:
        compiler: torch's name of it; ``"inductor"`` needs a C++ compiler on the CPU.

    Raises:
        BackendError: A network cannot be compiled, or ``scan`` is missing and the sequence is long.
    """

    name: ClassVar[str] = "compiled"

    def __init__(self, compiler: str = "inductor") -> None:
        self.compiler = compiler

    def available(self) -> tuple[bool, str]:
        """Return whether there is a C++ compiler, and how the loop over time is compiled."""
        if not compiles():
            return False, "torch.compile does not run on this Python; use backend fused"
        if self.compiler == "inductor":
            found, where = cpp_compiler()
            if not found:
                return False, f"{where}; install g++, or use backend fused"
            return True, f"torch.compile ({self.compiler}, {where})"
        return True, f"torch.compile ({self.compiler})"

    def _prepared(self, network: nn.Module, example: Tensor | None) -> Prepared:
        return compiled(network, example, self.name, self.compiler)


def compiled(network: nn.Module, example: Tensor | None, backend: str, compiler: str) -> Prepared:
    """Return the network, compiled; at once if there is an example."""
    for name, module in network.named_modules():
        if not getattr(module, "compiles", True):
            raise BackendError(
                f"the network cannot be compiled: {name} ({type(module).__name__}) learns by a "
                "rule of your own, which its operators do not know; use backend fused"
            )
    start = time.perf_counter()
    scanned, how = scans()
    mode: execution.Mode = "compiled" if scanned else "eager"
    graphs: dict[torch.Size, Any] = {}

    def graph(shape: torch.Size) -> Any:
        if shape not in graphs:
            graphs[shape] = torch.compile(
                _called(network),
                backend=compiler,
                fullgraph=True,
                dynamic=False,
                options=_options(compiler),
            )
        return graphs[shape]

    def run(frames: Tensor) -> Any:
        if not scanned and len(frames) > LONGEST_UNROLLED:
            raise BackendError(
                f"{len(frames)} time steps would be unrolled, which takes minutes to compile "
                f"above {LONGEST_UNROLLED}: {how}; use backend fused"
            )
        # Else the first batch of another size, such as the last of an epoch, compiles anew.
        torch._dynamo.maybe_mark_dynamic(frames, 1)
        try:
            return graph(frames.shape[:1] + frames.shape[2:])(frames)
        except torch._dynamo.exc.TorchDynamoException as error:
            first = str(error).strip().splitlines()[0]
            raise BackendError(
                f"the network cannot be compiled: {first}; use backend fused"
            ) from error

    prepared = Prepared(network, backend, mode, run)
    if example is not None:
        one_step(prepared, example)
        prepared.note = f"compiled in {time.perf_counter() - start:.1f} s ({how})"
    return prepared


def _options(compiler: str) -> dict[str, Any] | None:
    """Return what Inductor is told for this compilation only.

    It would otherwise compile a program for each set of vector instructions that the processor has,
    half of the first compilation on a machine; a compiler of C++17, which torch needs, has them.
    """
    if compiler != "inductor":
        return None
    from torch._inductor import config

    return {"cpp.vec_isa_ok": True} if hasattr(config.cpp, "vec_isa_ok") else None


def _called(network: nn.Module) -> Callable[[Tensor], Any]:
    """Return a function that calls the network, of code that no other function has.

    torch keeps what it compiled, and what it found to vary, by code: eight graphs at most, and a
    number of time steps that is another one the second time becomes a variable, which Inductor
    cannot scan over.
    """

    def call(frames: Tensor) -> Any:
        return network(frames)

    return FunctionType(call.__code__.replace(), call.__globals__, "call", None, call.__closure__)


def one_step(prepared: Prepared, example: Tensor) -> None:
    """Run forward, and backward where gradients are on; nothing that trains is touched."""
    with torch.random.fork_rng():
        out = prepared(example)
        outputs = [x for x in (out if isinstance(out, tuple) else (out,)) if x.requires_grad]
        learned = [p for p in prepared.network.parameters() if p.requires_grad]
        if outputs and learned:
            torch.autograd.grad(sum(x.sum() for x in outputs), learned, allow_unused=True)


def compiles() -> bool:
    """Whether ``torch.compile`` runs on this system."""
    from torch._dynamo.eval_frame import check_if_dynamo_supported

    try:
        check_if_dynamo_supported()
    except RuntimeError:
        return False
    return True


def cpp_compiler() -> tuple[bool, str]:
    """Return whether Inductor finds a C++ compiler, and its name or why not."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        return True, get_cpp_compiler()
    except InvalidCxxCompiler:
        return False, "there is no C++ compiler"
