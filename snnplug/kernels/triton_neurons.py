"""The neurons on a GPU: Triton kernels, launched once per layer, sequence and direction.

float32 and float64: half precision reaches the neurons as float32, under autocast. Dense recurrence
is a matrix product per step, and stays in torch. The
backward pass keeps the current alone, as the native kernel does, and computes the states again.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from snnplug.kernels.dynamics import RESETS, Parameters, State, native_surrogate
from snnplug.kernels.reference import (
    Gradients,
    StepRule,
    Trace,
    kept_rows,
    last_gradients,
    trace_of,
)

# One neuron per thread of four warps: Triton's defaults. Nobody has tuned it on a device.
_BLOCK = 128
_INSTALLED = find_spec("triton") is not None


def takes(cur: Tensor) -> bool:
    """Whether the kernels may take this current now: plain floats on a GPU with Triton."""
    return (
        _INSTALLED
        and type(cur) in (Tensor, Parameter)
        and cur.device.type == "cuda"
        and cur.dtype in (torch.float32, torch.float64)
        and cur.layout == torch.strided
        and not torch.compiler.is_exporting()
        and not torch._C._are_functorch_transforms_active()
    )


def forward(
    cur: Tensor, state: State, p: Parameters, rule: StepRule, trace: Trace | None
) -> tuple[Tensor, State]:
    """Return the spikes and the state after the last step; all tensors contiguous, of one dtype."""
    spk, mem = torch.empty_like(cur), torch.empty_like(state.mem)
    syn = None if state.syn is None else torch.empty_like(state.syn)
    _forward(cur, state, p, rule, (spk, syn, mem), trace)
    return spk, State(mem, syn)


def _forward(
    cur: Tensor,
    state: State,
    p: Parameters,
    rule: StepRule,
    outputs: tuple[Tensor | None, Tensor | None, Tensor | None],
    trace: Trace | None,
) -> None:
    """Fill what is not None of spikes, synaptic current and membrane, and the trace."""
    _launch(
        "neurons_forward",
        state.mem,
        *(cur, state.mem, state.syn, state.spk),
        *_parameters(p),
        *outputs,
        *(trace or (None,) * 4),
        *(len(cur), state.mem.numel(), p.beta.numel()),
        RESET=RESETS[rule.reset],
        INCLUSIVE=rule.surrogate.inclusive,
        IMMEDIATE=rule.immediate,
    )


def backward(
    grad_spk: Tensor,
    grad_mem: Tensor | None,
    grad_syn: Tensor | None,
    cur: Tensor,
    start: State,
    p: Parameters,
    rule: StepRule,
) -> Gradients:
    """Return the gradients, with the states of every step computed again from the current."""
    late, late_syn = last_gradients(start, grad_mem, grad_syn)
    second = start.syn is not None
    rows = cur.new_empty((kept_rows(rule, second), *cur.shape))
    trace = trace_of(rows, rule, second)
    _forward(cur, start, p, rule, (None, None, None), trace)
    grad_cur, mem = torch.empty_like(grad_spk), torch.empty_like(start.mem)
    syn, spk = (None if x is None else torch.empty_like(x) for x in (start.syn, start.spk))
    parameters = mem.new_empty((5, *mem.shape)) if rule.learned else None
    number, constants = native_surrogate(rule.surrogate)
    _launch(
        "neurons_backward",
        start.mem,
        *(grad_spk, late_syn, late, *start),
        *_parameters(p),
        *trace,
        *(grad_cur, mem, syn, spk, parameters),
        _on_device(tuple(constants), cur.dtype, cur.device),
        *(len(grad_spk), mem.numel(), p.beta.numel()),
        RESET=RESETS[rule.reset],
        SURROGATE=number,
        INCLUSIVE=rule.surrogate.inclusive,
        IMMEDIATE=rule.immediate,
        ATTACHED=rule.attached,
    )
    return Gradients(grad_cur, State(mem, syn, spk), parameters, None)


@lru_cache(64)
def _on_device(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return a surrogate's constants as a tensor: Triton rounds a number to float32."""
    return torch.tensor(values, dtype=dtype, device=device)


def _parameters(p: Parameters) -> tuple[Tensor | None, ...]:
    return p.alpha, p.beta, p.threshold, p.own, p.graded


def _launch(name: str, state: Tensor, *arguments: Any, **constants: Any) -> None:
    """Run a kernel over all neurons of all samples."""
    from snnplug.kernels import triton_kernels

    grid = (-(-state.numel() // _BLOCK),)
    with torch.cuda.device_of(state):  # type: ignore[no-untyped-call]
        # Products and sums are rounded each for itself: spikes are torch's, to the last bit.
        getattr(triton_kernels, name)[grid](
            *arguments, **constants, BLOCK=_BLOCK, enable_fp_fusion=False
        )
