"""A spiking network in plain PyTorch, built from a description: no other package is needed.

This file is part of a bundle that snnplug writes, and of snnplug itself. It keeps to Python 3.8 and
torch 2.0, and to operations that PopTorch 3.4 lists: the graph is unrolled over time, no buffer is
assigned in ``forward``, and a spike function is composed of elementary operations, because PopART
differentiates the forward graph itself and ignores the backward of an ``autograd.Function``.

Membranes, synaptic currents, decays, thresholds, spike counts and the loss stay in float32;
weights, and the spikes between layers, have the dtype of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Dict  # noqa: UP035  # Python 3.8 evaluates the alias below

import torch
from torch import Tensor, nn

Spec = Dict[str, Any]  # noqa: UP006


def _normal(x: Tensor, sigma: float) -> Tensor:
    return torch.exp(-0.5 * (x / sigma) ** 2) * (1 / (sigma * math.sqrt(2 * math.pi)))


def _fast_sigmoid(x: Tensor, slope: float) -> Tensor:
    return 1 / (slope * x.abs() + 1) ** 2


def _sigmoid(x: Tensor, slope: float) -> Tensor:
    tail = torch.sigmoid(-slope * x.abs())
    return slope * tail * (1 - tail)


def _multi_gaussian(x: Tensor, sigma: float, height: float, scale: float) -> Tensor:
    lobes = _normal(x - sigma, scale * sigma) + _normal(x + sigma, scale * sigma)
    return (1 + height) * _normal(x, sigma) - height * lobes


#: The derivative that stands in for that of the threshold, by the name of the surrogate.
DERIVATIVES: dict[str, Callable[..., Tensor]] = {
    "HardFire": lambda x, width: (x.abs() < width).to(x.dtype) * (0.5 / width),
    "Rectangular": lambda x, width: (x.abs() < width / 2).to(x.dtype) * (1 / width),
    "StraightThrough": torch.ones_like,
    "Atan": lambda x, alpha: alpha / 2 / (1 + (math.pi / 2 * alpha * x) ** 2),
    "FastSigmoid": _fast_sigmoid,
    "SparseFastSigmoid": lambda x, slope, cutoff: (
        (x.abs() < cutoff).to(x.dtype) * _fast_sigmoid(x, slope)
    ),
    "Sigmoid": _sigmoid,
    "Triangular": lambda x, height, width: height * (1 - x.abs() / width).clamp(min=0),
    "Gaussian": _normal,
    "MultiGaussian": _multi_gaussian,
}


class Spike:
    """Spike function: 1 above 0; backward the derivative of its surrogate."""

    def __init__(self, spec: Spec) -> None:
        self.derivative = DERIVATIVES[spec["surrogate"]]
        self.parameters: list[float] = spec["parameters"]
        self.inclusive: bool = spec.get("inclusive", False)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the spikes of ``mem - threshold``."""
        point = x.detach()
        fired = (point >= 0 if self.inclusive else point > 0).to(x.dtype)
        return fired + self.derivative(point, *self.parameters) * (x - point)


class Neurons(nn.Module):
    """A layer of leaky integrate-and-fire neurons over a sequence ``(T, B, *)``.

    First or second order, hearing no spikes, its own, or those of the whole layer; without memory
    (``memoryless``) each step is compared with the threshold alone.
    """

    threshold: Tensor
    graded_spikes_factor: Tensor

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spike = Spike(spec["spike"])
        self.memoryless: bool = spec["memoryless"]
        self.reset: str = spec["reset"]
        self.reset_delay: bool = spec["reset_delay"]
        self.detach_reset: bool = spec["detach_reset"]
        self.clamped: bool = spec["clamped"]
        for name, shape in spec["tensors"].items():
            value = torch.ones(shape)
            if name in spec["learned"]:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)
        width = spec["recurrent_features"]
        self.recurrent = nn.Linear(width, width) if width else None

    def decay(self, name: str) -> Any:
        """Return a decay, within [0, 1] where the neuron keeps it there; None if it has none."""
        value = getattr(self, name, None)
        if value is None:
            return None
        return value.float().clamp(0, 1) if self.clamped else value.float()

    def forward(self, cur: Tensor) -> Tensor:
        """Return the spikes of every step, in the dtype of the input."""
        dtype, cur = cur.dtype, cur.float()
        threshold, graded = self.threshold.float(), self.graded_spikes_factor.float()
        if self.memoryless:
            return (self.spike(cur - threshold) * graded).to(dtype)
        state = (torch.zeros_like(cur[0]), torch.zeros_like(cur[0]), torch.zeros_like(cur[0]))
        fired: Tensor | None = None
        spikes = []
        for step in range(cur.shape[0]):
            state, fired = self.step(cur[step], state, fired, threshold, graded)
            spikes.append(state[2])
        return torch.stack(spikes).to(dtype)

    def step(
        self,
        cur: Tensor,
        state: tuple[Tensor, Tensor, Tensor],
        fired: Tensor | None,
        threshold: Tensor,
        graded: Tensor,
    ) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor | None]:
        """Take one step: integrate, reset for the spike before, fire."""
        mem, syn, spk = state
        alpha, beta = self.decay("alpha"), self.decay("beta")
        reset = None
        if self.reset != "none":
            reset = self.spike(mem - threshold) if fired is None else fired
            reset = reset.detach() if self.detach_reset else reset
        if alpha is not None:
            syn = self.heard(alpha * syn + cur, spk)
            mem = self.less(beta * mem + syn, reset, threshold)
        elif self.reset == "membrane" and reset is not None:
            mem = beta * ((1 - reset) * mem) + cur
        else:
            mem = self.less(self.heard(beta * mem + cur, spk), reset, threshold)
        now = self.spike(mem - threshold)
        spk = now * graded
        if reset is not None and not self.reset_delay:
            return (self.less(mem, now - reset, threshold), syn, spk), None
        return (mem, syn, spk), now

    def heard(self, before: Tensor, spk: Tensor) -> Tensor:
        """Return a sum with the current that the spikes of the step before bring."""
        if self.recurrent is not None:
            fed: Tensor = self.recurrent(spk.to(self.recurrent.weight.dtype)).float()
            return before + fed
        own = getattr(self, "V", None)
        return before if own is None else before + spk * own.float()

    def less(self, mem: Tensor, reset: Tensor | None, threshold: Tensor) -> Tensor:
        """Return the membrane after a reset: less the threshold, or less itself."""
        if reset is None:
            return mem
        return mem - reset * (threshold if self.reset == "subtract" else mem)


