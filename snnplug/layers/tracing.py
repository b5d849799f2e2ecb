"""The chain of layers that a network's loop over time runs, seen by watching it run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import snntorch as snn
import torch
from torch import Tensor, nn

from snnplug.errors import ArgumentError


@dataclass(frozen=True)
class Link:
    """One layer of the chain and what it saw.

    Attributes:
        name: Name of the module in the network.
        module: The module itself.
        inputs: Its input in each time step, ``(B, *)``.
        outputs: Its output in each time step; the spikes, if it is a neuron.
        flattened: Whether the loop flattens the input, all but the batch axis, before it.
    """

    name: str
    module: nn.Module
    inputs: list[Tensor]
    outputs: list[Tensor]
    flattened: bool


@dataclass(frozen=True)
class _Call:
    name: str
    module: nn.Module
    given: Tensor  # what the loop passed; `input` is an alias of it
    input: Tensor
    output: Tensor


def trace(
    net: nn.Module, run: Callable[[], Any], num_steps: int | None = None
) -> tuple[list[Link], Any]:
    """Run the network, and return its layers in order with what they saw, and its result.

    Args:
        net: The network; snnTorch's neurons and modules without children are its layers.
        run: Runs it over all time steps.
        num_steps: How many those are; None takes the number of times that the first neuron runs.

    Raises:
        ArgumentError: The layers are no chain that is the same in every time step.
    """
    calls, result = _watch(net, run)
    neurons = Counter(call.name for call in calls if isinstance(call.module, snn.SpikingNeuron))
    if not neurons:
        raise ArgumentError("no spiking neuron ran; convert takes snnTorch's and ours")
    first, times = next(iter(neurons.items()))
    num_steps = times if num_steps is None else num_steps
    if num_steps < 2:
        raise ArgumentError(
            f"{first} ran {num_steps} time step; give an example with 2 or more. A module whose "
            "forward takes one step has to be a nn.Sequential, or hold the loop over num_steps"
        )
    names = [call.name for call in calls]
    order = names[: len(calls) // num_steps]
    if names != order * num_steps:
        odd = next((n for n in dict.fromkeys(names) if names.count(n) % num_steps), None)
        raise ArgumentError(
            f"{odd or first} does not run in the same place of each of the {num_steps} time steps; "
            "convert takes one chain of layers, the same in every step: move what runs once, or "
            "only sometimes, out of the loop"
        )
    for name in neurons:
        if order.count(name) > 1:
            raise ArgumentError(f"{name} runs twice in a time step; give each layer its own neuron")
    steps = [calls[k : k + len(order)] for k in range(0, len(calls), len(order))]
    return [_link(steps, place) for place in range(len(order))], result


def _layers(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield neurons and modules without children, under their names, once each."""
    seen: set[nn.Module] = set()
    for child_name, child in module.named_children():
        path = f"{name}.{child_name}" if name else child_name
        whole = isinstance(child, snn.SpikingNeuron) or not any(child.children())
        for found_name, found in [(path, child)] if whole else _layers(child, path):
            if found not in seen:
                seen.add(found)
                yield found_name, found


def _watch(net: nn.Module, run: Callable[[], Any]) -> tuple[list[_Call], Any]:
    """Return every call of a layer during ``run``, in order."""
    calls: list[_Call] = []
    given: dict[str, Tensor] = {}

    def before(name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> Any:
            neuron = isinstance(module, snn.SpikingNeuron)
            if not args or not isinstance(args[0], Tensor) or not (neuron or len(args) == 1):
                raise ArgumentError(
                    f"{name} ({type(module).__name__}) is not called with one tensor; convert "
                    "takes layers that are called with their input, by position"
                )
            if getattr(module, "inplace", False):
                raise ArgumentError(
                    f"{name} ({type(module).__name__}) works in place, which hides what went in; "
                    "set inplace=False, which gives the same numbers"
                )
            given[name] = args[0]
            # A node of its own in the graph: its gradient comes through this layer alone.
            return (args[0].view_as(args[0]), *args[1:])

        return hook

    def after(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            neuron = isinstance(module, snn.SpikingNeuron)
            out = output[0] if neuron and isinstance(output, tuple) else output
            if not isinstance(out, Tensor):
                raise ArgumentError(
                    f"{name} ({type(module).__name__}) does not return one tensor; convert takes "
                    "stateless layers and spiking neurons"
                )
            calls.append(_Call(name, module, given.pop(name), args[0], out))

        return hook

    hooks = []
    for name, module in _layers(net):
        hooks.append(module.register_forward_pre_hook(before(name)))
        hooks.append(module.register_forward_hook(after(name)))
    try:
        result = run()
    finally:
        for hook in hooks:
            hook.remove()
    return calls, result


def _link(steps: list[list[_Call]], place: int) -> Link:
    """Return one place of the chain over all steps; refuse an input from anywhere else."""
    here = [step[place] for step in steps]
    flattened = False
    for a, b in zip(here, [step[place - 1] for step in steps] if place else [], strict=False):
        flattened = a.given is not b.output
        if flattened and not is_flattened(b.output, a.given):
            raise ArgumentError(
                f"the input of {a.name}, {tuple(a.given.shape)}, is not the output of {b.name}, "
                f"{tuple(b.output.shape)}; convert takes a chain of modules: write functions "
                "between them as layers, such as nn.MaxPool2d or nn.ReLU; sums and branches "
                "cannot be converted"
            )
        if a.given.requires_grad != b.output.requires_grad:
            raise ArgumentError(
                f"the gradient is cut between {b.name} and {a.name}; convert keeps it, so take the "
                "detach() or no_grad() out, or freeze the parameters instead"
            )
    inputs, outputs = [call.input for call in here], [call.output for call in here]
    return Link(here[0].name, here[0].module, inputs, outputs, flattened)


def is_flattened(before: Tensor, after: Tensor) -> bool:
    """Whether ``after`` is ``before`` with all axes but the first made one: the same memory."""
    return (
        after.dim() == 2
        and before.shape[:1] == after.shape[:1]
        and before.numel() == after.numel()
        and before.data_ptr() == after.data_ptr()
        and before.is_contiguous()
        and after.is_contiguous()
    )


@contextmanager
def untouched(net: nn.Module) -> Iterator[None]:
    """Put mode, state and attributes of every module, and the random numbers, back afterwards."""
    kept = [(m, dict(m.__dict__), dict(m._buffers)) for m in net.modules()]
    with torch.random.fork_rng():
        try:
            yield
        finally:
            for module, attributes, buffers in kept:
                module.__dict__.clear()
                module.__dict__.update(attributes)
                module._buffers.clear()
                module._buffers.update(buffers)
