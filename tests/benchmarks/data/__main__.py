"""Events to frames: ``SNNPLUG_DATA=FOLDER python -m tests.benchmarks.data``.

Everything takes turns in one run; the tables give medians and ratios of medians. Files are in the
page cache.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from snnplug.kernels import native
from tests.benchmarks.data import kernels, loaders, memory
from tests.benchmarks.data.recordings import FULL_SIZE, prepare


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=int, default=900)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 2])
    parser.add_argument("--many", type=int, default=8, help="workers whose memory is measured")
    parser.add_argument("--full-size", type=int, default=FULL_SIZE)
    parser.add_argument("--write", type=Path, help="folder for data.md")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        files = prepare(Path(folder), args.recordings)
        tables = [
            # Before anything has grown this process.
            memory.workers(files, args.batch, args.many),
            memory.first_batch(files, args.batch, min(args.repeats, 5)),
            kernels.machine(args.repeats),
            kernels.framing(files, args.batch, args.repeats),
            kernels.packing(files, args.repeats),
            loaders.end_to_end(files, args.batch, args.repeats, args.workers),
            memory.full_size(files, args.full_size),
        ]
    order = [5, 3, 4, 1, 0, 6, 2]
    busy = f"load average {os.getloadavg()[1]:.0f} on {os.cpu_count()} processors"
    how = f"{args.repeats} repeats, one thread per process, {busy}"
    header = [f"torch {torch.__version__}, kernels: {native.available()[1]}, {how}.", ""]
    text = "\n".join([*header, *(tables[k].markdown() for k in order)])
    print(text)
    if args.write is not None:
        (args.write / "data.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
