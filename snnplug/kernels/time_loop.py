r"""The loop over time in elementary operations, unrolled or as one ``scan`` operation.

A graph with ``scan`` in it does not grow with the number of time steps, and compiles in seconds for
any of them; unrolled, compilation takes minutes from about 100 steps on. torch keeps ``scan`` in a
private module whose interface may change: only this file knows it, and it is tried before it is
relied on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from snnplug.kernels import execution

Carry = tuple[Tensor, ...]
Step = Callable[[Carry, Tensor], tuple[Carry, Tensor]]


def time_loop(step: Step, carry: Carry, xs: Tensor) -> tuple[Tensor, Carry]:
    """Take one step after the other.

    Args:
        step: ``(carry, x[t])`` to ``(carry, y[t])``; shapes and dtypes of the carry stay.
        carry: Before the first step.
        xs: ``(T, *)``.

    Returns:
        ``y``, ``(T, *)``, and the carry after the last step.
    """
    if execution.scans() and len(xs) > 1:
        return _scanned(step, carry, xs)
    found = []
    for x in xs.unbind(0):
        carry, y = step(carry, x)
        found.append(y)
    return torch.stack(found), carry


def _scanned(step: Step, carry: Carry, xs: Tensor) -> tuple[Tensor, Carry]:
    from torch._higher_order_ops.scan import scan

    # Two steps per iteration run 7 % faster, but compile longer: 64-R128-11, T 100, B 32, 1 thread.
    def fresh(carry: Carry, x: Tensor) -> tuple[Carry, Tensor]:
        carry, y = step(carry, x)
        # scan refuses a result that is an input, or another result.
        return tuple(c.clone() for c in carry), y.clone()

    carry, found = scan(fresh, tuple(c.clone() for c in carry), xs)
    return found, tuple(carry)


@cache
def scans() -> tuple[bool, str]:
    """Return whether torch's ``scan`` works here, gradients included, and why not."""
    try:
        from torch._higher_order_ops.scan import scan
    except ImportError as error:
        return False, f"torch {torch.__version__} has no scan: {error}"

    def doubled(carry: Carry, x: Tensor) -> tuple[Carry, Tensor]:
        total = carry[0] * 2 + x
        return (total.clone(),), total.clone()

    def run(xs: Tensor) -> Any:
        return scan(doubled, (torch.zeros_like(xs[0]),), xs)

    try:
        # Whoever asks first may be validating, without gradients; the answer is kept for training.
        with torch.inference_mode(False), torch.enable_grad():
            xs = torch.ones(3, 1, requires_grad=True)
            (last,), _ = torch.compile(run, backend="aot_eager", fullgraph=True)(xs)
            last.sum().backward()
    except Exception as error:  # whatever a private interface may raise
        return False, f"torch {torch.__version__} cannot scan: {type(error).__name__}"
    grad = xs.grad
    if grad is None or last.tolist() != [7.0] or grad.flatten().tolist() != [4.0, 2.0, 1.0]:
        return False, f"torch {torch.__version__} scans with other numbers"
    return True, "one scan, for any number of time steps"
