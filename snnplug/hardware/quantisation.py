"""Weights, biases and thresholds as integers times a power of two, one per layer."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snnplug.errors import ArgumentError
from snnplug.hardware.chain import Stage, stages_of


@dataclass(frozen=True)
class Quantised:
    """A network whose numbers are integers times :math:`2^{-f}`.

    Attributes:
        network: A copy that runs in torch like any other. Its sums are exact as long as they stay
            below :math:`2^{24}` units in float32.
        fraction_bits: :math:`f` of each layer of weights, by name.
        weight_bits: Bits of a weight, in two's complement.
        membrane_bits: Bits of a membrane, bias or threshold.
    """

    network: nn.Module
    fraction_bits: Mapping[str, int]
    weight_bits: int
    membrane_bits: int


def quantise(
    network: nn.Module,
    weight_bits: int = 8,
    membrane_bits: int = 16,
    fraction_bits: int | None = None,
) -> Quantised:
    r"""Return a copy with weights, biases and thresholds of so many bits.

    Per layer, with :math:`b_w` bits and a unit of :math:`2^{-f}`,

    .. math::
        \hat w = \operatorname{clip}\bigl(\operatorname{round}(2^f w),\,
        -2^{b_w - 1} + 1,\, 2^{b_w - 1} - 1\bigr)

    Biases are rounded to the same unit and saturate in the same way in the membrane's bits. So do
    thresholds: rounded where a spike subtracts them; else to the unit that leaves every comparison
    of a membrane, itself a whole number of units, as it was.

    Args:
        network: A chain of ``Linear`` or ``Conv2d``, ``MaxPool2d`` and neurons without leak; see
            :func:`~snnplug.hardware.chain.stages_of`. It stays as it is.
        weight_bits: :math:`b_w`, 2 to 16.
        membrane_bits: At least as many, at most 32.
        fraction_bits: :math:`f` of all layers. None takes for each the largest with which its
            weights do not saturate, and its biases and thresholds fill at most half of the
            membrane's range.

    Returns:
        The copy and its units.

    Raises:
        ArgumentError: The network is no such chain, a number of bits is out of range, a parameter
            is not finite, or a threshold that spikes subtract is less than half a unit.

    Example:
        >>> from snnplug import ContinuousIF, SpikingSequential
        >>> net = SpikingSequential(nn.Linear(2, 1, bias=False), ContinuousIF())
        >>> _ = nn.init.constant_(net[0].weight, 0.3)
        >>> q = quantise(net, weight_bits=4)
        >>> q.fraction_bits, q.network[0].weight[0, 0].item()   # round(16 x 0.3) / 16
        ({'0': 4}, 0.3125)

    Reference:
        ShihuiYin/BASNN quantises to fixed point with one unit for the whole network; deviation: a
        unit per layer, which costs the hardware nothing, as layers have thresholds of their own.
    """
    if not 2 <= weight_bits <= 16 or not weight_bits <= membrane_bits <= 32:
        raise ArgumentError(
            f"weight_bits is {weight_bits}, membrane_bits {membrane_bits}; weights take 2 … 16, "
            "membranes at least as many and at most 32"
        )
    if fraction_bits is not None and not -32 <= fraction_bits <= 32:
        raise ArgumentError(f"fraction_bits is {fraction_bits}; it lies in -32 … 32, or is None")
    network = copy.deepcopy(network)
    units: dict[str, int] = {}
    for stage in stages_of(network):
        for what, value in (
            ("weight", stage.weights.weight),
            ("bias", stage.weights.bias),
            ("threshold", stage.neuron.threshold),
        ):
            if value is not None and not bool(torch.isfinite(value).all()):
                raise ArgumentError(
                    f"{stage.name}: a {what} is not finite; nothing can stand for it"
                )
        chosen = _finest(stage, weight_bits, membrane_bits)
        units[stage.name] = chosen if fraction_bits is None else fraction_bits
        _snap(stage, units[stage.name], weight_bits, membrane_bits)
    return Quantised(network, units, weight_bits, membrane_bits)


def whole(value: Tensor, fraction_bits: int) -> Tensor:
    """Return a quantised parameter in its units, as int64."""
    return torch.ldexp(value.detach().double(), torch.tensor(fraction_bits)).round().to(torch.int64)


def _finest(stage: Stage, weight_bits: int, membrane_bits: int) -> int:
    """Return the most bits behind the point with which everything has its place."""
    limits = [(stage.weights.weight, 2 ** (weight_bits - 1) - 1)]
    limits += [
        (value, 2 ** (membrane_bits - 2))
        for value in (stage.weights.bias, stage.neuron.threshold)
        if value is not None
    ]
    fits = [
        math.floor(math.log2(limit / largest))
        for value, limit in limits
        if (largest := float(value.detach().abs().max())) > 0
    ]
    return max(-32, min(32, min(fits, default=0)))


@torch.no_grad()
def _snap(stage: Stage, fraction_bits: int, weight_bits: int, membrane_bits: int) -> None:
    _round(stage.weights.weight, fraction_bits, weight_bits)
    if stage.weights.bias is not None:
        _round(stage.weights.bias, fraction_bits, membrane_bits)
    threshold: Tensor = stage.neuron.threshold
    before = threshold.clone()
    if not stage.resets:  # u > t as for the whole number below t, u >= t as for the one above
        units = torch.ldexp(threshold.double(), torch.tensor(fraction_bits))
        units = units.ceil() if stage.fires_at_threshold else units.floor()
        threshold.copy_(torch.ldexp(units, torch.tensor(-fraction_bits)))
    _round(threshold, fraction_bits, membrane_bits)
    if stage.resets and bool(((threshold == 0) & (before != 0)).any()):
        raise ArgumentError(
            f"{stage.neuron_name}: a threshold of {before.abs().min().item():g} is less than half "
            f"a unit of 2**-{fraction_bits}; give more weight_bits or fraction_bits"
        )


def _round(value: Tensor, fraction_bits: int, bits: int) -> None:
    """Round to whole units, in place; what does not fit saturates."""
    limit = 2 ** (bits - 1) - 1
    units = torch.ldexp(value.double(), torch.tensor(fraction_bits)).round().clamp(-limit, limit)
    value.copy_(torch.ldexp(units, torch.tensor(-fraction_bits)))
