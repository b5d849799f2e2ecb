"""Time and memory of implementations that take turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

#: One forward and backward pass, or one whole training step.
Step = Callable[[], Any]

_FEWEST = 4


def medians_ms(
    steps: Mapping[str, Step],
    repeats: int,
    budget_s: float = 10.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Return the median milliseconds of each; all take turns.

    Args:
        steps: What to time, by name.
        repeats: Rounds.
        budget_s: What takes longer than this in all is left out of further rounds, once it has been
            timed four times.
        clock: In seconds.
    """
    for once in steps.values():
        once()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, once in steps.items():
            taken = seconds[name]
            if len(taken) >= _FEWEST and sum(taken) > budget_s:
                continue
            start = clock()
            once()
            taken.append(clock() - start)
    return {name: 1e3 * statistics.median(taken) for name, taken in seconds.items()}


def peak_growth_mb(once: Step, warm: Step) -> float:
    """Return by how much the resident memory rises at most while a step runs three times.

    For a fresh process on Linux, which keeps the highest value and can forget it. ``warm`` runs
    before, a small step of the same kind, so that the code of the libraries is already there.
    """
    warm()
    before = _status_kb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    for _ in range(3):
        once()
    return (_status_kb("VmHWM") - before) * 1024 / 1e6


def _status_kb(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return float(value.split()[0])
    raise RuntimeError(f"/proc/self/status has no {field}")