class PopulationReadout(nn.Module):
    """The sum, or the mean, of the spikes of each class's neurons, in float32."""

    def __init__(self, num_classes: int, per_class: int, reduce: str) -> None:
        super().__init__()
        self.num_classes, self.per_class, self.reduce = num_classes, per_class, reduce

    def forward(self, spk: Tensor) -> Tensor:
        """Return one value per class."""
        summed = spk.float().reshape(spk.shape[0], self.num_classes, self.per_class).sum(2)
        return summed if self.reduce == "sum" else summed / self.per_class


_LAYERS: dict[str, Callable[..., nn.Module]] = {
    "flatten": nn.Flatten,
    "linear": nn.Linear,
    "conv2d": nn.Conv2d,
    "max_pool2d": nn.MaxPool2d,
    "avg_pool2d": nn.AvgPool2d,
    "dropout": nn.Dropout,
    "population_readout": PopulationReadout,
}


class Network(nn.Module):
    """The chain of layers of a description: frames ``(T, B, *)`` to output spikes ``(T, B, C)``.

    Returns the spikes, and what the loss looks at: the currents that drive the output neurons if
    ``spec["loss_on"]`` is "current", else the spikes again.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.names: list[str] = [layer["name"] for layer in spec["layers"]]
        self.loss_on: str = spec["loss_on"]
        self.dtype = torch.float32
        self.chain = nn.ModuleList(
            [
                Neurons(layer)
                if layer["kind"] == "neurons"
                else _LAYERS[layer["kind"]](**layer["arguments"])
                for layer in spec["layers"]
            ]
        )

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return output spikes, and what the loss looks at."""
        num_steps, batch = frames.shape[0], frames.shape[1]
        x = cur = frames.half() if self.dtype is torch.float16 else frames
        for layer in self.chain:
            if isinstance(layer, Neurons):
                cur = x
                x = layer(x)
            else:
                flat = layer(x.reshape(num_steps * batch, *x.shape[2:]))
                x = flat.reshape(num_steps, batch, *flat.shape[1:])
        return x, (cur if self.loss_on == "current" else x)

    def convert(self, dtype: torch.dtype) -> Network:
        """Give the weights of products this dtype; what the neurons hold stays in float32."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                module.to(dtype)
        self.dtype = dtype
        return self

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor under the name that it has in the network that was exported."""
        return {
            f"{name}.{key}": value
            for name, layer in zip(self.names, self.chain)
            for key, value in layer.state_dict().items()
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over the tensors of the network that was exported."""
        for name, layer in zip(self.names, self.chain):
            layer.load_state_dict({key: tensors[f"{name}.{key}"] for key in layer.state_dict()})


def squared_hinge(cur: Tensor, targets: Tensor, shift: float) -> Tensor:
    """Return the squared hinge loss of the output currents."""
    sign = torch.full(cur.shape[1:], -1.0, dtype=cur.dtype)
    sign = sign.scatter(1, targets.unsqueeze(1), 1.0)
    return (1.0 - sign * (cur - shift)).clamp(min=0.0).square().mean()


def count_cross_entropy(spk: Tensor, targets: Tensor, scale: float) -> Tensor:
    """Return the cross entropy of the output neurons' spike counts."""
    return nn.functional.cross_entropy(scale * spk.sum(0), targets)


_LOSSES: dict[str, Callable[..., Tensor]] = {
    "SquaredHinge": squared_hinge,
    "CountCrossEntropy": count_cross_entropy,
}


class TrainingStep(nn.Module):
    """Frames and classes to the decided scores and the loss, as PopTorch wants a step.

    Args:
        network: The network.
        loss: Description of the loss.
        identity: ``poptorch.identity_loss``, which marks the loss; None where PopTorch is not used.
    """

    def __init__(
        self, network: Network, loss: Spec, identity: Callable[..., Tensor] | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = _LOSSES[loss["kind"]]
        self.arguments: Spec = loss["arguments"]
        self.identity = identity

    def forward(self, frames: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return spike counts ``(B, C)`` and the loss."""
        spk, cur = self.network(frames)
        loss = self.loss(cur.float(), targets, **self.arguments)
        if self.identity is not None:
            loss = self.identity(loss, reduction="none")
        return spk.float().sum(0), loss
