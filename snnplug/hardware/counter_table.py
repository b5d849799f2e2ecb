"""The running counters of a network by name, and by size where a module meets several."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TypeVar, cast

from torch import Tensor, nn

from snnplug.hardware.counters import (
    Counter,
    ElementwiseCounter,
    NeuronCounter,
    PoolCounter,
    SynapticCounter,
)
from snnplug.hardware.dynamics import Dynamics
from snnplug.hardware.fan_out import (
    Convolution,
    Counts,
    fan_out_of,
    window_of,
    zero_weight_fan_out,
)

_C = TypeVar("_C", SynapticCounter, NeuronCounter, PoolCounter)
WEIGHTS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


class CounterTable:
    """Finds the counter that a call belongs to, or begins one.

    Args:
        seeks_zeros: Whether synapses whose weight is 0 are told apart.
    """

    def __init__(self, seeks_zeros: bool) -> None:
        self._seeks_zeros = seeks_zeros
        self.by_name: dict[str, Counter] = {}
        # Which record stores a weight; the weight is kept so that no other gets its number.
        self._stored: dict[int, tuple[str, Tensor]] = {}

    def synaptic(
        self,
        name: str,
        layer: nn.Linear | Convolution,
        shape: tuple[int, ...],
        to: tuple[int, ...],
    ) -> SynapticCounter:
        """Return the counter of a layer of weights from inputs of one shape to another."""
        outputs = prod(to)
        found = self._at_size(SynapticCounter, name, shape, outputs)
        if not isinstance(found, str):
            return found
        shape = tuple(shape)
        stored = layer._parameters.get("weight")  # None if it is computed
        owner = found if stored is None else self._stored.setdefault(id(stored), (found, stored))[0]
        counter = SynapticCounter(
            found,
            kind_of_weights(layer),
            shape,
            outputs,
            layer.weight.numel(),
            fan_out_of(layer, shape, to),
            self.zeros(layer, shape, to),
            0 if layer.bias is None else outputs,
            owner != found,
            window_of(layer, shape, tuple(to)),
        )
        self.by_name[found] = counter
        return counter

    def weighted(
        self,
        name: str,
        kind: str,
        shape: tuple[int, ...],
        outputs: int,
        weights: int,
        fan_out: Counts,
        zero: Counts | None,
        biases: int,
    ) -> SynapticCounter:
        """Return the counter of weights that are no layer of torch's."""
        found = self._at_size(SynapticCounter, name, shape, outputs)
        if not isinstance(found, str):
            return found
        counter = SynapticCounter(
            found, kind, tuple(shape), outputs, weights, fan_out, zero, biases
        )
        self.by_name[found] = counter
        return counter

    def neurons(
        self, name: str, module: nn.Module, dynamics: Dynamics, shape: tuple[int, ...]
    ) -> NeuronCounter:
        """Return the counter of a layer of neurons with outputs of one shape."""
        found = self._at_size(NeuronCounter, name, shape, None)
        if not isinstance(found, str):
            return found
        neurons = prod(shape)
        if getattr(module, "max_pool", 0) or getattr(module, "avg_pool", 0):
            neurons = prod(cast(Tensor, module.mem).shape[1:])  # pooled on the way to its spikes
        kind = type(module).__name__
        counter = self.by_name[found] = NeuronCounter(found, kind, tuple(shape), neurons, dynamics)
        return counter

    def pool(
        self, name: str, kind: str, shape: tuple[int, ...], fan_out: Counts | None
    ) -> PoolCounter:
        """Return the counter of a pooling; ``fan_out`` is for one that averages."""
        found = self._at_size(PoolCounter, name, shape, None)
        if not isinstance(found, str):
            return found
        counter = self.by_name[found] = PoolCounter(found, kind, tuple(shape), fan_out)
        return counter

    def elementwise(self, name: str, kind: str, parameters: int) -> ElementwiseCounter:
        """Return the counter of work on single values."""
        counter = self.by_name.get(name)
        if not isinstance(counter, ElementwiseCounter):
            counter = self.by_name[name] = ElementwiseCounter(name, kind, parameters=parameters)
        return counter

    def zeros(
        self, layer: nn.Linear | Convolution, shape: tuple[int, ...], to: tuple[int, ...]
    ) -> Counts | None:
        """Return the synapses without weight of each input, if there are any and they count."""
        if not self._seeks_zeros or int(layer.weight.count_nonzero()) == layer.weight.numel():
            return None
        return zero_weight_fan_out(layer, shape, to)

    def _at_size(
        self, kind: type[_C], name: str, shape: tuple[int, ...], outputs: int | None
    ) -> _C | str:
        """Return the counter of a module for an input of this shape, or the name of a new one."""
        known = self.by_name.get(name)
        if type(known) is kind and known.shape == shape and outputs is None:
            return known
        for label in _labels(name, shape, outputs):
            counter = self.by_name.get(label)
            if counter is None:
                return label
            if (
                isinstance(counter, kind)
                and counter.shape == shape
                and (outputs is None or getattr(counter, "outputs", outputs) == outputs)
            ):
                return counter
        return label


def kind_of_weights(layer: nn.Module) -> str:
    """Return torch's name of the layer that a module is a kind of, whatever it derives from."""
    return next(cls.__name__ for cls in type(layer).__mro__ if cls in WEIGHTS)


def _labels(name: str, shape: tuple[int, ...], outputs: int | None) -> Iterator[str]:
    """Yield what a counter may be called: its module, and where that has met others, the sizes."""
    yield name
    size = "x".join(map(str, shape))
    yield f"{name}[{size}]"
    yield f"{name}[{size}->{outputs}]"
