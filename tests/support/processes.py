"""Processes that work together, started from one that has imported what they need."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

import torch.multiprocessing as mp


def at_once(work: Callable[..., None], *args: Any) -> None:
    """Call ``work(rank, *args)`` in two processes.

    They are copies of a third: importing torch and lightning takes each longer than its work.
    """
    multiprocessing.set_forkserver_preload(["snnplug.cli.training", work.__module__])
    mp.start_processes(work, args=args, nprocs=2, start_method="forkserver")
