"""Sparse against dense convolutions: ``python -m tests.benchmarks.spike_conv``.

Both in turn, medians; forward, and forward with the gradients of weight and bias. The convolution
alone, and with the max pool behind it in one pass. With one thread the time of that thread is
taken, which other programs on the machine disturb least. The ratio may be at most 1.05 at any
density.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from snnplug.kernels import native
from snnplug.kernels.pooled_conv import max_pooled_conv2d
from snnplug.kernels.spike_conv import spike_conv2d

PERCENT = (0.1, 1, 5, 10, 20, 50, 100)
Conv = Callable[[Tensor, Tensor, Tensor], Tensor]


class Shape(NamedTuple):
    """A convolution of square images."""

    images: int
    in_channels: int
    side: int
    out_channels: int
    kernel: int


SHAPES = {
    "N-MNIST, first": Shape(800, 2, 34, 12, 5),
    "N-MNIST, second": Shape(800, 12, 15, 64, 5),
    "3 x 3": Shape(200, 64, 16, 64, 3),
    "1 x 1": Shape(200, 64, 16, 64, 1),
    "tiny": Shape(4, 2, 10, 4, 3),
}


def _pooled(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    one, two = (1, 1), (2, 2)
    return max_pooled_conv2d(x, weight, bias, one, (0, 0), one, 1, two, two)


def _dense_pooled(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return functional.max_pool2d(functional.conv2d(x, weight, bias), 2)


PAIRS: dict[str, tuple[Conv, Conv]] = {
    "convolution": (functional.conv2d, spike_conv2d),
    "with pool": (_dense_pooled, _pooled),
}


def forward(conv: Conv, x: Tensor, weight: Tensor, bias: Tensor) -> None:
    """Run without gradients."""
    with torch.no_grad():
        conv(x, weight, bias)


def step(conv: Conv, x: Tensor, weight: Tensor, bias: Tensor) -> None:
    """Run with the gradients of the parameters."""
    weight.grad = bias.grad = None
    conv(x, weight, bias).sum().backward()


def compare(
    run: Callable[..., None],
    pair: tuple[Conv, Conv],
    tensors: tuple[Tensor, ...],
    repeats: int,
    clock: Callable[[], float],
) -> tuple[float, float]:
    """Return the median milliseconds of the dense and of our convolution."""
    # Small problems are repeated within a turn until the clock can see them.
    start = clock()
    run(pair[0], *tensors)
    rounds = max(1, min(50, int(2e-3 / max(clock() - start, 1e-6))))
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for conv, taken in zip(pair, seconds, strict=True):
            start = clock()
            for _ in range(rounds):
                run(conv, *tensors)
            taken.append((clock() - start) / rounds)
    dense, ours = (1e3 * statistics.median(taken[2:]) for taken in seconds)
    return dense, ours


def main() -> None:
    """Print the times of both and their ratio for each shape and density."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--percent", nargs="+", type=float, default=PERCENT)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    clock = time.thread_time if args.threads == 1 else time.perf_counter
    print(f"{args.threads} thread(s), kernels: {native.available()[1]}")
    print(f"{'':<36}{'forward, ms':^24}{'forward + backward, ms':^24}")
    print(f"{'':<27}{'density':>9}" + 2 * f"{'dense':>8}{'ours':>8}{'ratio':>8}")
    for name in args.shapes:
        shape = SHAPES[name]
        for kind, pair in PAIRS.items():
            for percent in args.percent:
                size = (shape.images, shape.in_channels, shape.side, shape.side)
                x = (torch.rand(size) < percent / 100).float()
                kernel = (shape.out_channels, shape.in_channels, shape.kernel, shape.kernel)
                weight = torch.randn(kernel, requires_grad=True)
                bias = torch.randn(shape.out_channels, requires_grad=True)
                line = f"{name:<15} {kind:<11}{percent:>7g} %"
                for run in (forward, step):
                    dense, ours = compare(run, pair, (x, weight, bias), args.repeats, clock)
                    line += f"{dense:>8.3f}{ours:>8.3f}{ours / dense:>8.2f}"
                print(line, flush=True)


if __name__ == "__main__":
    main()
