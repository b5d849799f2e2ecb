"""Recordings to frames, files to recordings, and what memory allows, in one thread."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tonic.io
import torch

from snnplug.data.events import EVENT_DTYPE
from snnplug.data.packing import pack
from snnplug.data.recording import read_arrays
from snnplug.kernels.frames import frames
from snnplug.kernels.located import Recording
from tests.benchmarks.data.recordings import DURATION_US, SENSOR, SITES, STEPS, Files, First
from tests.benchmarks.data.table import Row, Table, rates
from tests.benchmarks.neurons.timing import medians_ms

_COPY_BYTES = 1 << 26
_COUNTED = "np.bincount of each, counts alone"
_BATCHED = "np.bincount of each, into the same"
_ZEROS = "the same frames filled with zeros"
_THREADS = os.cpu_count() or 1


def machine(repeats: int) -> Table:
    """Measure the copying and filling of memory that is in use already."""
    source, to = torch.ones(_COPY_BYTES // 4), torch.ones(_COPY_BYTES // 4)
    ways = {"copy, read + written": lambda: to.copy_(source), "zero fill, written": to.zero_}
    taken = medians_ms(ways, repeats, clock=time.thread_time)
    moved = {"copy, read + written": 2 * _COPY_BYTES, "zero fill, written": _COPY_BYTES}
    rows = [Row(name, moved[name] / taken[name] / 1e6, "GB/s") for name in ways]
    return Table("The machine", "64 MiB, one thread.", rows)


def framing(files: Files, batch: int, repeats: int) -> Table:
    """Time the kernel beside counting each recording alone, and beside filling memory."""
    count = min(batch, len(files.store))
    pairs = files.store.recordings(np.arange(count))
    wide = torch.empty(STEPS, count, SITES)
    narrow = torch.empty(STEPS, count, SITES, dtype=torch.uint8)

    def kernel(dtype: torch.dtype) -> Callable[[], object]:
        return lambda: frames(pairs, SITES, STEPS, DURATION_US, dtype=dtype)

    def counted() -> None:
        for pair in pairs:
            _bincount(pair)

    def batched(out: torch.Tensor) -> Callable[[], None]:
        def run() -> None:
            for b, pair in enumerate(pairs):
                out.numpy()[:, b] = _bincount(pair).reshape(STEPS, SITES)

        return run

    ways: dict[str, Callable[[], object]] = {
        "ours, float32": kernel(torch.float32),
        "ours, uint8": kernel(torch.uint8),
        _COUNTED: counted,
        f"{_BATCHED} float32 batch": batched(wide),
        f"{_BATCHED} uint8 batch": batched(narrow),
        f"{_ZEROS}, float32": wide.zero_,
        f"{_ZEROS}, uint8": narrow.zero_,
        "uint8 widened to float32": lambda: wide.copy_(narrow),
    }
    speed = rates(medians_ms(ways, repeats, clock=time.thread_time), count)
    speed.update(_on_all_threads(kernel, {"float32": wide, "uint8": narrow}, repeats, count))
    rows = [Row(name, rate, "/s") for name, rate in speed.items()]
    for dtype in ("float32", "uint8"):
        for other, asked in (
            (_COUNTED, None),
            (f"{_BATCHED} {dtype} batch", 6.0),
            (f"{_ZEROS}, {dtype}", 0.4),
        ):
            ratio = speed[f"ours, {dtype}"] / speed[other]
            rows.append(Row(f"ours, {dtype}, to {other}", ratio, "x", ratio, asked))
        all_threads = f"{dtype}, {_THREADS} threads"
        for other, asked in (
            (f"{_BATCHED} {dtype} batch", 6.0),
            (f"{_ZEROS}, {all_threads}", 0.4),
        ):
            ratio = speed[f"ours, {all_threads}"] / speed[other]
            rows.append(Row(f"ours, {all_threads}, to {other}", ratio, "x", ratio, asked))
    note = (
        f"{count} recordings in memory to frames `({STEPS}, B, 2, 34, 34)`, one thread, its own "
        f"time; where it says {_THREADS} threads, by the clock. `np.bincount` has one, and counts "
        "int64 for each; a batch of them takes another copy."
    )
    return Table("Frames: the kernel alone", note, rows)


def _on_all_threads(
    kernel: Callable[[torch.dtype], Callable[[], object]],
    batches: dict[str, torch.Tensor],
    repeats: int,
    count: int,
) -> dict[str, float]:
    """Return how many a second the kernel and zero fill do, with the threads of the machine."""
    before, suffix = torch.get_num_threads(), f"{_THREADS} threads"
    torch.set_num_threads(_THREADS)
    try:
        ways: dict[str, Callable[[], object]] = {}
        for dtype, out in batches.items():
            ways[f"ours, {dtype}, {suffix}"] = kernel(out.dtype)
            ways[f"{_ZEROS}, {dtype}, {suffix}"] = out.zero_
        return rates(medians_ms(ways, repeats), count)
    finally:
        torch.set_num_threads(before)


def _bincount(pair: Recording) -> np.ndarray:
    t, site = pair
    bins = t.astype(np.int64) * STEPS // DURATION_US * SITES + site
    return np.bincount(bins, minlength=STEPS * SITES)


def packing(files: Files, repeats: int) -> Table:
    """Time the parsing and packing of files beside tonic's reading them."""
    paths, path = files.paths, Path(files.folder, "again.events")

    def packed() -> None:
        path.unlink(missing_ok=True)
        pack(First(files.source, len(paths)), path, SENSOR, {"name": "again"})

    tonics = "tonic.io.read_mnist_file in a loop"
    ways: dict[str, Callable[[], object]] = {
        tonics: lambda: [tonic.io.read_mnist_file(p, dtype=EVENT_DTYPE) for p in paths],
        "ours, read and checked": lambda: [read_arrays(p) for p in paths],
        "ours, read, checked, packed and written": packed,
    }
    speed = rates(medians_ms(ways, repeats, clock=time.thread_time), len(paths))
    rows = [
        Row(
            name,
            rate,
            "/s",
            None if name == tonics else rate / speed[tonics],
            None if name == tonics else 3.0,
        )
        for name, rate in speed.items()
    ]
    note = "Files in the page cache, one thread, its own time. Ratio: to tonic's."
    return Table("Parsing and packing", note, rows)
