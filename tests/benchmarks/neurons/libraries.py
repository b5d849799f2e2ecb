"""One layer of leaky neurons over ``(T, B, *)`` in each library, as each does it best.

The equations differ a little (a synapse, the time of the reset, the form of the surrogate); the
work is alike. A library that leaves the loop to its user is stepped over ``unbind``, which is many
times faster than to index ``x[t]`` where ``x`` needs a gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import snntorch as snn
import torch
from torch import Tensor, nn

import snnplug as sp

BETA = 0.9
TAU = 1 / (1 - BETA)


class Ours(nn.Module):
    """snnplug's neuron."""

    def __init__(self) -> None:
        super().__init__()
        self.neuron = sp.Leaky(beta=BETA)

    def forward(self, cur: Tensor) -> Tensor:
        spk: Tensor = self.neuron.run(cur)[0]
        return spk


class SnnTorch(nn.Module):
    """snnTorch's neuron, stepped."""

    def __init__(self) -> None:
        super().__init__()
        self.neuron = snn.Leaky(beta=BETA)

    def forward(self, cur: Tensor) -> Tensor:
        mem = torch.zeros_like(cur[0])
        spikes = []
        for now in cur.unbind(0):
            spk, mem = self.neuron(now, mem)
            spikes.append(spk)
        return torch.stack(spikes)


class Spikingjelly(nn.Module):
    """spikingjelly's neuron, multi-step."""

    def __init__(self) -> None:
        super().__init__()
        from spikingjelly.activation_based import functional, neuron, surrogate

        self.reset = functional.reset_net
        self.neuron = neuron.LIFNode(
            tau=TAU, v_reset=None, surrogate_function=surrogate.ATan(), step_mode="m"
        )

    def forward(self, cur: Tensor) -> Tensor:
        self.reset(self.neuron)
        spk: Tensor = self.neuron(cur)
        return spk


class Norse(nn.Module):
    """norse's neuron without a synapse, stepped."""

    def __init__(self) -> None:
        super().__init__()
        from norse.torch import LIFBoxCell

        self.neuron = LIFBoxCell()

    def forward(self, cur: Tensor) -> Tensor:
        state: Any = None
        spikes = []
        for now in cur.unbind(0):
            spk, state = self.neuron(now, state)
            spikes.append(spk)
        return torch.stack(spikes)


class Sinabs(nn.Module):
    """sinabs' neuron; batch first."""

    def __init__(self) -> None:
        super().__init__()
        from sinabs.layers import LIF

        self.neuron = LIF(tau_mem=TAU)

    def forward(self, cur: Tensor) -> Tensor:
        self.neuron.reset_states()
        spk: Tensor = self.neuron(cur.transpose(0, 1))
        return spk.transpose(0, 1)


#: The libraries' feed-forward neurons.
NEURONS: dict[str, Callable[[], nn.Module]] = {
    "snnTorch, hoisted": SnnTorch,
    "spikingjelly, multi-step": Spikingjelly,
    "norse": Norse,
    "sinabs": Sinabs,
}


class OverTime(nn.Module):
    """Layers over ``(T, B, *)``: those without state take all time steps at once."""

    def __init__(self, *layers: nn.Module, channels_last: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        if channels_last:
            self.to(memory_format=torch.channels_last)

    def forward(self, frames: Tensor) -> Tensor:
        x, lead = frames, frames.shape[:2]
        for layer in self.layers:
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.MaxPool2d | nn.Flatten):
                x = x.flatten(0, 1)
                x = x.contiguous(memory_format=self.format) if x.dim() == 4 else x
                x = layer(x).unflatten(0, lead)
            else:
                x = layer(x)
        return x


class Loop(nn.Module):
    """The loop of snnTorch's tutorials: every layer, one time step after the other."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, frames: Tensor) -> Tensor:
        state: dict[int, Any] = {
            k: layer.reset_mem()
            for k, layer in enumerate(self.layers)
            if isinstance(layer, snn.SpikingNeuron)
        }
        spikes = []
        for step in range(frames.shape[0]):
            x = frames[step]
            for k, layer in enumerate(self.layers):
                if isinstance(layer, snn.RLeaky):
                    x, mem = layer(x, *state[k])
                    state[k] = (x, mem)
                elif isinstance(layer, snn.SpikingNeuron):
                    x, state[k] = layer(x, state[k])
                else:
                    x = layer(x)
            spikes.append(x)
        return torch.stack(spikes)
