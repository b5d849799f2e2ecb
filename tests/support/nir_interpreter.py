"""A reader of NIR that knows nothing of snnplug: the equations of the nodes, Euler's method, numpy.

Neurons are written from their definitions in the documentation of nir: a membrane above the
threshold spikes and is set to ``v_reset``. Metadata are not looked at. An edge that leads back
brings what its node gave in the step before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def run(graph: Any, frames: Array, dt: float = 1e-4) -> Array:
    """Run one sample ``(T, *features)``."""
    nodes = _path(graph, dt)
    outputs = []
    for x in frames.astype(np.float32):
        for node in nodes:
            x = node(x)
        outputs.append(x)
    return np.stack(outputs)


def _path(graph: Any, dt: float) -> list[Any]:
    """Return the nodes from the input to the output, less the weights that lead back."""
    (name,) = (n for n, node in graph.nodes.items() if type(node).__name__ == "Input")
    found = []
    while True:
        (name,) = (b for a, b in graph.edges if a == name and b != "w_rec")
        if type(graph.nodes[name]).__name__ == "Output":
            return found
        found.append(_node(graph.nodes[name], dt))


def _node(node: Any, dt: float) -> Any:
    kind = type(node).__name__
    if kind == "NIRGraph":
        return _Recurrent(node, dt)
    return _NODES[kind](node, dt) if kind in _NEURONS else _Map(node)


class _Recurrent:
    """A graph within the graph: input, neurons, weights that lead back, output."""

    def __init__(self, graph: Any, dt: float) -> None:
        self.path = _path(graph, dt)
        (first,) = (b for a, b in graph.edges if a == "input")
        assert ("w_rec", first) in graph.edges
        self.weights = _node(graph.nodes["w_rec"], dt)
        self.last: Any = None

    def __call__(self, x: Array) -> Array:
        spikes = np.zeros_like(x) if self.last is None else self.last
        x = x + self.weights(spikes)
        for node in self.path:
            x = node(x)
        self.last = x
        return x


class _Map:
    def __init__(self, node: Any) -> None:
        self.node, self.kind = node, type(node).__name__

    def __call__(self, x: Array) -> Array:
        node = self.node
        if self.kind in ("Input", "Output"):
            return x
        if self.kind == "Affine":
            return node.weight @ x + node.bias
        if self.kind == "Linear":
            return node.weight @ x
        if self.kind == "Scale":
            return (node.scale.astype(np.float32) * x).astype(np.float32)
        if self.kind == "Flatten":
            end = node.end_dim % x.ndim
            return x.reshape(*x.shape[: node.start_dim], -1, *x.shape[end + 1 :])
        if self.kind == "Conv2d":
            return _conv2d(node, x)
        assert self.kind in ("AvgPool2d", "SumPool2d")
        windows = _windows(x, np.ravel(node.kernel_size), node.stride, node.padding, (1, 1))
        return windows.mean((-2, -1)) if self.kind == "AvgPool2d" else windows.sum((-2, -1))


def _windows(x: Array, size: Any, stride: Any, padding: Any, dilation: Any) -> Array:
    """Return ``(channels, down, across, *size)``."""
    x = np.pad(x, ((0, 0), *((int(p), int(p)) for p in padding)))
    reach = [(int(k) - 1) * int(d) + 1 for k, d in zip(size, dilation, strict=True)]
    found = np.lib.stride_tricks.sliding_window_view(x, reach, (1, 2))
    return found[:, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def _conv2d(node: Any, x: Array) -> Array:
    size, padding = node.weight.shape[2:], node.padding
    if isinstance(padding, str):
        same = padding == "same"
        assert not same or (size[0] % 2 and size[1] % 2)
        padding = [same * d * (k - 1) // 2 for d, k in zip(node.dilation, size, strict=True)]
    windows = _windows(x, size, node.stride, padding, node.dilation)
    out = np.einsum("oikl,ihwkl->ohw", node.weight, windows)
    return out + node.bias[:, None, None]


class _Neurons:
    """Euler's method on the membrane, and on the synaptic current where there is one."""

    def __init__(self, node: Any, dt: float) -> None:
        def single(values: Any) -> Array:
            return np.asarray(values).astype(np.float32)

        self.kind = type(node).__name__
        zero = np.zeros(node.r.shape, np.float32)
        self.v, self.current = zero, zero
        if self.kind in ("IF", "I"):
            self.beta, self.gain = np.ones_like(zero), single(node.r * dt)
        else:
            tau = node.tau_mem if "Cuba" in self.kind else node.tau
            self.beta, self.gain = single(1 - dt / tau), single(node.r * dt / tau)
            self.leak = single(node.v_leak * dt / tau)
            assert not self.leak.any()
        if "Cuba" in self.kind:
            self.alpha = single(1 - dt / node.tau_syn)
            self.w_in = single(node.w_in * dt / node.tau_syn)
        if self.kind.endswith("F"):
            self.threshold, self.reset = single(node.v_threshold), single(node.v_reset)

    def __call__(self, x: Array) -> Array:
        if "Cuba" in self.kind:
            x = self.current = self.alpha * self.current + self.w_in * x
        self.v = self.beta * self.v + self.gain * x
        if not self.kind.endswith("F"):
            return self.v
        spikes = self.v > self.threshold
        self.v = np.where(spikes, self.reset, self.v)
        return spikes.astype(np.float32)


class _Threshold:
    def __init__(self, node: Any, dt: float) -> None:
        self.threshold = node.threshold.astype(np.float32)

    def __call__(self, x: Array) -> Array:
        return (x > self.threshold).astype(np.float32)


_NEURONS = ("LIF", "IF", "CubaLIF", "LI", "I", "CubaLI", "Threshold")
_NODES: dict[str, Any] = dict.fromkeys(_NEURONS, _Neurons) | {"Threshold": _Threshold}
