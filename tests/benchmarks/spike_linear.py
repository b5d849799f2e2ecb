"""Sparse against dense linear maps: ``python -m tests.benchmarks.spike_linear``.

Both in turn, medians; forward, and forward with the gradients of weight and bias. With one thread
the time of that thread is taken, which other programs on the machine disturb least.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from snnplug.kernels import native
from snnplug.kernels.spike_linear import spike_linear

SHAPES = ((784, 1000), (2312, 512), (256, 256), (1000, 10))
PERCENT = (0.1, 1, 2, 5, 10, 20, 50, 100)
Linear = Callable[[Tensor, Tensor, Tensor], Tensor]


def forward(linear: Linear, x: Tensor, weight: Tensor, bias: Tensor, grad: Tensor) -> None:
    """Run without gradients."""
    with torch.no_grad():
        linear(x, weight, bias)


def step(linear: Linear, x: Tensor, weight: Tensor, bias: Tensor, grad: Tensor) -> None:
    """Run with the gradients of the parameters."""
    weight.grad = bias.grad = None
    linear(x, weight, bias).backward(grad)


def compare(
    run: Callable[..., None], tensors: tuple[Tensor, ...], repeats: int, clock: Callable[[], float]
) -> tuple[float, float]:
    """Return the median milliseconds of the dense and of our product."""
    seconds: dict[Linear, list[float]] = {functional.linear: [], spike_linear: []}
    for _ in range(repeats):
        for linear, taken in seconds.items():
            start = clock()
            run(linear, *tensors)
            taken.append(clock() - start)
    dense, ours = (1e3 * statistics.median(taken[2:]) for taken in seconds.values())
    return dense, ours


def main() -> None:
    """Print the times of both and their ratio for each shape and density."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    clock = time.thread_time if args.threads == 1 else time.perf_counter
    print(f"{args.rows} rows, {args.threads} thread(s), kernels: {native.available()[1]}")
    print(f"{'':<23}{'forward, ms':^24}{'forward + backward, ms':^24}")
    print(f"{'':<14}{'density':>9}" + 2 * f"{'dense':>8}{'ours':>8}{'ratio':>8}")
    for features, columns in SHAPES:
        for percent in PERCENT:
            x = (torch.rand(args.rows, features) < percent / 100).float()
            weight = torch.randn(columns, features, requires_grad=True)
            bias = torch.randn(columns, requires_grad=True)
            tensors = (x, weight, bias, torch.randn(args.rows, columns))
            line = f"{features:>5} -> {columns:<5}{percent:>8} %"
            for run in (forward, step):
                dense, ours = compare(run, tensors, args.repeats, clock)
                line += f"{dense:>8.2f}{ours:>8.2f}{ours / dense:>8.2f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
