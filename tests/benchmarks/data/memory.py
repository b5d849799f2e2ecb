"""The first batch of a process, the memory of worker processes, and a store of full size."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from pathlib import Path
from typing import Any

from snnplug.data.event_batches import EventBatches
from snnplug.data.frames import Framing
from snnplug.data.packing import pack
from snnplug.data.store import EventStore
from tests.benchmarks.data.loaders import our_loader
from tests.benchmarks.data.recordings import DURATION_US, SENSOR, SITES, STEPS, Files, Repeated
from tests.benchmarks.data.table import Row, Table

# What torch's loader lets each worker prepare ahead.
_PREFETCHED = 2


def first_batch(files: Files, batch: int, repeats: int) -> Table:
    """Time the first batch after opening, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    first, later, spent = [], [], []
    for _ in range(repeats):
        ours, theirs = context.Pipe()
        process = context.Process(target=_first_batch, args=(files.store.path, batch, theirs))
        process.start()
        theirs.close()
        taken = ours.recv()
        process.join()
        first.append(taken[0])
        spent.append(taken[1])
        later.append(taken[2])
    rows = [
        Row("first after opening, by the clock", statistics.median(first), "ms", None, 50.0, True),
        Row("first after opening, its own time", statistics.median(spent), "ms", None, 50.0, True),
        Row("first of the next epoch", statistics.median(later), "ms", None, 50.0, True),
    ]
    note = (
        f"Batches of {batch} in float32, without workers, each in a fresh process. The first has "
        "its recordings' checksums compared and touches fresh memory for 30 MB of frames."
    )
    return Table("The first batch of an epoch", note, rows)


def _first_batch(path: Path, batch: int, answer: Any) -> None:
    import torch.profiler._cupti_monitor  # torch's loader imports it at first use

    torch.set_num_threads(1)
    files: Any = type("Opened", (), {"store": EventStore(path)})
    loader = our_loader(files, batch, 0)
    taken = []
    for _ in range(2):
        clock, own = time.perf_counter(), time.thread_time()
        held = next(iter(loader))
        taken += [1e3 * (time.perf_counter() - clock), 1e3 * (time.thread_time() - own)]
        del held
    answer.send(taken[:3])


def workers(files: Files, batch: int, many: int) -> Table:
    """Compare the memory that one worker and ``many`` take, shared pages counted once."""
    (one, first), (several, arrived) = (_resident_mb(files, batch, n) for n in (1, many))
    each = 4 * batch * SITES * STEPS / 1e6
    # On their way they are bytes.
    ahead = each / 4 * _PREFETCHED * (many - 1) + each * (arrived - first)
    rows = [
        Row("1 worker, all processes together", one, "MB"),
        Row(f"{many} workers, all processes together", several, "MB"),
        Row("the batches that the others prepare ahead", ahead, "MB"),
        Row(
            f"{many} workers without those",
            several - ahead,
            "MB",
            (several - ahead) / one,
            1.2,
            is_most=True,
        ),
    ]
    note = (
        f"Proportional set size: a page that processes share counts once. A batch is {each:.0f} MB;"
        f" each worker prepares {_PREFETCHED} ahead, of a quarter of that; {arrived} had arrived "
        "before their turn. Ratio: to one worker."
    )
    return Table("Memory of the workers", note, rows)


def _resident_mb(files: Files, batch: int, number: int) -> tuple[float, int]:
    """Return what all processes take, and how many batches arrived before their turn."""
    loader = our_loader(files, batch, number)
    loader.multiprocessing_context = "fork"
    batches: Any = iter(loader)
    held = next(batches)
    time.sleep(1.0)  # until all are full
    processes = [os.getpid(), *(p.pid for p in multiprocessing.active_children() if p.pid)]
    total = sum(_proportional_kb(pid) for pid in processes) * 1024 / 1e6
    arrived = sum(len(task) == 2 for task in batches._task_info.values())
    del held, batches
    del loader
    return total, arrived


def _proportional_kb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("Pss:")))


def full_size(files: Files, count: int) -> Table:
    """Pack as many recordings as N-MNIST has, and open them."""
    path = Path(files.folder, "full.events")
    start = time.perf_counter()
    pack(Repeated(files.store, count), path, SENSOR, {"name": "full"})
    written = time.perf_counter() - start
    before, start = (_io_bytes(), _resident_kb()), time.perf_counter()
    store = EventStore(path)
    opened = time.perf_counter() - start
    read, grown = _io_bytes() - before[0], _resident_kb() - before[1]
    start = time.perf_counter()
    EventBatches(store, Framing(STEPS, DURATION_US, SENSOR))[0, count - 1]
    last = time.perf_counter() - start
    size = path.stat().st_size / 1e6
    path.unlink()
    rows = [
        Row("size", size, "MB"),
        Row("packed from memory", written, "s"),
        Row("opened", 1e3 * opened, "ms"),
        Row("read to open it", read / 1e6, "MB", read / 1e6 / size, 0.01, is_most=True),
        Row("resident memory that opening takes", grown * 1024 / 1e6, "MB"),
        Row("its last recording, framed", 1e3 * last, "ms"),
    ]
    note = "Ratio: to the size of the file."
    return Table(f"A store of {count:,} recordings", note, rows)


def _io_bytes() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("rchar")))


def _resident_kb() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS")))
