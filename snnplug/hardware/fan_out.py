"""How many outputs each input of a layer reaches, exactly, borders included."""

from __future__ import annotations

from functools import lru_cache, reduce
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from torch import nn

from snnplug.hardware.window import Window

Counts: TypeAlias = npt.NDArray[np.int64]
Convolution: TypeAlias = (
    nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
)

# torch's padding modes in numpy's words.
_PAD_MODE = {"zeros": None, "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@lru_cache(maxsize=256)
def axis_taps(
    size: int,
    kernel: int,
    stride: int,
    padding: tuple[int, int],
    dilation: int,
    padding_mode: str = "zeros",
    outputs: int | None = None,
) -> Counts:
    r"""Return how many outputs read each position of one axis through each tap.

    A convolution reads position :math:`i = o s + k d - p` for output :math:`o` and tap :math:`k`.
    Convolutions are separable in this respect: the fan-out of a pixel is the product over its axes.

    Args:
        size: Length of the axis.
        kernel: Taps.
        stride: Step between outputs.
        padding: Positions added before and after.
        dilation: Step between taps.
        padding_mode: torch's word; all but ``"zeros"`` read positions a second time.
        outputs: Outputs, where rounding up makes it more than fit.

    Returns:
        Counts, ``(size, kernel)``.

    Example:
        >>> axis_taps(5, kernel=3, stride=1, padding=(1, 1), dilation=1).sum(1).tolist()
        [2, 3, 3, 3, 2]
    """
    mode = _PAD_MODE[padding_mode]
    if outputs is None:
        outputs = (size + sum(padding) - dilation * (kernel - 1) - 1) // stride + 1
    reach = (outputs - 1) * stride + (kernel - 1) * dilation + 1
    after = max(padding[1], reach - size - padding[0])
    positions = np.arange(size)
    if mode is None:
        padded = np.pad(positions, (padding[0], after), constant_values=-1)
    else:
        padded = np.pad(positions, padding, mode=mode)  # type: ignore[call-overload]
    counts = np.zeros((size, kernel), np.int64)
    for tap in range(kernel):
        read = padded[tap * dilation : tap * dilation + outputs * stride : stride][:outputs]
        counts[:, tap] = np.bincount(read[read >= 0], minlength=size)
    return _frozen(counts)


@lru_cache(maxsize=256)
def transposed_axis_taps(
    size: int, kernel: int, stride: int, padding: int, dilation: int, outputs: int
) -> Counts:
    r"""Return, for a transposed convolution, which taps take each position to an output.

    Position :math:`i` reaches output :math:`o = i s + k d - p` through tap :math:`k`.

    Args:
        size: Length of the axis.
        kernel: Taps.
        stride: Step between the outputs of neighbouring positions.
        padding: Outputs cut off at each end.
        dilation: Step between taps.
        outputs: Length of the output.

    Returns:
        Zeros and ones, ``(size, kernel)``.

    Example:
        >>> transposed_axis_taps(3, kernel=3, stride=2, padding=1, dilation=1, outputs=5).tolist()
        [[0, 1, 1], [1, 1, 1], [1, 1, 0]]
    """
    place = np.arange(size)[:, None] * stride + np.arange(kernel)[None, :] * dilation - padding
    return _frozen(((place >= 0) & (place < outputs)).astype(np.int64))


@lru_cache(maxsize=64)
def adaptive_axis_fan_out(size: int, outputs: int) -> Counts:
    """Return in how many bins of an adaptive pooling each position lies, ``(size,)``."""
    counts = np.zeros(size, np.int64)
    for o in range(outputs):
        counts[o * size // outputs : -(-(o + 1) * size // outputs)] += 1
    return _frozen(counts)


def outer(axes: list[Counts]) -> Counts:
    """Return the product over axes: ``(a,)``, ``(b,)``, … → ``(a, b, …)``."""
    return reduce(np.multiply.outer, axes)


def layer_taps(layer: Convolution, shape: tuple[int, ...], out: tuple[int, ...]) -> list[Counts]:
    """Return the taps of each axis of a convolution.

    Args:
        layer: The convolution.
        shape: Its input without the batch, ``(C, *)``.
        out: Its output without the batch.
    """
    taps = []
    for axis, size in enumerate(shape[1:]):
        kernel, stride = layer.kernel_size[axis], layer.stride[axis]
        dilation = layer.dilation[axis]
        if layer.transposed:
            cut = layer.padding[axis]
            assert isinstance(cut, int)  # noqa: S101  # only plain convolutions take a word
            taps.append(transposed_axis_taps(size, kernel, stride, cut, dilation, out[1 + axis]))
        else:
            first = 2 * (len(shape) - 2 - axis)  # last axis first, as torch pads
            before, after = layer._reversed_padding_repeated_twice[first : first + 2]
            padding = (before, after)
            taps.append(axis_taps(size, kernel, stride, padding, dilation, layer.padding_mode))
    return taps


def convolved_shape(layer: nn.Conv2d, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that a convolution gives an input ``(C, H, W)``."""
    around = layer._reversed_padding_repeated_twice
    sizes = []
    for axis, size in enumerate(shape[1:]):
        first = 2 * (len(shape) - 2 - axis)  # last axis first, as torch pads
        span = layer.dilation[axis] * (layer.kernel_size[axis] - 1) + 1
        sizes.append((size + sum(around[first : first + 2]) - span) // layer.stride[axis] + 1)
    return layer.out_channels, *sizes


def fan_out_of(
    layer: nn.Linear | Convolution, shape: tuple[int, ...], out: tuple[int, ...]
) -> Counts:
    """Return how many synapses each input site of a layer has.

    Args:
        layer: The layer.
        shape: Its input without the batch: ``(C, *)`` for a convolution.
        out: Its output without the batch.

    Returns:
        Counts that broadcast to ``shape``: one number, or one per place of a feature map.

    Example:
        >>> fan_out_of(nn.Conv1d(2, 4, 3, padding=1), (2, 5), (4, 5)).tolist()
        [8, 12, 12, 12, 8]
    """
    if isinstance(layer, nn.Linear):
        return np.asarray(layer.out_features, np.int64)
    axes = [taps.sum(1) for taps in layer_taps(layer, shape, out)]
    synapses: Counts = outer(axes) * (layer.out_channels // layer.groups)
    return synapses


def zero_weight_fan_out(
    layer: nn.Linear | Convolution, shape: tuple[int, ...], out: tuple[int, ...]
) -> Counts:
    """Return how many synapses of each input site have a weight of 0, ``shape``."""
    per_input: Counts
    zero: Counts = (layer.weight.detach() == 0).cpu().numpy().astype(np.int64)
    if isinstance(layer, nn.Linear):
        per_input = zero.sum(0)
        return per_input
    if layer.transposed:  # (in, out per group, *kernel)
        per_input = zero.sum(1)
    else:  # (out, in per group, *kernel)
        grouped = zero.reshape(layer.groups, layer.out_channels // layer.groups, *zero.shape[1:])
        per_input = grouped.sum(1).reshape(layer.in_channels, *zero.shape[2:])
    for taps in layer_taps(layer, shape, out):
        # Contracts the first kernel axis that is left and appends the axis of places.
        per_input = np.tensordot(per_input, taps, axes=(1, 1))
    return per_input


def _frozen(counts: Counts) -> Counts:
    """Refuse writing: the array is cached."""
    counts.flags.writeable = False
    return counts


def window_of(
    layer: nn.Linear | Convolution, shape: tuple[int, ...], to: tuple[int, ...]
) -> Window | None:
    """Return the shape of a convolution; None for what is none, or repeats its borders.

    Args:
        layer: The module.
        shape: Channels and places of its input.
        to: Channels and places of its output.
    """
    if not isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) or layer.padding_mode != "zeros":
        return None
    # torch keeps them last axis first, before and after in turn.
    before = tuple(int(zeros) for zeros in layer._reversed_padding_repeated_twice[::2])[::-1]
    return Window(shape, to, layer.kernel_size, layer.stride, before, layer.dilation, layer.groups)
