"""The counts of two processes, one of which may have seen nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from snnplug.callbacks.hardware_target import counted_by_all
from snnplug.hardware.activity import Activity
from snnplug.hardware.counting import Meter, measure
from snnplug.layers.sequential import SpikingSequential
from snnplug.neurons.continuous_if import ContinuousIF

BATCHES = [1.0 * (torch.arange(4 * 3 * 6).reshape(4, 3, 6) % k == 0) for k in (2, 3, 5)]
CPU = torch.device("cpu")


class Strategy:
    """Gathers between two threads as Lightning's strategies do: stacked, and of equal shapes."""

    def __init__(self) -> None:
        self.barrier = Barrier(2, timeout=60)
        self.given: dict[int, Tensor] = {}

    def of(self, rank: int) -> Any:
        def all_gather(tensor: Tensor) -> Tensor:
            self.barrier.wait()
            self.given[rank] = tensor
            self.barrier.wait()
            return torch.stack([self.given[0], self.given[1]])

        return SimpleNamespace(world_size=2, strategy=SimpleNamespace(all_gather=all_gather))


def count(batches: list[Tensor]) -> Meter:
    torch.manual_seed(0)
    network = SpikingSequential(nn.Linear(6, 5), ContinuousIF(), nn.Linear(5, 2))
    with measure(network) as meter, torch.no_grad():
        for batch in batches:
            network(batch)
    return meter


@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_both_processes_get_what_one_would_have_counted(first: int) -> None:
    strategy, whole = Strategy(), count(BATCHES).activity()
    meters = [count(BATCHES[:first]), count(BATCHES[first:])]

    def together(rank: int) -> Activity:
        return counted_by_all(meters[rank], strategy.of(rank), CPU)

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(together, (0, 1))) == [whole, whole]


def test_one_process_gathers_nothing() -> None:
    meter = count(BATCHES)
    alone: Any = SimpleNamespace(world_size=1)
    assert counted_by_all(meter, alone, CPU) == meter.activity()
