"""Counting by looping over everything: slow, and hard to get wrong."""

from __future__ import annotations

import copy
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn


def linear_synops(layer: nn.Linear, x: Tensor) -> tuple[int, int]:
    """Return synaptic operations and synapses of a Linear layer, over rows of ``x``."""
    synops = synapses = 0
    for row in x.reshape(-1, x.shape[-1]).tolist():
        for value in row:
            for _ in range(layer.out_features):
                synops += value != 0
                synapses += 1
    return synops, synapses


def conv_synops(layer: nn.Conv2d, x: Tensor) -> tuple[int, int]:
    """Return synaptic operations and synapses of a Conv2d layer, over a batch ``(N, C, H, W)``.

    Pads as torch does, remembering which places hold padding zeros, and visits every tap of every
    output.
    """
    left, right, top, bottom = layer._reversed_padding_repeated_twice
    mode = {"zeros": "constant"}.get(layer.padding_mode, layer.padding_mode)
    pads = (left, right, top, bottom)
    padded = nn.functional.pad(x, pads, mode=mode).numpy()
    real = nn.functional.pad(torch.ones_like(x), pads, mode=mode).numpy() != 0
    rows = _outputs(padded.shape[2], layer, 0)
    columns = _outputs(padded.shape[3], layer, 1)
    group_in = layer.in_channels // layer.groups
    group_out = layer.out_channels // layer.groups
    synops = synapses = 0
    for n, out, i, j in product(
        range(len(padded)), range(layer.out_channels), range(rows), range(columns)
    ):
        group = out // group_out
        for c, a, b in product(
            range(group_in), range(layer.kernel_size[0]), range(layer.kernel_size[1])
        ):
            place = (
                n,
                group * group_in + c,
                i * layer.stride[0] + a * layer.dilation[0],
                j * layer.stride[1] + b * layer.dilation[1],
            )
            if real[place]:
                synapses += 1
                synops += bool(np.asarray(padded[place]) != 0)
    return synops, synapses


def _outputs(size: int, layer: nn.Conv2d, axis: int) -> int:
    span = layer.dilation[axis] * (layer.kernel_size[axis] - 1) + 1
    return (size - span) // layer.stride[axis] + 1


def impulse_fan_out(layer: nn.Module, shape: tuple[int, ...], weights: str = "ones") -> Tensor:
    """Return the synapses of every input site, by sending one impulse through torch from each.

    Args:
        layer: Any layer that is linear in its input; it is copied.
        shape: Its input without the batch.
        weights: ``"ones"`` counts all synapses, ``"nonzero"`` those with a weight.
    """
    probe = copy.deepcopy(layer).double()
    with torch.no_grad():
        for name, parameter in probe.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif weights == "ones":
                parameter.fill_(1.0)
            else:
                parameter.copy_((parameter != 0).double())
        sites = int(np.prod(shape))
        impulses = torch.eye(sites, dtype=torch.float64).reshape(sites, *shape)
        reached = probe(impulses).flatten(1).sum(1)
    assert torch.equal(reached, reached.round())
    return reached.long().reshape(shape)


def events_times(fan_out: Tensor, x: Tensor) -> int:
    """Return the events of ``x``, ``(*, *shape)``, each as often as the site's fan-out says."""
    events = (x != 0).reshape(-1, *fan_out.shape)
    return sum(int((row * fan_out).sum()) for row in events.long())
