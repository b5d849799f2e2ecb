"""Events to frames: ``SNNPLUG_DATA=FOLDER python -m tests.benchmarks.data``.

N-MNIST recordings to 25 frames each, every way in turn, medians, recordings per second. The files
are in the page cache. tonic's ``ToFrame`` drops each recording's last event; the others drop none.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tonic.io
import torch
from tonic.transforms import ToFrame

from snnplug.data.events import EVENT_DTYPE
from snnplug.data.nmnist import NMNIST
from snnplug.data.packing import pack
from snnplug.kernels import native
from snnplug.kernels.frames import frames
from tests.support.datasets import SNNPLUG_DATA

STEPS, DURATION_US, SENSOR = 25, 316_000, (34, 34, 2)
SITES = 34 * 34 * 2


def main() -> None:
    """Print recordings per second, and how many times as many ours are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    recordings = NMNIST(SNNPLUG_DATA, train=False)
    count = min(args.batch, len(recordings))
    paths = [str(path) for path in recordings.data[:count]]
    with tempfile.TemporaryDirectory() as folder:
        store = pack(recordings, Path(folder, "a.events"), SENSOR, {"name": "benchmark"})
        pairs = [store.arrays(index) for index in range(count)]
        events = [store[index][0] for index in range(count)]
        to_frame = ToFrame(sensor_size=SENSOR, n_time_bins=STEPS)

        def tonic_from_files() -> None:
            read = [to_frame(tonic.io.read_mnist_file(path, dtype=EVENT_DTYPE)) for path in paths]
            torch.from_numpy(np.stack(read, axis=1)).float()

        def tonic_from_memory() -> None:
            torch.from_numpy(np.stack([to_frame(e) for e in events], axis=1)).float()

        def bincount() -> None:
            for t, site in pairs:
                bins = t.astype(np.int64) * STEPS // DURATION_US * SITES + site
                np.bincount(bins, minlength=STEPS * SITES)

        def fill(dtype: torch.dtype) -> Callable[[], None]:
            out = torch.empty(STEPS, count, SITES, dtype=dtype)

            def run() -> None:
                out.zero_()

            return run

        def ours(dtype: torch.dtype) -> Callable[[], None]:
            def run() -> None:
                batch = [store.arrays(index) for index in range(count)]
                frames(batch, SITES, STEPS, DURATION_US, dtype=dtype)

            return run

        def kernel(dtype: torch.dtype) -> Callable[[], None]:
            def run() -> None:
                frames(pairs, SITES, STEPS, DURATION_US, dtype=dtype)

            return run

        ways: dict[str, Callable[[], None]] = {
            "tonic, from files": tonic_from_files,
            "tonic, events in memory": tonic_from_memory,
            "np.bincount, no batch made": bincount,
            "zero fill, float32": fill(torch.float32),
            "zero fill, uint8": fill(torch.uint8),
            "arrays to float32": kernel(torch.float32),
            "arrays to uint8": kernel(torch.uint8),
            "store to float32": ours(torch.float32),
            "store to uint8": ours(torch.uint8),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(args.repeats):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - start)
    rates = {name: count / statistics.median(taken[2:]) for name, taken in seconds.items()}
    print(f"{count} recordings, {args.threads} thread(s), kernels: {native.available()[1]}")
    print(f"{'':<28}{'per second':>12}{'float32 x':>12}{'uint8 x':>12}")
    for name, rate in rates.items():
        ratios = (rates[f"store to {dtype}"] / rate for dtype in ("float32", "uint8"))
        print(f"{name:<28}{rate:>12,.0f}" + "".join(f"{ratio:>12.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
