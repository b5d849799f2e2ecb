"""From a graph of NIR to a network over whole sequences."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnplug.errors import ArgumentError, DataNotFoundError, needs
from snnplug.kernels.dynamics import rebuilt
from snnplug.layers.sequential import SpikingSequential
from snnplug.layers.spike_conv2d import SpikeConv2d
from snnplug.layers.spike_linear import SpikeLinear
from snnplug.neurons.base import SequenceNeuron
from snnplug.neurons.continuous_if import ContinuousIF
from snnplug.neurons.discontinuous_if import DiscontinuousIF
from snnplug.neurons.leaky import Leaky
from snnplug.neurons.learnable_lif import LearnableLIF
from snnplug.neurons.rleaky import RLeaky
from snnplug.neurons.rsynaptic import RSynaptic
from snnplug.neurons.synaptic import Synaptic

_DT_S = 1e-4
_INTEGRATORS = ("LI", "I", "CubaLI")
_FIRING = ("LIF", "IF", "CubaLIF")


def read_nir(path: str | Path, dt_s: float | None = None) -> SpikingSequential:
    """Read a file of NIR; see :func:`from_nir`.

    Raises:
        ArgumentError: It is no such file, or as :func:`from_nir`.
        DataNotFoundError: It is not there.
        MissingExtraError: nir is not installed.
    """
    if not Path(path).is_file():
        raise DataNotFoundError(f"there is no file {path}")
    try:
        graph = _checked(needs("nir", "nir", "NIR").read(path, type_check=False))
    except (OSError, KeyError, ValueError, AssertionError, TypeError) as error:
        raise ArgumentError(f"{path} cannot be read as NIR: {error}") from error
    return from_nir(graph, dt_s)


def from_nir(graph: Any, dt_s: float | None = None) -> SpikingSequential:
    r"""Return the network of a chain of NIR's nodes; recurrent layers are graphs within it.

    Decays are :math:`1 - \Delta t / \tau`, in float32. Where :math:`R\, \Delta t / \tau` is not 1
    the membrane is kept in units of it, so the threshold is divided; likewise for
    :math:`w_{in}`. An ``IF`` with ``r = 1`` adds its input once per step, as snnTorch and sinabs
    write it. Neurons of :func:`~snnplug.backends.export.nir_graph.to_nir` come back with their own
    class, reset and surrogate; others are reset to 0 in the step of the spike.

    Args:
        graph: A ``nir.NIRGraph``.
        dt_s: Length of a time step, in s; None takes the one of the metadata, or 1e-4.

    Returns:
        The network; nodes keep their names, with ``_`` for ``.``.

    Raises:
        ArgumentError: It is no chain, or a node has no layer here; the message names it.

    Example:
        >>> import nir, numpy as np
        >>> one = np.ones(1)
        >>> graph = nir.NIRGraph.from_list(
        ...     nir.Linear(one[None]), nir.LIF(tau=2e-4 * one, r=2 * one, v_leak=0 * one,
        ...     v_threshold=one)
        ... )
        >>> from_nir(graph)
        SpikingSequential(
          (linear): Linear(in_features=1, out_features=1, bias=False)
          (lif): Leaky(threshold=1, ..., beta=0.5, reset_mechanism='zero', reset_delay=False, ...)
        )
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    chain = [*_chain(graph)]
    while chain:
        name, node = chain.pop(0)
        follower = _kind(chain[0][1]) if chain else ""
        extra: dict[str, Any] = {}
        if _kind(node) in _INTEGRATORS:
            if follower != "Threshold":
                raise ArgumentError(f"{name} ({_kind(node)}) has no Threshold behind it")
            extra["threshold"] = chain.pop(0)[1]
            follower = _kind(chain[0][1]) if chain else ""
        if _kind(node) in (*_INTEGRATORS, *_FIRING) and follower == "Scale":
            extra["graded"] = _single(chain.pop(0)[1].scale)
        layers[name.replace(".", "_")] = _layer(name, node, dt_s, extra)
    if not layers:
        raise ArgumentError("the graph has no node between its input and its output")
    return SpikingSequential(layers)


def _checked(graph: Any) -> Any:
    """Do nir's check of a graph with the types of convolutions as they are."""
    from snnplug.backends.export.nir_convolutions import typed

    for node in graph.nodes.values():
        if _kind(node) in ("Conv1d", "Conv2d"):
            typed(node)
    graph.infer_types()
    graph.check_types()
    return graph


def _kind(node: Any) -> str:
    return type(node).__name__


