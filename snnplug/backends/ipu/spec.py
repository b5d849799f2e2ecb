"""What a network is made of, as the plain data that a bundle builds it from."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

from torch import Tensor, nn

from snnplug.errors import ArgumentError
from snnplug.kernels.dynamics import known
from snnplug.layers.population_readout import PopulationReadout
from snnplug.layers.sequential import SpikingSequential
from snnplug.neurons.base import SequenceNeuron
from snnplug.neurons.continuous_if import ContinuousIF
from snnplug.neurons.discontinuous_if import DiscontinuousIF
from snnplug.neurons.leaky import Leaky
from snnplug.neurons.lif import LIF
from snnplug.neurons.recurrent import RecurrentLIF

Spec = dict[str, Any]

#: Counts the fields' meaning; a bundle of another number is refused.
SCHEMA = 1


def describe_network(network: nn.Module) -> Spec:
    """Return the layers of a network, in order, and what the loss looks at.

    Args:
        network: A :class:`~snnplug.layers.sequential.SpikingSequential`, or a network with
            ``chain()`` as the packaged ones have.

    Raises:
        ArgumentError: It is no chain of layers, or one of them cannot be described.

    Example:
        >>> from snnplug.networks.dense import DenseSNN
        >>> spec = describe_network(DenseSNN((1, 8, 8), 10, hidden=(16,)))
        >>> [layer["kind"] for layer in spec["layers"]]
        ['flatten', 'dropout', 'linear', 'neurons', 'dropout', 'linear', 'neurons']
    """
    if isinstance(network, SpikingSequential):
        chain = network
    elif callable(found := getattr(network, "chain", None)):
        chain = found()
    else:
        raise ArgumentError(
            f"{type(network).__name__} is no chain of layers; give a SpikingSequential, or a "
            "network that has chain()"
        )
    names = {id(module): name for name, module in network.named_modules()}
    layers = [describe_layer(names[id(module)], module) for module in _flat(chain)]
    ends = [layer["kind"] for layer in layers]
    if ends[-1:] == ["population_readout"]:
        ends.pop()
    if ends[-1:] != ["neurons"]:
        raise ArgumentError(
            "the network does not end in a layer of neurons; it has to, for a bundle"
        )
    on_current = not isinstance(network, SpikingSequential)
    return {"layers": layers, "loss_on": "current" if on_current else "spikes"}


def _flat(chain: SpikingSequential) -> list[nn.Module]:
    return [
        inner
        for layer in chain
        for inner in (_flat(layer) if isinstance(layer, SpikingSequential) else [layer])
    ]


def describe_layer(name: str, module: nn.Module) -> Spec:
    """Return the description of one layer.

    Raises:
        ArgumentError: There is none for its class, or for an option that it uses.
    """
    if isinstance(module, SequenceNeuron):
        return {"name": name, "kind": "neurons", **_neurons(name, module)}
    for cls, (kind, arguments) in _LAYERS.items():
        if isinstance(module, cls):
            if getattr(module, "padding_mode", "zeros") != "zeros":
                raise ArgumentError(f"{name} pads with {module.padding_mode!r}; a bundle has zeros")
            return {"name": name, "kind": kind, "arguments": arguments(module)}
    raise ArgumentError(
        f"{name} is a {type(module).__name__}, which a bundle does not have; it has "
        f"{', '.join(cls.__name__ for cls in _LAYERS)} and snnplug's neurons"
    )


def _conv2d(module: Any) -> Spec:
    names = (
        "in_channels",
        "out_channels",
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "groups",
    )
    return {**{name: getattr(module, name) for name in names}, "bias": module.bias is not None}


def _linear(module: Any) -> Spec:
    return {
        "in_features": module.in_features,
        "out_features": module.out_features,
        "bias": module.bias is not None,
    }


def _same(*names: str) -> Callable[[Any], Spec]:
    return lambda module: {name: getattr(module, name) for name in names}


_LAYERS: dict[type[nn.Module], tuple[str, Callable[[Any], Spec]]] = {
    nn.Flatten: ("flatten", _same("start_dim", "end_dim")),
    nn.Linear: ("linear", _linear),
    nn.Conv2d: ("conv2d", _conv2d),
    nn.MaxPool2d: ("max_pool2d", _same("kernel_size", "stride", "padding", "ceil_mode")),
    nn.AvgPool2d: ("avg_pool2d", _same("kernel_size", "stride", "padding", "ceil_mode")),
    nn.Dropout: ("dropout", _same("p")),
    PopulationReadout: ("population_readout", _same("num_classes", "per_class", "reduce")),
}


def _spike(name: str, neuron: SequenceNeuron) -> Spec:
    surrogate = known(neuron.spike_grad)
    if surrogate is None or getattr(neuron, "surrogate_disable", False):
        raise ArgumentError(
            f"{name} spikes with {neuron.spike_grad}; a bundle has snnplug's surrogates: PopTorch "
            "ignores the backward of any other function"
        )
    parameters = [
        float(getattr(surrogate, name))
        for name in signature(type(surrogate)).parameters
        if name != "inclusive"
    ]
    return {
        "surrogate": type(surrogate).__name__,
        "parameters": parameters,
        "inclusive": bool(getattr(surrogate, "inclusive", False)),
    }


def _neurons(name: str, neuron: SequenceNeuron) -> Spec:
    if not isinstance(neuron, LIF | ContinuousIF | DiscontinuousIF):
        raise ArgumentError(f"{name} is a {type(neuron).__name__}, which a bundle does not have")
    if getattr(neuron, "inhibition", False) or getattr(neuron, "state_quant", False):
        raise ArgumentError(f"{name} is inhibited or quantised; a bundle has neither")
    dense = isinstance(neuron, RecurrentLIF) and neuron.all_to_all
    if dense and not neuron.linear_features:
        raise ArgumentError(f"{name} has a convolution as its recurrence; a bundle has none")
    reset = neuron._reset_mechanism
    if reset == "zero" and isinstance(neuron, Leaky):
        reset = "membrane"
    tensors = neuron_tensors(neuron)
    return {
        "spike": _spike(name, neuron),
        "memoryless": isinstance(neuron, DiscontinuousIF),
        "reset": reset,
        "reset_delay": bool(getattr(neuron, "reset_delay", True)),
        "detach_reset": bool(getattr(neuron, "detach_reset", True)),
        "clamped": isinstance(neuron, LIF),
        "tensors": {key: list(value.shape) for key, value in tensors.items()},
        "learned": [key for key in tensors if isinstance(getattr(neuron, key), nn.Parameter)],
        "recurrent_features": neuron.linear_features if dense else None,
    }


def neuron_tensors(neuron: SequenceNeuron) -> dict[str, Tensor]:
    """Return the tensors of a layer of neurons by the names that its ``state_dict`` has."""
    found = {}
    for key in ("threshold", "graded_spikes_factor", "beta", "alpha", "V"):
        value = getattr(neuron, key, None)
        if isinstance(value, Tensor):
            found[key] = value.detach()
        elif value is not None:  # a plain number
            found[key] = neuron.threshold.detach().new_tensor(float(value))
    return found
