"""A chain of layers over a whole sequence: weights see all time steps at once."""

from __future__ import annotations

from typing import Any

import snntorch as snn
import torch
from torch import Tensor, nn

from snnplug.errors import ArgumentError
from snnplug.layers.spike_conv2d import SpikeConv2d, fuses
from snnplug.neurons.base import SequenceNeuron


class SpikingSequential(nn.Sequential):
    r"""``nn.Sequential`` over time: ``(T, B, *)`` in, ``(T, B, *)`` out.

    Layers without state (Linear, Conv2d, pooling, Flatten, Dropout, …) run once on
    ``(T * B, *)``, so a layer is one matrix product instead of ``T``. Our neurons run through
    :meth:`~snnplug.neurons.base.SequenceNeuron.run`; snnTorch's own are stepped, from rest.
    A module with an attribute ``whole_sequence = True`` is given ``(T, B, *)``. No state outlives a
    call. A :class:`~snnplug.layers.spike_conv2d.SpikeConv2d` and an
    ``nn.MaxPool2d`` right behind it are taken together unless one of them has hooks: the same
    numbers in less time and memory.

    Args:
        *layers: Modules in order; a neuron keeps its usual constructor.

    Shape:
        - input: ``(T, B, *)``; output: ``(T, B, *)``, spikes if the last layer is a neuron, else
          the currents of the last layer

    Raises:
        ArgumentError: The input has no time and batch axes, or no time step.

    Hardware: each layer is counted under its own name, as in ``nn.Sequential``.

    Example:
        >>> from snnplug import ContinuousIF
        >>> net = SpikingSequential(nn.Linear(4, 3), ContinuousIF(), nn.Linear(3, 2))
        >>> net(torch.zeros(10, 5, 4)).shape
        torch.Size([10, 5, 2])
    """

    def forward(self, frames: Tensor) -> Tensor:
        """Run the whole sequence through every layer in turn."""
        if frames.dim() < 2 or frames.shape[0] == 0:
            raise ArgumentError(
                f"input of shape {tuple(frames.shape)}; SpikingSequential takes (T, B, *), T >= 1"
            )
        num_steps, batch = frames.shape[:2]
        x = frames
        rest = list(self)
        while rest:
            layer = rest.pop(0)
            if isinstance(layer, SequenceNeuron):
                x, _ = layer.run(x)
            elif isinstance(layer, SpikingSequential) or getattr(layer, "whole_sequence", False):
                x = layer(x)
            elif isinstance(layer, snn.SpikingNeuron):
                x = _step_through(layer, x)
            else:
                flat = x.reshape(num_steps * batch, *x.shape[2:])
                pool = rest[0] if rest else None
                if (
                    isinstance(layer, SpikeConv2d)
                    and isinstance(pool, nn.MaxPool2d)
                    and fuses(layer, pool)
                ):
                    flat = layer(flat, pool=pool)
                    del rest[0]
                else:
                    flat = layer(flat)
                x = flat.reshape(num_steps, batch, *flat.shape[1:])
        return x


def _step_through(neuron: Any, cur: Tensor) -> Tensor:
    """Run one of snnTorch's neurons over ``(T, B, *)``, one step at a time, from rest."""
    state: Any = neuron.reset_mem()
    explicit = () if neuron.init_hidden else state if isinstance(state, tuple) else (state,)
    spikes = []
    for now in cur.unbind(0):
        out = neuron(now, *explicit)
        spk, *after = out if isinstance(out, tuple) else (out,)
        if not neuron.init_hidden:
            # A neuron whose spikes are part of its state returns them once.
            explicit = tuple(after) if len(after) == len(explicit) else tuple(out)
        spikes.append(spk)
    return torch.stack(spikes)
