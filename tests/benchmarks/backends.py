"""Neuron models by backend, precision and length: ``python -m tests.benchmarks.backends``.

The neurons are those that the IPU paper (arXiv:2211.10725) compares. A training step of
64-128-10 is timed: forward, loss, backward, Adam; the weights hardly move. Products over all
time steps are one matrix product for all. Lapicque, Alpha and SLSTM are snnTorch's alone.
All of a table take turns, medians count. With ``--threads 1`` it is the time of that thread.
Nothing is said of an IPU: what did not run has no number.

``--compile`` says instead what compiling a recurrent network takes, the first time on a machine and
in a later process: the processor time of this and of the C++ compiler.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import snntorch as snn
import torch
from torch import nn
from torch.nn import functional

import snnplug as sp
from snnplug import backends
from snnplug.files import write_whole
from tests.benchmarks import compile_time
from tests.benchmarks.neurons.__main__ import machine
from tests.benchmarks.neurons.task import random_spikes
from tests.benchmarks.neurons.timing import Step, medians_ms

Neuron = Callable[[int], nn.Module]
SNNTORCH = "snnTorch"
_RECURRENT: dict[str, Any] = {"all_to_all": False, "V": 0.3}


def _all(size: int) -> dict[str, Any]:
    return {"all_to_all": True, "linear_features": size}


#: By name: snnTorch's neuron, and ours where there is one.
NEURONS: dict[str, tuple[Neuron, Neuron | None]] = {
    "Leaky": (lambda n: snn.Leaky(0.9), lambda n: sp.Leaky(0.9)),
    "Lapicque": (lambda n: snn.Lapicque(beta=0.9), None),
    "Synaptic": (lambda n: snn.Synaptic(0.8, 0.9), lambda n: sp.Synaptic(0.8, 0.9)),
    "Alpha": (lambda n: snn.Alpha(0.9, 0.8), None),
    "RLeaky, 1 to 1": (
        lambda n: snn.RLeaky(0.9, **_RECURRENT),
        lambda n: sp.RLeaky(0.9, **_RECURRENT),
    ),
    "RLeaky, all to all": (
        lambda n: snn.RLeaky(0.9, **_all(n)),
        lambda n: sp.RLeaky(0.9, **_all(n)),
    ),
    "RSynaptic": (
        lambda n: snn.RSynaptic(0.8, 0.9, **_all(n)),
        lambda n: sp.RSynaptic(0.8, 0.9, **_all(n)),
    ),
    "SLSTM": (lambda n: snn.SLSTM(n, n), None),
}
PRECISIONS = ("32-true", "bf16-mixed")
_BATCH, _INPUTS, _HIDDEN, _CLASSES = 32, 64, 128, 10


def implementations(names: Sequence[str], neuron: str) -> list[str]:
    """Return which of snnTorch and the backends can run a neuron, as asked for and as there."""
    ours = NEURONS[neuron][1] is not None
    return [
        name
        for name in (SNNTORCH, *names)
        if name == SNNTORCH or (ours and backends.get(name).available()[0])
    ]


def step(neuron: str, name: str, precision: str, num_steps: int, quick: bool = False) -> Step:
    """Return a training step; it gives the loss.

    Args:
        neuron: One of ``NEURONS``.
        name: ``"snnTorch"`` for its neuron, stepped, or a backend for ours.
        precision: One of ``PRECISIONS``.
        num_steps: Time steps.
        quick: Tiny sizes.
    """
    batch, inputs, hidden = (4, 6, 8) if quick else (_BATCH, _INPUTS, _HIDDEN)
    make = NEURONS[neuron][0 if name == SNNTORCH else 1]
    assert make is not None
    torch.manual_seed(0)
    net = sp.SpikingSequential(nn.Linear(inputs, hidden), make(hidden), nn.Linear(hidden, _CLASSES))
    with torch.no_grad():
        for layer in (net[0], net[2]):
            layer.weight.mul_(3)  # so that it spikes
    torch.manual_seed(1)
    frames = random_spikes(0.2, num_steps, batch, inputs)
    labels = torch.arange(batch) % _CLASSES
    run = backends.get("eager" if name == SNNTORCH else name).prepare(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-8)
    mixed = precision == "bf16-mixed"

    def once() -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16) if mixed else nullcontext():
            out = run(frames)
        loss = functional.cross_entropy(out.float().mean(0), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return once


def table(results: dict[str, dict[str, float]], title: str) -> str:
    """Return a table of milliseconds, a row per neuron."""
    names = list(dict.fromkeys(name for row in results.values() for name in row))
    lines = [
        f"### {title}",
        "",
        f"| ms per step | {' | '.join(names)} |",
        f"|---|{'--:|' * len(names)}",
    ]
    for neuron, row in results.items():
        cells = [f"{row[name]:.2f}" if name in row else "" for name in names]
        lines.append(f"| {neuron} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and write them if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--neurons", nargs="+", choices=NEURONS, default=list(NEURONS))
    parser.add_argument("--backends", nargs="+", default=["eager", "fused", "compiled", "cuda"])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--steps", nargs="+", type=int, default=[10, 25, 100])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all runs")
    parser.add_argument("--write", type=Path, metavar="FILE", help="a file of Markdown")
    parser.add_argument("--compile", action="store_true", help="time compiling instead")
    options = parser.parse_args(arguments)
    if options.compile:
        print(compile_time.table())
        return
    torch.set_num_threads(options.threads)
    clock = time.thread_time if options.threads == 1 else time.perf_counter
    given = sys.argv[1:] if arguments is None else arguments
    command = " ".join(["python -m tests.benchmarks.backends", *given])
    texts = [f"{date.today():%Y-%m-%d}; {machine()}; `{command}`.", ""]
    for precision in options.precisions:
        for num_steps in options.steps:
            results = {}
            for neuron in options.neurons:
                steps = {
                    name: step(neuron, name, precision, num_steps, options.quick)
                    for name in implementations(options.backends, neuron)
                }
                results[neuron] = medians_ms(steps, options.repeats, clock=clock)
            texts.append(table(results, f"{precision}, {num_steps} time steps"))
            print(texts[-1], flush=True)
    if options.write:
        write_whole(options.write, "\n".join(texts))


if __name__ == "__main__":
    main()
