"""Running compiled networks as they are written, so that hooks see their layers and functions."""

from __future__ import annotations

import sys
from threading import Lock
from typing import Any

import torch

_lock = Lock()
_asking = 0
_stance: Any = None


def begin() -> None:
    """Let what ``torch.compile`` made run uncompiled; calls add up, each is ended by :func:`end`.

    In the whole process, and without compiling anything anew afterwards.
    """
    global _asking, _stance
    with _lock:
        _asking += 1
        # Without this module in the process nothing is compiled, and to load it takes a second.
        if _stance is None and "torch._dynamo" in sys.modules:
            _stance = torch.compiler.set_stance("force_eager")


def end() -> None:
    """End what :func:`begin` began; the last one to end it lets compiled code run again."""
    global _asking, _stance
    with _lock:
        _asking -= 1
        if _asking == 0 and _stance is not None:
            _stance.__exit__(None, None, None)
            _stance = None
