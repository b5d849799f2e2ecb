"""What pricing every training batch adds to a step: CPU time of one thread, medians.

Launch:  python -m tests.benchmarks.energy_step
"""

from __future__ import annotations

import time
from statistics import median

import torch
from torch import Tensor, nn

from snnplug.hardware.energy_meter import EnergyMeter
from snnplug.networks.conv import ConvSNN
from snnplug.networks.dense import DenseSNN
from snnplug.training.losses import squared_hinge

ROUNDS = 15


def networks() -> dict[str, tuple[nn.Module, Tensor]]:
    """Return networks of the recipes, each with a batch of random spikes."""
    torch.manual_seed(0)
    recordings = (2, 34, 34)
    return {
        "ConvSNN T = 10, 50": (
            ConvSNN(recordings, 10, dropout_hidden=0.1),
            (torch.rand(10, 50, *recordings) < 0.03).float(),
        ),
        "DenseSNN 2312-128-10 T = 10, 32": (
            DenseSNN(recordings, 10, hidden=(128,), dropout_input=0.1, dropout_hidden=0.2),
            (torch.rand(10, 32, *recordings) < 0.03).float(),
        ),
        "DenseSNN 784-256-256-10 T = 1, 200": (
            DenseSNN((1, 28, 28), 10, hidden=(256, 256), neuron="discontinuous"),
            (torch.rand(1, 200, 1, 28, 28) < 0.13).float(),
        ),
    }


def step_s(network: nn.Module, frames: Tensor, meter: EnergyMeter | None) -> float:
    """Return the CPU time of one training step."""
    targets = torch.arange(frames.shape[1]) % 10
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-5)
    start = time.thread_time()
    if meter is None:
        loss = squared_hinge(network(frames)[1], targets)
    else:
        with meter:
            cur = network(frames)[1]
        loss = squared_hinge(cur, targets) + 1e-6 * meter.energy_nj()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return time.thread_time() - start


def main() -> None:
    """Print a line for each network."""
    torch.set_num_threads(1)
    for name, (network, frames) in networks().items():
        meter = EnergyMeter(network)
        for how in (None, meter):
            step_s(network, frames, how)
        pairs = [
            (step_s(network, frames, None), step_s(network, frames, meter)) for _ in range(ROUNDS)
        ]
        without, with_energy = (1e3 * median(side) for side in zip(*pairs, strict=True))
        share = with_energy / without - 1
        print(f"{name:36} {without:7.1f} ms  {with_energy:7.1f} ms  {share:+.1%}")


if __name__ == "__main__":
    main()
