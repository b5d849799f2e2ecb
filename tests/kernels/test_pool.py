"""The pool of memory under threads and forks."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from snnplug.kernels import native

SIZES = [(1 << 18,), (1 << 9, 1 << 10), (3, 1 << 18)]


@pytest.fixture(autouse=True)
def _library() -> None:
    assert native.library() is not None, native.available()[1]


def use(number: int, rounds: int = 60) -> bool:
    """Hold a few tensors at a time; whether each kept what was written into it."""
    held, right = [], True
    for k in range(rounds):
        held.append(native.empty(SIZES[(number + k) % len(SIZES)]).fill_(number))
        if len(held) > 2:
            right &= bool((held.pop(0) == number).all())
    return right


def test_threads_never_share_memory() -> None:
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(use, range(8)))


class Frames(Dataset[torch.Tensor]):
    """Samples that are made in the pool's memory."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> torch.Tensor:
        return native.empty((1 << 18,)).fill_(index)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_workers_of_a_loader_may_use_it() -> None:
    parent = native.empty((1 << 18,)).fill_(-1.0)
    loader = DataLoader(Frames(), batch_size=2, num_workers=2, multiprocessing_context="fork")
    seen = [float(batch[k, -1]) for batch in loader for k in range(2)]
    assert seen == [float(k) for k in range(8)]
    assert bool((parent == -1).all())
