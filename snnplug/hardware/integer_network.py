"""A quantised network in integers, as a sparse digital accelerator would hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from snnplug.errors import ArgumentError
from snnplug.hardware.chain import Stage, stages_of
from snnplug.hardware.quantisation import Quantised, whole

Integers: TypeAlias = npt.NDArray[np.int64]
Pair: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Taps:
    """How the kernel of a convolution lies on its input, padded with zeros."""

    stride: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair
    groups: int


@dataclass(frozen=True)
class Window:
    """A window that slides over each feature map, of which the largest value is taken."""

    size: Pair
    stride: Pair

    def output(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the result for maps of ``shape``."""
        places = zip(shape[1:], self.size, self.stride, strict=True)
        return (shape[0], *((n - k) // s + 1 for n, k, s in places))

    def __call__(self, values: Integers, shape: tuple[int, ...]) -> Integers:
        """Return the largest of each window; ``values`` are maps of ``shape``, flattened."""
        maps = np.lib.stride_tricks.sliding_window_view(values.reshape(shape), self.size, (1, 2))
        largest: Integers = maps[:, :: self.stride[0], :: self.stride[1]].max((3, 4)).ravel()
        return largest


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """One layer of weights and its neurons; every number in units of the layer.

    Attributes:
        name: Of the weights.
        neuron: Of the neurons.
        in_shape: Of one time step of input.
        out_shape: Of the currents.
        weights: ``(out, in)``, or ``(out, in / groups, height, width)``.
        bias: Added at every step; one per neuron, and so behind the pooling.
        taps: Geometry of a convolution; None for a fully connected layer.
        pool: Taken of the currents.
        threshold: A membrane above it fires; one per neuron.
        fires_at_threshold: Whether a membrane that equals it fires too.
        stateful: Whether the membrane is kept from step to step.
        resets: Whether a spike takes the threshold from it.
        spike_pool: Taken of the spikes.
        fraction_bits: A unit is two to minus this.
    """

    name: str
    neuron: str
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    weights: Integers
    bias: Integers
    taps: Taps | None
    pool: Window | None
    threshold: Integers
    fires_at_threshold: bool
    stateful: bool
    resets: bool
    spike_pool: Window | None
    fraction_bits: int

    @property
    def inputs(self) -> int:
        """Input sites."""
        return prod(self.in_shape)

    @property
    def outputs(self) -> int:
        """Currents."""
        return prod(self.out_shape)

    @property
    def neuron_shape(self) -> tuple[int, ...]:
        """Shape of the neurons: that of the currents, or of their windows."""
        return self.out_shape if self.pool is None else self.pool.output(self.out_shape)

    @property
    def neurons(self) -> int:
        """Neurons."""
        return prod(self.neuron_shape)

    @property
    def spike_shape(self) -> tuple[int, ...]:
        """Shape of the spikes that leave the stage."""
        shape = self.neuron_shape
        return shape if self.spike_pool is None else self.spike_pool.output(shape)


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """All layers, and the widths that their numbers fit into."""

    layers: tuple[IntegerLayer, ...]
    weight_bits: int
    membrane_bits: int


def to_integers(quantised: Quantised, in_shape: Sequence[int] | None = None) -> IntegerNetwork:
    """Return a quantised network in integers.

    Args:
        quantised: From :func:`~snnplug.hardware.quantisation.quantise`.
        in_shape: Shape of one time step of input, as ``(channels, height, width)``; may be left
            out if the first layer is fully connected.

    Raises:
        ArgumentError: A shape does not go with its layer, a convolution pads with anything but
            zeros, or a pooling is padded, dilated or rounds up.

    Example:
        >>> from snnplug import ContinuousIF, SpikingSequential
        >>> from snnplug.hardware.quantisation import quantise
        >>> net = SpikingSequential(nn.Linear(2, 1, bias=False), ContinuousIF())
        >>> _ = nn.init.constant_(net[0].weight, 0.3)
        >>> (layer,) = to_integers(quantise(net, weight_bits=4)).layers
        >>> layer.weights.tolist(), layer.threshold.tolist()   # in units of 1/16
        ([[5, 5]], [16])
    """
    stages = stages_of(quantised.network)
    first = stages[0].weights
    if in_shape is None:
        if isinstance(first, nn.Conv2d):
            raise ArgumentError(
                "the first layer is a convolution; give in_shape=(channels, height, width)"
            )
        in_shape = (first.in_features,)
    shape = tuple(in_shape)
    layers = []
    for stage in stages:
        layer = _layer(stage, shape, quantised.fraction_bits[stage.name])
        shape = layer.spike_shape
        layers.append(layer)
    return IntegerNetwork(tuple(layers), quantised.weight_bits, quantised.membrane_bits)


def _layer(stage: Stage, in_shape: tuple[int, ...], fraction_bits: int) -> IntegerLayer:
    module, neuron = stage.weights, stage.neuron
    taps = None
    if isinstance(module, nn.Conv2d):
        taps = _taps(stage.name, module)
        out_shape = _conv_shape(stage.name, module, taps, in_shape)
    elif prod(in_shape) != module.in_features:
        raise ArgumentError(
            f"{stage.name} takes {module.in_features} inputs and gets {prod(in_shape)}, shape "
            f"{in_shape}; check in_shape"
        )
    else:
        out_shape = (module.out_features,)
    pool, spike_pool = (_window(stage.name, p, out_shape) for p in (stage.pool, stage.spike_pool))
    neuron_shape = out_shape if pool is None else pool.output(out_shape)
    bias = np.zeros(out_shape[0], np.int64)
    if module.bias is not None:
        bias = whole(module.bias, fraction_bits).cpu().numpy()
    threshold = _per_neuron(stage.neuron_name, neuron.threshold, neuron_shape)
    return IntegerLayer(
        name=stage.name,
        neuron=stage.neuron_name,
        in_shape=in_shape,
        out_shape=out_shape,
        weights=whole(module.weight, fraction_bits).cpu().numpy(),
        bias=np.repeat(bias, prod(neuron_shape) // out_shape[0]),
        taps=taps,
        pool=pool,
        threshold=whole(threshold, fraction_bits).cpu().numpy().ravel(),
        fires_at_threshold=stage.fires_at_threshold,
        stateful=stage.is_stateful,
        resets=stage.resets,
        spike_pool=spike_pool,
        fraction_bits=fraction_bits,
    )


def _taps(name: str, module: nn.Conv2d) -> Taps:
    if module.padding_mode != "zeros":
        raise ArgumentError(
            f"{name} pads with {module.padding_mode!r}; this datapath pads with zeros, which take "
            "no events"
        )
    left, right, top, bottom = module._reversed_padding_repeated_twice
    return Taps(
        _pair(module.stride), ((top, bottom), (left, right)), _pair(module.dilation), module.groups
    )


def _conv_shape(
    name: str, module: nn.Conv2d, taps: Taps, in_shape: tuple[int, ...]
) -> tuple[int, ...]:
    if len(in_shape) != 3 or in_shape[0] != module.in_channels:
        raise ArgumentError(
            f"{name} takes ({module.in_channels}, height, width) and gets {in_shape}; check "
            "in_shape"
        )
    sides = []
    for axis, size in enumerate(in_shape[1:]):
        reach = taps.dilation[axis] * (module.kernel_size[axis] - 1) + 1
        sides.append((size + sum(taps.padding[axis]) - reach) // taps.stride[axis] + 1)
    if min(sides) < 1:
        raise ArgumentError(f"{name}: its kernel is larger than its input {in_shape}")
    return (module.out_channels, *sides)


def _window(name: str, module: nn.MaxPool2d | None, shape: tuple[int, ...]) -> Window | None:
    if module is None:
        return None
    if len(shape) != 3:
        raise ArgumentError(f"the pooling behind {name} gets {shape}; it takes feature maps")
    size, stride = _pair(module.kernel_size), _pair(module.stride)
    if _pair(module.padding) != (0, 0) or _pair(module.dilation) != (1, 1) or module.ceil_mode:
        raise ArgumentError(
            f"the pooling behind {name} is padded, dilated or rounds up; this datapath takes "
            "plain windows"
        )
    return Window(size, stride)


def _per_neuron(name: str, threshold: Tensor, shape: tuple[int, ...]) -> Tensor:
    try:
        return torch.broadcast_to(threshold.detach(), shape)
    except RuntimeError as error:
        raise ArgumentError(
            f"{name}: thresholds of shape {tuple(threshold.shape)} for neurons of shape {shape}"
        ) from error


def _pair(value: Any) -> Pair:
    first, second = value if isinstance(value, tuple | list) else (value, value)
    return int(first), int(second)
