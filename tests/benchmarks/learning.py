"""A training step of the spike-train rules: against a loop over samples, and backpropagation.

    $ OMP_WAIT_POLICY=PASSIVE python -m tests.benchmarks.learning

One thread; CPU time, medians, the contestants in turn. The rules and backpropagation through time
train the same shape, 784-800-10, on the same spikes, the latter with fused neurons that keep a
synaptic current, too. The loop is :mod:`tests.learning.loop`, one sample at a time with a state per
synapse; its time is of a few samples, times the batch over them.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import snnplug as sp
from snnplug.learning.rules import RuleName
from snnplug.networks.spike_train import SpikeTrainSNN
from snnplug.training.losses import count_squared_error
from tests.benchmarks.neurons.timing import Step, medians_ms
from tests.learning import loop

RULES: tuple[RuleName, ...] = ("hm2bp", "st_rsbp")
BATCH, SAMPLES = 64, 2
# Of the pixels of MNIST at the largest rate of the recipe, 0.4: 5 % are spikes.
DENSITY = 0.05


def kept_bytes(out: Tensor) -> tuple[int, int]:
    """Return what a graph keeps for the backward pass: of the spikes, and of all else."""
    spikes, rest, todo, seen = 0, 0, [out.grad_fn], set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        todo += [before for before, _ in node.next_functions]
        kept = getattr(node, "saved_tensors", ()) if hasattr(node, "trains") else ()
        for x in kept:
            if x is not None and x.dtype == torch.int64:  # 64 spikes a word
                spikes += x.nbytes
            elif x is not None:
                rest += x.nbytes
    return spikes, rest


def networks() -> dict[str, nn.Module]:
    """Return the contestants by name."""
    how: dict[str, Any] = {
        "thresholds": (1.0, 4.0),
        "hidden": (800,),
        "init_ranges": (0.1, 0.3),
        "inhibition": 0.0,
    }
    rules: dict[str, nn.Module] = {
        rule: SpikeTrainSNN((784,), 10, rule=rule, **how) for rule in RULES
    }
    neuron = {"alpha": 1 - 1 / 8, "beta": 1 - 1 / 64}
    rules["bptt"] = sp.SpikingSequential(
        sp.SpikeLinear(784, 800, bias=False),
        sp.Synaptic(**neuron, threshold=8.0),
        sp.SpikeLinear(800, 10, bias=False),
        sp.Synaptic(**neuron, threshold=8.0),
    )
    return rules


def step_ms(num_steps: int, repeats: int = 9) -> dict[str, float]:
    """Return the median time of a training step of each contestant, and of the loop."""
    torch.manual_seed(0)
    x = (torch.rand(num_steps, BATCH, 784) < DENSITY).float()
    targets = torch.randint(10, (BATCH,))
    nets = networks()
    layers: list[Any] = list(nets["hm2bp"].children())
    weights, dynamics = [m.weight.detach() for m in layers], [m.dynamics for m in layers]
    few, wanted = x[:, :SAMPLES], torch.ones(SAMPLES, 10)

    def train(net: nn.Module) -> None:
        net.zero_grad()
        count_squared_error(net(x), targets, 10, 1, 1).backward()

    steps: dict[str, Step] = {name: partial(train, net) for name, net in nets.items()}
    steps["loop"] = lambda: loop.train_step(few, weights, dynamics, wanted)
    result = medians_ms(steps, repeats, clock=time.thread_time)
    result["loop"] *= BATCH / SAMPLES
    return result


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    print("| steps | loop | HM2-BP | ST-RSBP | BPTT | loop / HM2-BP | HM2-BP / BPTT |")
    print("|---|---|---|---|---|---|---|")
    for num_steps in (50, 100, 400):
        t = step_ms(num_steps)
        print(
            f"| {num_steps} | {t['loop']:.0f} ms | {t['hm2bp']:.1f} ms | {t['st_rsbp']:.1f} ms | "
            f"{t['bptt']:.1f} ms | {t['loop'] / t['hm2bp']:.0f} | {t['hm2bp'] / t['bptt']:.2f} |"
        )
    print("\n| steps | spikes kept | all else kept |")
    print("|---|---|---|")
    for num_steps in (50, 400):
        x = (torch.rand(num_steps, BATCH, 784) < DENSITY).float()
        spikes, rest = kept_bytes(networks()["hm2bp"](x))
        print(f"| {num_steps} | {spikes / 1e6:.2f} MB | {rest / 1e6:.2f} MB |")


if __name__ == "__main__":
    main()
