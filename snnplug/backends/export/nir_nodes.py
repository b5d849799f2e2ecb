r"""Layers as nodes of NIR, the intermediate representation of neuromorphic software.

NIR's neurons are differential equations; it says nothing of time steps. Like snnTorch we take a
step of Euler's method with :math:`\Delta t`, so that a decay per step is

.. math::
    \beta = 1 - \Delta t / \tau, \qquad R\, \Delta t / \tau = 1, \qquad w_{in}\, \Delta t /
    \tau_{syn} = 1

and a neuron without a leak has :math:`R = 1 / \Delta t`. A spike sets NIR's membrane to
:math:`v_{reset} = 0`. A reset that it does not have is written into the node's metadata.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import nir
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from snnplug.backends.export.chain import Link
from snnplug.backends.export.nir_convolutions import convolution_node
from snnplug.errors import ArgumentError
from snnplug.kernels.dynamics import known
from snnplug.neurons.base import SequenceNeuron
from snnplug.neurons.continuous_if import ContinuousIF
from snnplug.neurons.discontinuous_if import DiscontinuousIF
from snnplug.neurons.leaky import Leaky
from snnplug.neurons.learnable_lif import LearnableLIF
from snnplug.neurons.lif import LIF
from snnplug.neurons.recurrent import RecurrentLIF

Array = npt.NDArray[np.float64]
#: snnTorch's, in seconds.
DT_S = 1e-4
#: Stands for 1 - beta where that is 0: 1 - LEAST is 1 in double precision, and 1 / LEAST is finite.
LEAST = 2.0**-60


@dataclass(frozen=True)
class Nodes:
    """The nodes of one layer, in order.

    Attributes:
        nodes: By name.
        foreign: Whether other readers, which do not look at metadata, reset otherwise.
    """

    nodes: dict[str, Any]
    foreign: bool = False


def nodes_of(link: Link, dt_s: float) -> Nodes:
    """Return a layer as nodes.

    Raises:
        ArgumentError: NIR has no such layer; the message names it and says what to do.
    """
    module = link.module
    if isinstance(module, SequenceNeuron):
        return _neurons(link, module, dt_s)
    node = _stateless(link, module)
    for side, shape in (("input", link.in_shape), ("output", link.out_shape)):
        found = getattr(node, f"{side}_type")[side]
        if found is not None and tuple(found) != shape:
            raise ArgumentError(
                f"{link.label}: nir {nir.version} takes its {side} for {tuple(found.tolist())}, it "
                f"is {shape}; put a Flatten before it"
            )
    return Nodes({link.name: node})


def array(value: Tensor | float) -> Array:
    """Return a parameter in double precision."""
    values: Array = torch.as_tensor(value).detach().cpu().to(torch.float64).numpy()
    return values


def _stateless(link: Link, module: nn.Module) -> Any:
    kind = {"layer": type(module).__name__}
    if isinstance(module, nn.Linear):
        weight = _values(module.weight)
        bias: Tensor | None = module.bias
        if bias is None:
            return nir.Linear(weight, metadata=kind)
        return nir.Affine(weight, _values(bias), metadata=kind)
    if isinstance(module, nn.Conv2d | nn.Conv1d):
        return convolution_node(link, module)
    if isinstance(module, nn.Flatten):
        start, end = (d - 1 if d > 0 else d for d in (module.start_dim, module.end_dim))
        return nir.Flatten(np.array(link.in_shape), start, end, metadata=kind)
    if isinstance(module, nn.AvgPool2d):
        return _pool(link, module)
    raise ArgumentError(f"{link.label}: {_remedy(module)}")


def _remedy(module: nn.Module) -> str:
    """Say what to do about a layer that NIR does not have."""
    if isinstance(module, nn.MaxPool2d | nn.MaxPool1d):
        return "NIR has no maximum; train with nn.AvgPool2d, or export as onnx"
    if "BatchNorm" in type(module).__name__:
        return "put it right behind a Linear or Conv2d, into which it is folded"
    if type(module).__module__.startswith("snntorch"):
        return "take snnplug's neuron of that name, which has the same arguments, or sp.convert"
    return (
        "NIR has no such layer; it has Linear, Conv1d, Conv2d, AvgPool2d, Flatten and leaky or "
        "integrate-and-fire neurons. Export as onnx or pt2"
    )


def _values(parameter: Tensor) -> npt.NDArray[Any]:
    """Return weights in their own precision; NIR's files keep it."""
    return parameter.detach().cpu().numpy()


def _pool(link: Link, module: nn.AvgPool2d) -> Any:
    padding = _pair(module.padding)
    if module.ceil_mode or module.divisor_override not in (None, 1):
        raise ArgumentError(f"{link.label} rounds up or divides by another number; NIR does not")
    if padding.any() and not module.count_include_pad:
        raise ArgumentError(f"{link.label}: set count_include_pad; NIR counts padded zeros")
    kind = nir.AvgPool2d if module.divisor_override is None else nir.SumPool2d
    return kind(_pair(module.kernel_size), _pair(module.stride), padding)


def _pair(value: Any) -> npt.NDArray[np.int64]:
    return np.array(np.broadcast_to(value, 2))


