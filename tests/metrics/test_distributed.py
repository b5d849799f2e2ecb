"""Two processes compute what one computes, to the last bit, though they saw different shares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from snnplug.hardware.counting import measure
from snnplug.metrics import (
    ActivationSparsity,
    DeadNeurons,
    Energy,
    FiringRate,
    LatencyToDecision,
    SaturatedNeurons,
    SpikesPerSynapse,
    SynapticOperations,
)
from tests.support.processes import at_once


def frames() -> Tensor:
    x = torch.rand(6, 7, 20, generator=torch.Generator().manual_seed(0)) < 0.3
    # The second process alone sees values that are no spikes, so a layer that multiplies.
    return x.float() * torch.cat([torch.ones(1, 3, 20), torch.full((1, 4, 20), 0.5)], 1)


def values(x: Tensor) -> dict[str, Any]:
    """Return every metric of a share of the samples, which may be none, with those of others."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 6), nn.Threshold(0.5, 0), nn.Linear(6, 3))
    of_spikes: list[Any] = [FiringRate(), ActivationSparsity(), DeadNeurons(6), SaturatedNeurons(6)]
    of_spikes.append(LatencyToDecision())
    of_activity: list[Any] = [Energy(), SynapticOperations(), SpikesPerSynapse()]
    if x.shape[1]:
        with measure(net) as meter, torch.no_grad():
            net(x)
            spk = (net[0](x) > 0.5).float()
        for metric in of_spikes:
            metric.update(spk)
        for metric in of_activity:
            metric.update(meter.activity())
    found = {type(m).__name__: m.compute() for m in (*of_spikes, *of_activity)}
    return {
        k: {n: t.item() for n, t in v.items()} if isinstance(v, dict) else v.item()
        for k, v in found.items()
    }


def work(rank: int, folder: str) -> None:
    import warnings

    warnings.simplefilter("ignore")  # a process that saw nothing computes before its first update
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    shares = [frames().split([3, 4], 1), frames().split([7, 0], 1), frames().split([0, 7], 1)]
    found = [values(share[rank]) for share in shares]
    Path(folder, f"{rank}.json").write_text(json.dumps(found), encoding="utf-8")
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path: Path) -> None:
    at_once(work, str(tmp_path))
    alone = values(frames())
    assert alone["SynapticOperations"]["Effective_MACs"] > 0
    for rank in range(2):
        found = json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8"))
        assert found == [alone, alone, alone]
