"""Batches prepared one ahead of the training step, by a thread of the same process."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader

_END = object()


class AheadLoader(DataLoader[Any]):
    """A loader that, without worker processes, prepares the next batch while one is in use.

    The same batches in the same order; an error comes up at its batch. The kernels that make
    frames leave Python to the training step meanwhile, and take one thread.

    Example:
        >>> list(AheadLoader([1, 2, 3], batch_size=2))
        [tensor([1, 2]), tensor([3])]
    """

    def __iter__(self) -> Any:
        """Return an iterator over the batches of an epoch."""
        batches = super().__iter__()
        return batches if self.num_workers else _ahead(batches)


def _ahead(batches: Iterator[Any]) -> Iterator[Any]:
    following = partial(next, batches, _END)
    # As torch's own thread for pinned memory does: threads that wait for one another would take
    # the processors from the step.
    thread = ThreadPoolExecutor(1, "snnplug-data", initializer=torch.set_num_threads, initargs=(1,))
    try:
        prepared = thread.submit(following)
        while (batch := prepared.result()) is not _END:
            prepared = thread.submit(following)
            yield batch
    finally:
        thread.shutdown(cancel_futures=True)
