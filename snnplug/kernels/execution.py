"""How networks run in this process right now: which kind of operations a layer may take.

``"fused"`` takes operators over a whole sequence, native where there is a kernel. ``"eager"`` takes
elementary operations, step by step, with autograd's own backward: what the others are compared
with. ``"scan"`` takes the same operations with the loop over time as one of them, for an exporter.
``"compiled"`` is for a compiler: the operators where a kernel does their work, ``"scan"``
elsewhere. Equal numbers in each, up to the order of summation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Mode = Literal["eager", "fused", "scan", "compiled"]

# A plain global, not a context variable: a compiler folds it into the graph that it traces.
_mode: Mode = "fused"


def mode() -> Mode:
    """Return how networks run now."""
    return _mode


def fused() -> bool:
    """Whether operators over a whole sequence may be taken."""
    return _mode in ("fused", "compiled")


def scans() -> bool:
    """Whether a loop over time is to be one operation."""
    return _mode in ("scan", "compiled")


@contextmanager
def running(mode: Mode) -> Iterator[None]:
    """Run networks in this way inside the block; the backward pass follows its forward pass."""
    global _mode
    before, _mode = _mode, mode
    try:
        yield
    finally:
        _mode = before
