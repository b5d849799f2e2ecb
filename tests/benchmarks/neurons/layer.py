"""One layer of leaky neurons, forward and backward: soft reset, atan surrogate, 10 % firing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from tests.benchmarks.neurons import in_jax
from tests.benchmarks.neurons.libraries import NEURONS, Ours, SnnTorch, Spikingjelly
from tests.benchmarks.neurons.task import OURS, Task
from tests.benchmarks.neurons.timing import Step

_LOOP = "snnTorch, loop"
#: Above this many steps a loop that torch.compile unrolls takes minutes to compile.
_MOST_COMPILED_STEPS = 100


def task(shape: tuple[int, int, int]) -> Task:
    """Return the task for ``(T, B, N)``."""
    neurons: dict[str, Callable[[], nn.Module]] = {OURS: Ours, _LOOP: SnnTorch}
    neurons |= {name: neuron for name, neuron in NEURONS.items() if neuron is not SnnTorch}
    build: dict[str, Callable[[bool], Step]] = {
        name: partial(_step, shape, neuron) for name, neuron in neurons.items()
    }
    compiled = {}
    if shape[0] <= _MOST_COMPILED_STEPS:
        compiled = {
            "snnTorch, compiled": partial(_step, shape, SnnTorch, compiled=True),
            "spikingjelly, compiled": partial(_step, shape, Spikingjelly, compiled=True),
        }
    build[in_jax.NAME] = partial(_in_jax, shape)
    floor = "stream: read and write the arrays"
    build |= {**compiled, floor: partial(_stream, shape)}
    title = f"LIF {shape}"
    return Task(title, _LOOP, build, (floor,), tuple(compiled))


def _size(shape: tuple[int, int, int], quick: bool) -> tuple[int, int, int]:
    return (3, 2, 16) if quick else shape


def _problem(shape: tuple[int, int, int], quick: bool) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    cur, grad = (torch.randn(_size(shape, quick)) for _ in range(2))
    return cur * 0.45, grad


def _in_jax(shape: tuple[int, int, int], quick: bool) -> Step:
    return in_jax.layer_step(*_problem(shape, quick))


def _step(
    shape: tuple[int, int, int],
    neuron: Callable[[], nn.Module],
    quick: bool,
    compiled: bool = False,
) -> Step:
    cur, grad = _problem(shape, quick)
    run = neuron()
    if compiled:
        run.compile()

    def once() -> float:
        leaf = cur.detach().requires_grad_()
        spk = run(leaf)
        spk.backward(grad)
        rate: float = spk[-1].mean().item()
        return rate

    return once


def _stream(shape: tuple[int, int, int], quick: bool) -> Step:
    """Return the traffic of both passes and nothing else, in memory that is used again."""
    a, b, c, d = (torch.ones(_size(shape, quick)) for _ in range(4))

    def once() -> None:
        torch.add(a, 1.0, out=b)
        torch.add(a, c, out=d)

    return once
