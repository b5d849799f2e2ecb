"""Two processes train as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import snntorch as snn
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from snnplug.errors import ArgumentError
from snnplug.layers.sequential import SpikingSequential
from snnplug.neurons.base import hidden_state, reset
from snnplug.neurons.leaky import Leaky
from snnplug.neurons.rleaky import RLeaky
from snnplug.training.fully_sharded import shard, whole
from tests.support.processes import at_once


def network() -> SpikingSequential:
    torch.manual_seed(0)
    return SpikingSequential(
        nn.Linear(4, 6), Leaky(beta=torch.full((6,), 0.9), learn_beta=True), nn.Linear(6, 3),
        RLeaky(beta=0.8, threshold=torch.ones(3), linear_features=3, learn_threshold=True),
    )  # fmt: skip


def half(rank: int) -> Tensor:
    return torch.randn(8, 4, 4, generator=torch.Generator().manual_seed(rank)) * 3


def train(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    parted = network()
    shard(parted, init_device_mesh("cpu", (2,)))
    for kind, net in (("ddp", DistributedDataParallel(network())), ("fsdp2", parted)):
        for _ in range(2):  # the second pass finds whatever the first left behind
            net.zero_grad()
            net(half(rank)).mean().backward()
        grads = {n.removeprefix("module."): whole(p.grad) for n, p in net.named_parameters()}
        torch.save(grads, f"{folder}/{kind}-{rank}.pt")
    kept = stateful()
    shard(kept, init_device_mesh("cpu", (2,)))
    for _ in range(2):
        reset(kept)
        torch.stack([kept(x) for x in share(rank)]).mean().backward()
    states = {name: dict(kept.named_buffers())[name] for name in hidden_state(kept)}
    torch.save(states, f"{folder}/state-{rank}.pt")
    dist.destroy_process_group()


def stateful() -> nn.Sequential:
    """Return a network that keeps its state in buffers; it is given batches of two sizes."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 6), Leaky(beta=0.9, init_hidden=True), nn.Linear(6, 3),
        snn.Synaptic(alpha=0.7, beta=0.8, init_hidden=True),
    )  # fmt: skip


def share(rank: int) -> Tensor:
    return half(rank)[:, : 4 - rank]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    at_once(train, str(folder))
    return folder


@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
def test_gradients_are_those_of_the_whole_batch(trained: Path, kind: str) -> None:
    net = network()
    net(torch.cat([half(0), half(1)], 1)).mean().backward()
    for rank in range(2):
        theirs = torch.load(trained / f"{kind}-{rank}.pt", weights_only=True)
        for name, p in net.named_parameters():
            assert p.grad is not None
            assert p.grad.any(), name
            torch.testing.assert_close(theirs[name], p.grad, rtol=1e-5, atol=1e-7)


def test_hidden_state_stays_with_the_process_whose_batch_it_belongs_to(trained: Path) -> None:
    for rank in range(2):
        net = stateful()
        for x in share(rank):
            net(x)
        theirs = torch.load(trained / f"state-{rank}.pt", weights_only=True)
        assert len(theirs) == 3
        for name, state in theirs.items():
            assert len(state) == 4 - rank
            torch.testing.assert_close(state, dict(net.named_buffers())[name])


def test_what_cannot_be_parted_is_named() -> None:
    mesh: Any = None
    with pytest.raises(ArgumentError, match=r"cannot part 1.beta, a number.*strategy ddp"):
        shard(nn.Sequential(nn.Linear(4, 6), Leaky(beta=0.9, learn_beta=True)), mesh)
