"""What can be said without an IPU about a training step on one: PopTorch's rules, checked."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Literal

import torch
from torch import Tensor, nn

from snnplug.backends.export.quiet import quietly
from snnplug.backends.ipu.memory import MemoryBound, memory_bound
from snnplug.errors import ArgumentError

Level = Literal["ERROR", "UNKNOWN"]

#: What ``torch.export`` itself puts into a graph; it computes nothing.
_ARTEFACTS = frozenset(
    {"_assert_tensor_metadata", "alias", "lift_fresh_copy", "sym_size", "_assert_scalar"}
)
#: The optimisers that PopTorch has on the device; their states per parameter, in float32.
OPTIMIZERS: Mapping[str, int] = {"SGD": 1, "Adam": 2, "AdamW": 2, "RMSprop": 3, "LAMB": 2}
#: What PopTorch turns a dtype into.
_CONVERTED = {
    torch.float64: "float32",
    torch.bfloat16: "float16",
    torch.int64: "int32",
}
STATEMENT = "static checks against the sources of PopTorch 3.4; nothing was run on an IPU"


@dataclass(frozen=True)
class Finding:
    """One thing that breaks a rule, or that no rule is known for.

    Attributes:
        level: ``"ERROR"`` breaks a known rule, ``"UNKNOWN"`` is in none.
        message: What it is.
    """

    level: Level
    message: str


@dataclass(frozen=True)
class Readiness:
    """The verdict on a training step.

    Attributes:
        findings: What was found; empty if it passes.
        operators: How often the graph has each operator of aten.
        memory: What the step needs at least, if it could be measured.
    """

    findings: tuple[Finding, ...]
    operators: Mapping[str, int] = field(default_factory=dict)
    memory: MemoryBound | None = None

    @property
    def verdict(self) -> str:
        """``"ERROR"``, ``"UNKNOWN"`` or ``"passes static checks"``."""
        levels = {finding.level for finding in self.findings}
        for level in ("ERROR", "UNKNOWN"):
            if level in levels:
                return level
        return "passes static checks"

    def __str__(self) -> str:
        lines = [f"{finding.level:8}{finding.message}" for finding in self.findings]
        if self.operators:
            lines.append(f"{sum(self.operators.values())} operators of {len(self.operators)} kinds")
        if self.memory is not None:
            lines.append(str(self.memory))
        return "\n".join([*lines, f"verdict: {self.verdict} ({STATEMENT})"])


def check_ipu(
    step: nn.Module,
    example: tuple[Tensor, ...],
    optimizer: str = "Adam",
    memory: bool = True,
) -> Readiness:
    """Check a training step against the rules of PopTorch, and against its way of differentiating.

    PopART ignores the backward of a ``torch.autograd.Function`` and differentiates the forward
    graph itself. So the exported graph is differentiated here as well, and the gradient of every
    parameter compared with that of the step as it is: a network of stock surrogates learns in its
    last layer only, and is caught.

    Args:
        step: Returns the loss, a scalar, or a tuple with the loss at its end.
        example: One micro batch, as ``step(*example)`` takes it.
        optimizer: Name of the optimiser's class.
        memory: Measure the lower bound of the memory too.

    Returns:
        Findings, operators, memory bound. That there is no finding does not show that the step
        compiles, fits or trains on an IPU.

    Raises:
        ArgumentError: The step does not return a loss.

    Example:
        >>> from snnplug.backends.ipu import check_ipu
        >>> class Step(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.fc = nn.Linear(4, 2)
        ...     def forward(self, x, y):
        ...         return nn.functional.cross_entropy(self.fc(x), y)
        >>> check_ipu(Step(), (torch.rand(3, 4), torch.tensor([0, 1, 0]))).verdict
        'passes static checks'

    Reference:
        graphcore/poptorch (MIT), branch sdk-release-3.4: handlers, buffer rules, optimisers.
    """
    found = [*_static(step, example), *_optimizer(optimizer)]
    step = copy.deepcopy(step)  # exporting leaves its own tensors in a module that keeps state
    before = {name: buffer.data_ptr() for name, buffer in step.named_buffers()}
    eager = _gradients(step, example)
    found += [
        Finding("ERROR", f"buffer {name} is assigned in forward; PopTorch allows writes in place")
        for name, buffer in step.named_buffers()
        if before.get(name) != buffer.data_ptr()
    ]
    try:
        with quietly():
            program = torch.export.export(step, example, strict=False)
            again = _gradients(program.module(), example)
    except Exception as error:  # a branch on data, .item(), an operator without a fake kernel …
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        return Readiness((*found, Finding("ERROR", f"cannot be exported: {reason}")))
    operators, unlisted = _operators(program)
    found += unlisted
    found += _lost(eager, again)
    bound = memory_bound(step, example, OPTIMIZERS.get(optimizer, 2)) if memory else None
    if bound is not None and not bound.may_fit:
        found.append(Finding("ERROR", f"cannot fit into one IPU: {bound}"))
    return Readiness(tuple(found), operators, bound)


def supported_operators() -> frozenset[str]:
    """Return the operators of aten that PopTorch 3.4 lowers, without overloads."""
    text = files("snnplug.backends.ipu").joinpath("operators.txt").read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


def _static(step: nn.Module, example: tuple[Tensor, ...]) -> list[Finding]:
    found = [
        Finding("ERROR", f"buffer {name} is empty; PopTorch refuses tensors of size 0")
        for name, buffer in step.named_buffers()
        if buffer.numel() == 0
    ]
    for position, tensor in enumerate(example):
        if tensor.requires_grad:
            found.append(Finding("ERROR", f"input {position} requires a gradient"))
        if tensor.numel() == 0:
            found.append(Finding("ERROR", f"input {position} is empty"))
    named = [*step.named_parameters(), *step.named_buffers()]
    for name, tensor in named:
        if tensor.dtype in (torch.float64, torch.bfloat16):
            found.append(
                Finding(
                    "UNKNOWN",
                    f"{name} is {tensor.dtype}, which PopTorch makes {_CONVERTED[tensor.dtype]}",
                )
            )
    return found


def _optimizer(name: str) -> list[Finding]:
    if name in OPTIMIZERS:
        return []
    return [
        Finding("ERROR", f"optimizer {name}; PopTorch has {', '.join(OPTIMIZERS)} on the device")
    ]


def _loss(step: nn.Module, example: tuple[Tensor, ...]) -> Tensor:
    result = step(*example)
    loss = result[-1] if isinstance(result, tuple) else result
    if not isinstance(loss, Tensor) or loss.dim() != 0:
        raise ArgumentError(
            "the step returns no scalar loss; it takes one, or a tuple that ends in it"
        )
    return loss


def _gradients(step: nn.Module, example: tuple[Tensor, ...]) -> dict[str, Tensor | None]:
    """Return the gradient of every parameter; the same random numbers whatever the step is."""
    parameters = dict(step.named_parameters())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        loss = _loss(step, example)
    if not loss.requires_grad:
        return dict.fromkeys(parameters)
    grads = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return dict(zip(parameters, grads, strict=True))


def _operators(
    program: torch.export.ExportedProgram,
) -> tuple[dict[str, int], list[Finding]]:
    calls = Counter(str(node.target) for node in program.graph.nodes if node.op == "call_function")
    known, operators, found = supported_operators() | _ARTEFACTS, Counter[str](), []
    for target, times in sorted(calls.items()):
        if "getitem" in target:  # takes one of several results; no operator
            continue
        if not target.startswith("aten."):
            found.append(Finding("UNKNOWN", f"{target}, {times} times, is no operator of aten"))
            continue
        name = target.split(".")[1]
        operators[name] += times
        if not {name, name.rstrip("_")} & known:
            found.append(
                Finding("ERROR", f"PopTorch has no handler for aten::{name}, {times} times")
            )
    return dict(operators), found


def _lost(eager: Mapping[str, Tensor | None], again: Mapping[str, Tensor | None]) -> list[Finding]:
    return [
        Finding(
            "ERROR",
            f"the gradient of {name} is lost when the forward graph is differentiated: a backward "
            "of its own, as of snnTorch's surrogates, is ignored; use one of snnplug's",
        )
        for name, grad in eager.items()
        if grad is not None
        and (
            (got := again.get(name)) is None or not torch.allclose(got, grad, rtol=1e-4, atol=1e-6)
        )
    ]
