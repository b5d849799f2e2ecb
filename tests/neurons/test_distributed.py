"""Two processes train as one."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from snnplug.layers.sequential import SpikingSequential
from snnplug.neurons.leaky import Leaky
from snnplug.neurons.rleaky import RLeaky


def network() -> SpikingSequential:
    torch.manual_seed(0)
    return SpikingSequential(
        nn.Linear(4, 6), Leaky(beta=0.9, learn_beta=True), nn.Linear(6, 3),
        RLeaky(beta=0.8, linear_features=3, learn_threshold=True),
    )  # fmt: skip


def half(rank: int) -> Tensor:
    return torch.randn(8, 4, 4, generator=torch.Generator().manual_seed(rank)) * 3


def train(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    net = DistributedDataParallel(network())
    for _ in range(2):  # the second pass finds whatever the first left behind
        net.zero_grad()
        net(half(rank)).mean().backward()
    grads = {name: p.grad for name, p in net.module.named_parameters()}
    torch.save(grads, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_gradients_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(train, args=(str(tmp_path),), nprocs=2)
    net = network()
    net(torch.cat([half(0), half(1)], 1)).mean().backward()
    for rank in range(2):
        grads = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, p in net.named_parameters():
            assert p.grad is not None
            assert p.grad.any(), name
            torch.testing.assert_close(grads[name], p.grad, rtol=1e-5, atol=1e-7)