def _neurons(link: Link, neuron: SequenceNeuron, dt_s: float) -> Nodes:
    if not isinstance(neuron, LIF | ContinuousIF | DiscontinuousIF | LearnableLIF):
        raise ArgumentError(f"{link.label}: {_remedy(neuron)}")
    if getattr(neuron, "inhibition", False) or getattr(neuron, "state_quant", False):
        raise ArgumentError(f"{link.label} is inhibited or quantised; NIR has neither")
    core = _core(link, neuron, dt_s)
    if not isinstance(neuron, RecurrentLIF):
        nodes = _under(link.name, core)
        if bool((neuron.graded_spikes_factor != 1).any()):
            nodes[f"{link.name}.graded"] = nir.Scale(_full(link, neuron.graded_spikes_factor))
        return Nodes(nodes, not _native(neuron))
    shape = np.array(link.out_shape)
    names = ["input", *core, "output"]
    nodes = {"input": nir.Input(shape), **core, "w_rec": _recurrence(link, neuron)}
    nodes["output"] = nir.Output(shape)
    first, last = names[1], names[-2]
    edges = [*pairwise(names), (last, "w_rec"), ("w_rec", first)]
    return Nodes({link.name: nir.NIRGraph(nodes, edges)}, not _native(neuron))


def _under(name: str, core: dict[str, Any]) -> dict[str, Any]:
    """Name nodes after their layer: the first as it, others with what they are."""
    return {name if k == 0 else f"{name}.{key}": node for k, (key, node) in enumerate(core.items())}


def _recurrence(link: Link, neuron: RecurrentLIF) -> Any:
    if not neuron.all_to_all:
        return nir.Scale(_full(link, neuron.V))
    inner = Link(f"{link.name}.recurrent", neuron.recurrent, link.out_shape, link.out_shape)
    return nodes_of(inner, DT_S).nodes[inner.name]


def _core(link: Link, neuron: Any, dt_s: float) -> dict[str, Any]:
    """Return what integrates and fires: one node, or two where a spike resets nothing."""
    threshold = _threshold(link, neuron)
    metadata = _metadata(neuron, dt_s)
    if isinstance(neuron, DiscontinuousIF):
        return {"threshold": nir.Threshold(threshold, metadata=metadata)}
    tau, beta = _time_constant(link, neuron, "beta", dt_s)
    given: dict[str, Any] = {"r": tau / dt_s, "v_leak": np.zeros(link.out_shape)}
    cuba = "syn" in neuron.state_names
    if cuba:
        tau_syn, _ = _time_constant(link, neuron, "alpha", dt_s)
        given |= {"tau_syn": tau_syn, "tau_mem": tau, "w_in": tau_syn / dt_s}
    elif bool((beta == 1).all()):
        given = {"r": np.full(link.out_shape, 1 / dt_s)}
    else:
        given["tau"] = tau
    name = "CubaLI" if cuba else "LI" if "tau" in given else "I"
    if neuron._reset_mechanism == "none":
        node = getattr(nir, name)(**given, metadata=metadata)
        return {name.lower(): node, "threshold": nir.Threshold(threshold)}
    firing = {"v_threshold": threshold, "v_reset": np.zeros(link.out_shape)}
    return {"lif": getattr(nir, f"{name}F")(**given, **firing, metadata=metadata)}


def _metadata(neuron: Any, dt_s: float) -> dict[str, Any]:
    found: dict[str, Any] = {
        "layer": type(neuron).__name__,
        "dt": dt_s,
        "reset_mechanism": neuron._reset_mechanism,
        "reset_delay": bool(getattr(neuron, "reset_delay", True)),
    }
    surrogate = known(neuron.spike_grad)
    if surrogate is not None and not getattr(neuron, "surrogate_disable", False):
        found["spike_grad"] = json.dumps([surrogate.kind, list(surrogate.parameters())])
    if _spikes_at_threshold(neuron):
        found["inclusive"] = True
    return found


def _spikes_at_threshold(neuron: Any) -> bool:
    with torch.no_grad():
        return bool(neuron.spike_grad(torch.zeros(1)) > 0)


def _threshold(link: Link, neuron: Any) -> Array:
    """Return the threshold that a membrane has to exceed."""
    with torch.no_grad():
        levels = neuron.spike_grad(torch.tensor([-1.0, 1.0])).tolist()
    if levels != [0, 1]:
        raise ArgumentError(f"{link.label}: its spike function is no step at the threshold")
    threshold = _full(link, neuron.threshold)
    if _spikes_at_threshold(neuron):
        below = np.nextafter(threshold.astype(np.float32), np.float32(-np.inf))
        threshold = below.astype(np.float64)
    return threshold


def _time_constant(link: Link, neuron: Any, name: str, dt_s: float) -> tuple[Array, Array]:
    """Return time constants in seconds, and the decays per step."""
    decay = _full(link, getattr(neuron, name))
    if isinstance(neuron, LIF):
        decay = decay.clip(0, 1)
    if decay.min() < 0 or decay.max() > 1:
        raise ArgumentError(f"{link.label}: {name} is outside [0, 1]; no time constant gives that")
    return dt_s / np.maximum(1 - decay, LEAST), decay


def _full(link: Link, value: Tensor | float) -> Array:
    """Return a parameter with one value per neuron: NIR's types are the shapes of parameters."""
    return np.array(np.broadcast_to(array(value), link.out_shape))


def _native(neuron: Any) -> bool:
    """Whether NIR's own reset gives the same spikes."""
    if neuron._reset_mechanism == "none":
        return True
    if neuron._reset_mechanism != "zero":
        return False
    if neuron.reset_delay:  # the membrane is cleared, and the input kept, at any time between
        return isinstance(neuron, Leaky)
    # A membrane that fires at 0 would be taken as reset once more.
    lowest = neuron.threshold.min().item()
    return bool(lowest > 0 or (lowest == 0 and not _spikes_at_threshold(neuron)))