def _chain(graph: Any) -> Iterator[tuple[str, Any]]:
    """Yield the nodes from the input to the output."""
    if _kind(graph) != "NIRGraph":
        raise ArgumentError(f"{_kind(graph)} is no nir.NIRGraph")
    inputs = [name for name, node in graph.nodes.items() if _kind(node) == "Input"]
    followers = {name: [b for a, b in graph.edges if a == name] for name in graph.nodes}
    if len(inputs) != 1:
        raise ArgumentError(f"the graph has {len(inputs)} inputs; a chain has one")
    name, seen = inputs[0], 1
    while _kind(graph.nodes[name]) != "Output":
        after = followers[name]
        if len(after) != 1 or seen >= len(graph.nodes):
            raise ArgumentError(
                f"{name} leads to {', '.join(after) or 'nothing'}; a SpikingSequential is a chain, "
                "its recurrent layers graphs of their own"
            )
        name, seen = after[0], seen + 1
        if _kind(graph.nodes[name]) != "Output":
            yield name, graph.nodes[name]
    if seen != len(graph.nodes):
        raise ArgumentError(f"{len(graph.nodes) - seen} nodes lie beside the chain to {name}")


def _layer(name: str, node: Any, dt_s: float | None, extra: dict[str, Any]) -> nn.Module:
    kind, kept = _kind(node), node.metadata or {}
    if kind in ("Affine", "Linear"):
        linear = SpikeLinear if kept.get("layer") == "SpikeLinear" else nn.Linear
        outputs, inputs = node.weight.shape
        return _filled(linear(inputs, outputs, bias=kind == "Affine"), node)
    if kind in ("Conv1d", "Conv2d"):
        return _convolution(node, kept)
    if kind in ("AvgPool2d", "SumPool2d"):
        size, stride, padding = (_pair(x) for x in (node.kernel_size, node.stride, node.padding))
        divisor = 1 if kind == "SumPool2d" else None
        return nn.AvgPool2d(size, stride, padding, divisor_override=divisor)
    if kind == "Flatten":
        start, end = (int(d) + 1 if d >= 0 else int(d) for d in (node.start_dim, node.end_dim))
        return nn.Flatten(start, end)
    if kind == "NIRGraph":
        return _recurrent(name, node, dt_s)
    if kind in (*_INTEGRATORS, *_FIRING, "Threshold"):
        return _neuron(name, node, dt_s, extra, {})
    raise ArgumentError(f"{name} ({kind}) has no layer here")


def _filled(layer: Any, node: Any, weight: Any = None) -> nn.Module:
    with torch.no_grad():
        layer.weight.copy_(torch.as_tensor(np.asarray(node.weight if weight is None else weight)))
        if layer.bias is not None:
            layer.bias.copy_(torch.as_tensor(np.asarray(node.bias)))
    module: nn.Module = layer
    return module


def _convolution(node: Any, kept: dict[str, Any]) -> nn.Module:
    from snnplug.backends.export.nir_convolutions import original

    two = _kind(node) == "Conv2d"
    conv: Any = nn.Conv1d
    if two:
        conv = SpikeConv2d if kept.get("layer") == "SpikeConv2d" else nn.Conv2d
    weight, padding, groups = original(node)
    each = _pair if two else int
    layer = conv(
        weight.shape[1] * groups,
        weight.shape[0],
        weight.shape[2:],
        stride=each(node.stride),
        padding=padding if isinstance(padding, str) else each(padding),
        dilation=each(node.dilation),
        groups=groups,
        bias=bool(kept.get("bias", True)),
    )
    return _filled(layer, node, weight)


def _pair(value: Any) -> tuple[int, int]:
    first, second = np.broadcast_to(np.asarray(value), 2).tolist()
    return int(first), int(second)


def _recurrent(name: str, graph: Any, dt_s: float | None) -> nn.Module:
    """Return the neurons of a graph of integrators or neurons and weights that lead back."""
    weights = [
        n for n in graph.nodes.values() if _kind(n) in ("Affine", "Linear", "Scale", "Conv2d")
    ]
    neurons = [n for n in graph.nodes.values() if _kind(n) in (*_FIRING, *_INTEGRATORS)]
    thresholds = [n for n in graph.nodes.values() if _kind(n) == "Threshold"]
    if len(weights) != 1 or len(neurons) != 1 or len(graph.nodes) != 4 + len(thresholds):
        raise ArgumentError(
            f"{name} holds {', '.join(map(_kind, graph.nodes.values()))}; a recurrent layer is an "
            "input, neurons, weights from them to them, and an output"
        )
    node, weight = neurons[0], weights[0]
    extra = {"threshold": thresholds[0]} if thresholds else {}
    if _kind(weight) == "Scale":
        own: dict[str, Any] = {"all_to_all": False, "V": _single(weight.scale)}
        return _neuron(name, node, dt_s, extra, own)
    values = None
    if _kind(weight) == "Conv2d":
        from snnplug.backends.export.nir_convolutions import original

        values, _, _ = original(weight)
        own = {"conv2d_channels": len(values), "kernel_size": values.shape[2:]}
    else:
        own = {"linear_features": len(weight.weight)}
    neuron = _neuron(name, node, dt_s, extra, own)
    recurrent: Any = neuron.recurrent
    if _kind(weight) == "Linear":
        recurrent.bias = None
    _filled(recurrent, weight, values)
    return neuron


