"""One layer of leaky neurons, forward and backward: ``python -m tests.benchmarks.neurons``.

Reset by subtraction, atan surrogate, about 10 % firing; all implementations take turns in one
process, medians. ``stream`` is the floor: reading the current and writing spikes, then reading
current and gradient and writing a gradient, into memory that is used again.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import snntorch as snn
import torch
from torch import Tensor

from snnplug.kernels import native
from snnplug.kernels.dynamics import Dynamics
from snnplug.kernels.lif import lif, lif_reference
from snnplug.surrogate import Atan

SHAPES = [(25, 128, 1000), (100, 64, 512), (300, 32, 1024)]
BETA, THRESHOLD, HEIGHT = torch.tensor(0.9), torch.tensor(1.0), torch.tensor(1.0)
DYNAMICS = Dynamics("subtract", Atan())
Step = Callable[[], Any]


def snntorch_loop(cur: Tensor) -> Tensor:
    """Return the spikes of snnTorch's neuron, stepped over ``unbind``: its quickest loop."""
    neuron = snn.Leaky(beta=0.9)
    mem = torch.zeros_like(cur[0])
    spikes = []
    for now in cur.unbind(0):
        spk, mem = neuron(now, mem)
        spikes.append(spk)
    return torch.stack(spikes)


def implementations(with_compiled: bool) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return everything that is here to be compared."""
    rest = (BETA, THRESHOLD, HEIGHT, DYNAMICS)
    found: dict[str, Callable[[Tensor], Tensor]] = {
        "snnplug": lambda cur: lif(cur, torch.zeros_like(cur[0]), *rest)[0],
        "snnplug, torch reference": lambda cur: lif_reference(cur, torch.zeros_like(cur[0]), *rest)[
            0
        ],
        "snnTorch loop": snntorch_loop,
    }
    if with_compiled:
        found["snnTorch loop, compiled"] = torch.compile(snntorch_loop)
    if find_spec("spikingjelly"):
        from spikingjelly.activation_based import neuron, surrogate

        def multi_step(cur: Tensor) -> Tensor:
            layer = neuron.LIFNode(
                tau=10.0, v_reset=None, surrogate_function=surrogate.ATan(), step_mode="m"
            )
            spikes: Tensor = layer(cur)
            return spikes

        found["spikingjelly, multi-step"] = multi_step
    return found


def step(run: Callable[[Tensor], Tensor], cur: Tensor, grad: Tensor) -> Step:
    """Return one forward and backward pass."""

    def once() -> None:
        leaf = cur.detach().requires_grad_()
        run(leaf).backward(grad)

    return once


def stream(shape: tuple[int, ...]) -> Step:
    """Return the traffic of a forward and a backward pass, and nothing else."""
    a, b, c, d = (torch.ones(shape) for _ in range(4))

    def once() -> None:
        torch.add(a, 1.0, out=b)
        torch.add(a, c, out=d)

    return once


def compare(steps: dict[str, Step], repeats: int) -> dict[str, float]:
    """Return the median milliseconds of each, taken in turns."""
    for once in steps.values():
        once()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, once in steps.items():
            start = time.perf_counter()
            once()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(column) for name, column in times.items()}


def main() -> None:
    """Print a table per shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument(
        "--compiled", action="store_true", help="also torch.compile snnTorch's loop"
    )
    options = parser.parse_args()
    print(f"native kernels: {native.available()[1]}, threads: {torch.get_num_threads()}")
    if not find_spec("spikingjelly"):
        print("spikingjelly: not installed, left out")
    for shape in SHAPES:
        torch.manual_seed(0)
        cur, grad = torch.randn(shape) * 0.45, torch.randn(shape)
        runs = implementations(options.compiled)
        steps = {name: step(run, cur, grad) for name, run in runs.items()}
        medians = compare({**steps, "stream": stream(shape)}, options.repeats)
        rate = runs["snnplug"](cur).mean().item()
        print(f"\n{shape}, {100 * rate:.0f} % firing")
        for name, value in medians.items():
            print(f"  {name:<28}{value:>9.2f} ms{value / medians['snnplug']:>8.1f}x")


if __name__ == "__main__":
    main()
