"""What is timed: real N-MNIST recordings if there are any, else recordings of the same size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from snnplug.data.nmnist import NMNIST
from snnplug.data.packing import pack
from snnplug.data.store import EventStore
from snnplug.kernels.located import Recording
from tests.support.datasets import SNNPLUG_DATA
from tests.support.events import random_events, to_bytes

SENSOR, SITES, STEPS, DURATION_US = (34, 34, 2), 34 * 34 * 2, 25, 316_000
# Mean of the thousand real recordings in `../shared/data`.
EVENTS_EACH = 4_133
FULL_SIZE = 60_000


@dataclass(frozen=True)
class Files:
    """Recordings as files, as tonic's data set, and packed."""

    title: str
    folder: Path
    source: NMNIST
    store: EventStore

    @property
    def paths(self) -> list[str]:
        """The files, in the order of the store."""
        return [str(path) for path in self.source.data[: len(self.store)]]


class First(Sequence[tuple[npt.NDArray[np.void], int]]):
    """The first recordings of a data set."""

    def __init__(self, source: NMNIST, count: int) -> None:
        self.source = source
        self.targets = source.targets[:count]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        return self.source[index]

    def arrays(self, index: int) -> Recording:
        """Return times and sites, for packing."""
        return self.source.arrays(index)


def prepare(folder: Path, count: int) -> Files:
    """Find or make ``count`` recordings, and pack them.

    Args:
        folder: Where files are written.
        count: How many; fewer if there are fewer.
    """
    root, title = SNNPLUG_DATA, "real N-MNIST recordings"
    if not any(root.glob("NMNIST/Train/*/*.bin")):
        root, title = folder, "generated recordings of N-MNIST's size"
        for k in range(count):
            path = root / "NMNIST" / "Train" / str(k % 10) / f"{k:05d}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(to_bytes(random_events(EVENTS_EACH, k, DURATION_US - 1_000)))
    source = NMNIST(root, train=True)
    some = First(source, min(count, len(source)))
    store = pack(some, folder / "some.events", SENSOR, {"name": "benchmark"})
    return Files(title, folder, source, store)


class Repeated:
    """Many recordings, made of a few: a store of full size in the time that writing it takes."""

    def __init__(self, store: EventStore, count: int) -> None:
        self.store = store
        self.targets = [k % 10 for k in range(count)]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.void], int]:
        return self.store[index % len(self.store)][0], self.targets[index]

    def arrays(self, index: int) -> Recording:
        """Return times and sites, for packing."""
        return self.store.arrays(index % len(self.store))
