"""Batches prepared ahead: the same ones, errors where they belong, no thread left."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from snnplug.data.ahead import AheadLoader


class Numbers(Dataset[int]):
    """0, 1, 2 …; tells which were asked for, and refuses one of them."""

    def __init__(self, bad: int | None = None) -> None:
        self.bad = bad
        self.asked: list[int] = []
        self.threads: set[str] = set()

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> int:
        self.asked.append(index)
        self.threads.add(threading.current_thread().name)
        if index == self.bad:
            raise ValueError(f"number {index}")
        return index


def running() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("snnplug-data")]


def as_lists(loader: Any) -> list[list[int]]:
    return [batch.tolist() for batch in loader]


def test_gives_what_torchs_loader_gives_epoch_after_epoch() -> None:
    loaders = [
        kind(Numbers(), batch_size=3, shuffle=True, generator=torch.Generator().manual_seed(0))
        for kind in (AheadLoader, DataLoader)
    ]
    for _ in range(2):
        ours, theirs = map(as_lists, loaders)
        assert ours == theirs
    assert not running()


def test_prepares_the_next_batch_while_one_is_in_use() -> None:
    numbers = Numbers()
    batches = iter(AheadLoader(numbers, batch_size=2))
    assert next(batches).tolist() == [0, 1]
    end = time.monotonic() + 10
    while len(numbers.asked) < 4 and time.monotonic() < end:
        time.sleep(0.001)
    assert numbers.asked == [0, 1, 2, 3]  # one batch ahead and no more
    assert all(name.startswith("snnplug-data") for name in numbers.threads)
    batches.close()
    assert not running()


def test_an_error_comes_up_at_its_batch() -> None:
    batches = iter(AheadLoader(Numbers(bad=5), batch_size=2))
    assert [next(batches).tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match="number 5"):
        next(batches)
    assert not running()


def test_the_thread_leaves_the_processors_to_the_step() -> None:
    class Threads(Numbers):
        def __getitem__(self, index: int) -> int:
            return torch.get_num_threads()

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert as_lists(AheadLoader(Threads(), batch_size=10)) == [[1] * 10]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_worker_processes_need_no_thread() -> None:
    loader = AheadLoader(Numbers(), batch_size=4, num_workers=1)
    batches = iter(loader)
    assert next(batches).tolist() == [0, 1, 2, 3]
    assert not running()
    assert [batch.tolist() for batch in batches] == [[4, 5, 6, 7], [8, 9]]
