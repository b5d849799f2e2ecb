"""The spikes and membranes of one batch, seen by hooks while it passes through a network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import snntorch as snn
import torch
from torch import Tensor, nn


class SpikeProbe:
    """Records one sample's spikes and the whole batch's last membranes of every neuron layer.

    Works with snnTorch's loop over time steps and with
    :class:`~snnplug.layers.sequential.SpikingSequential`. Nothing of the network changes, and no
    pass of its own is made: what runs between :meth:`start` and :meth:`stop` is recorded.

    Args:
        network: Any module with snnTorch's or our neurons in it.
        sample: Which sample of the batch.
        max_neurons: Layers with more neurons per sample are left out.

    Example:
        >>> from snnplug import ContinuousIF, SpikingSequential
        >>> net = SpikingSequential(nn.Linear(4, 3), ContinuousIF())
        >>> probe = SpikeProbe(net)
        >>> probe.start(); _ = net(torch.ones(5, 2, 4)); probe.stop()
        >>> {name: tuple(spk.shape) for name, spk in probe.spikes().items()}   # (T, N)
        {'1': (5, 3)}
    """

    def __init__(self, network: nn.Module, sample: int = 0, max_neurons: int = 2048) -> None:
        self.network = network
        self.sample = sample
        self.max_neurons = max_neurons
        self.membranes: dict[str, Tensor] = {}
        self._pieces: dict[str, list[Tensor]] = {}
        self._handles: list[Any] = []

    def start(self) -> None:
        """Put the hooks on, and forget what was recorded before."""
        self.stop()
        self.membranes, self._pieces = {}, {}
        for name, neuron in _neurons(self.network):
            self._handles.append(neuron.register_forward_hook(self._hook(name), with_kwargs=True))

    def stop(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def spikes(self) -> dict[str, Tensor]:
        """Return the sample's spikes of each layer, ``(T, N)``."""
        return {name: torch.cat(pieces) for name, pieces in self._pieces.items()}

    def _hook(self, name: str) -> Any:
        def after(neuron: Any, args: Any, kwargs: dict[str, Any], out: Any) -> None:
            spk, *state = out if isinstance(out, tuple) else (out,)
            is_sequence = bool(kwargs.get("sequence"))
            one = (spk if is_sequence else spk[None])[:, self.sample].detach().flatten(1)
            if one.shape[1] > self.max_neurons:
                return
            self._pieces.setdefault(name, []).append(one.float().cpu())
            if is_sequence:
                state = list(state[0])
            mem = state[-1] if state else getattr(neuron, "mem", None)
            if isinstance(mem, Tensor) and mem.numel():
                self.membranes[name] = mem.detach()

        return after


def _neurons(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in network.named_modules():
        if isinstance(module, snn.SpikingNeuron):
            yield name, module
