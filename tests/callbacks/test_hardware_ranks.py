"""The counts of two processes, one of which may have seen nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from lightning.fabric.utilities.distributed import _all_gather_ddp_if_available
from torch import nn

from snnplug.callbacks.hardware_target import counted_by_all
from snnplug.hardware.activity import Activity
from snnplug.hardware.counting import measure
from snnplug.layers.sequential import SpikingSequential
from snnplug.neurons.continuous_if import ContinuousIF

BATCHES = [1.0 * (torch.arange(4 * 3 * 6).reshape(4, 3, 6) % k == 0) for k in (2, 3, 5)]


def network() -> nn.Module:
    torch.manual_seed(0)
    return SpikingSequential(nn.Linear(6, 5), ContinuousIF(), nn.Linear(5, 2))


def count(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    trainer: Any = SimpleNamespace(
        world_size=2, strategy=SimpleNamespace(all_gather=_all_gather_ddp_if_available)
    )
    net, found = network(), []
    for share in ([BATCHES[:1], BATCHES[1:]], [BATCHES, []]):  # rank 1 has nothing the second time
        with measure(net) as meter, torch.no_grad():
            for batch in share[rank]:
                net(batch)
        found.append(counted_by_all(meter, trainer, torch.device("cpu")).to_json())
    Path(folder, f"rank{rank}").write_text("\n".join(found), encoding="utf-8")
    dist.destroy_process_group()


@pytest.mark.slow
def test_both_processes_price_what_one_would_have_counted(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(count, args=(str(tmp_path),), nprocs=2)
    net = network()
    with measure(net) as meter, torch.no_grad():
        for batch in BATCHES:
            net(batch)
    for rank in (0, 1):
        for text in (tmp_path / f"rank{rank}").read_text(encoding="utf-8").split("\n"):
            assert Activity.from_json(text) == meter.activity()