def _neuron(
    name: str, node: Any, dt_s: float | None, extra: dict[str, Any], own: dict[str, Any]
) -> SequenceNeuron:
    """Return the neurons of a node; ``own`` is how they hear themselves."""
    kind, kept = _kind(node), node.metadata or {}
    dt = float(kept.get("dt", _DT_S)) if dt_s is None else dt_s
    firing = extra.get("threshold", node)
    threshold = np.asarray(firing.threshold if _kind(firing) == "Threshold" else firing.v_threshold)
    if kept.get("inclusive", False):
        threshold = np.nextafter(threshold.astype(np.float32), np.float32(np.inf))
    spike: dict[str, Any] = {}
    if "spike_grad" in kept:
        surrogate, parameters = json.loads(kept["spike_grad"])
        inclusive = bool(kept.get("inclusive", False))
        spike = {"spike_grad": rebuilt(surrogate, parameters, inclusive)}
    if kind == "Threshold":
        return DiscontinuousIF(threshold=_single(threshold), **spike)
    for rest in ("v_leak", "v_reset"):
        if np.any(np.asarray(getattr(node, rest, 0.0)) != 0):
            raise ArgumentError(f"{name} ({kind}): {rest} is not 0; shift the threshold by it")
    decays, scale = _decays(node, dt)
    given: dict[str, Any] = {k: _single(v) for k, v in decays.items()} | spike
    given |= {"threshold": _single(threshold / scale)}
    given["reset_mechanism"] = "none" if kind in _INTEGRATORS else "zero"
    given["reset_mechanism"] = kept.get("reset_mechanism", given["reset_mechanism"])
    layer = kept.get("layer", "")
    if layer == "ContinuousIF" and not own:
        neuron: SequenceNeuron = ContinuousIF(**(given | {"beta": float(np.max(decays["beta"]))}))
    elif layer == "LearnableLIF" and not own:
        neuron = LearnableLIF(**given, reset_delay=bool(kept["reset_delay"]))
    else:
        given["reset_delay"] = bool(kept.get("reset_delay", False))
        second = "alpha" in decays
        cls: Any = (RSynaptic if second else RLeaky) if own else Synaptic if second else Leaky
        neuron = cls(**given, **own)
    if "graded" in extra:
        neuron.graded_spikes_factor = torch.as_tensor(extra["graded"])
    return neuron


def _decays(node: Any, dt: float) -> tuple[dict[str, Any], Any]:
    """Return the decays per step, and what one unit of input adds to the membrane."""
    kind, r = _kind(node), np.asarray(node.r, np.float64)
    if kind in ("IF", "I"):
        one = np.ones_like(r)
        return {"beta": one}, one if np.all(r == 1) else _near_one(r * dt)
    tau = np.asarray(node.tau_mem if "Cuba" in kind else node.tau, np.float64)
    scale, decays = r * dt / tau, {"beta": 1 - dt / tau}
    if "Cuba" in kind:
        tau_syn = np.asarray(node.tau_syn, np.float64)
        decays["alpha"] = 1 - dt / tau_syn
        scale = scale * (np.asarray(node.w_in) * dt / tau_syn)
    if any(d.min() < 0 for d in decays.values()):
        raise ArgumentError(f"a time constant is shorter than the time step of {dt} s; give dt_s")
    return decays, _near_one(scale)


def _near_one(scale: Any) -> Any:
    """Return a factor without the rounding of the division that it came from."""
    return np.where(np.isclose(scale, 1, rtol=1e-12, atol=0), 1.0, scale)


def _single(values: Any) -> Tensor:
    """Return values in float32, one alone where all are equal: native kernels like that."""
    tensor = torch.as_tensor(np.asarray(values), dtype=torch.float32)
    same = tensor.numel() > 0 and bool((tensor == tensor.flatten()[0]).all())
    return tensor.flatten()[0].clone() if same else tensor
