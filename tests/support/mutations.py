"""Damaged files: what the tests of every reader are given, ten thousand each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

COUNT = 10_000


def mutations(whole: bytes, count: int = COUNT, header: int = 0, seed: int = 0) -> Iterator[bytes]:
    """Yield damaged copies of a file: truncated, extended, bits and bytes and runs of it changed.

    Args:
        whole: The file.
        count: How many.
        header: Half of the changes fall into so many first bytes, where sizes and types stand; 0
            spreads them evenly.
        seed: Of what is changed.
    """
    rng = np.random.default_rng(seed)
    place, value, kind = rng.random((count, 3)), rng.integers(1, 256, (count, 3)), rng.random(count)
    tails = rng.bytes(4096)
    for trial in range(count):
        raw = bytearray(whole)
        reach = header if header and trial % 2 else len(raw)
        first, *others = (place[trial] * reach).astype(int).tolist()
        if kind[trial] < 0.15:
            del raw[first:]
        elif kind[trial] < 0.25:
            raw += tails[trial % 4000 : trial % 4000 + 1 + trial % 96]
        elif kind[trial] < 0.35:  # a run of one value
            raw[first : first + 8] = bytes([value[trial, 0] * (trial % 2)]) * 8
            del raw[len(whole) :]
        elif kind[trial] < 0.65:  # one bit
            raw[first] ^= 1 << trial % 8
        else:  # one to three bytes, each to another value
            for at, change in zip((first, *others)[: 1 + trial % 3], value[trial], strict=False):
                raw[at] ^= int(change)
        yield bytes(raw)


def damaged(path: Path, header: int = 0) -> Iterator[bytes]:
    """Write :func:`mutations` of a file in its place, and yield each."""
    whole = path.read_bytes()
    # Opened once: ext4 sends a file that is written anew to the disk.
    with path.open("r+b", buffering=0) as file:
        for raw in mutations(whole, header=header):
            file.seek(0)
            file.write(raw)
            file.truncate()
            yield raw
