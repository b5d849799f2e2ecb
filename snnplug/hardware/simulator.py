"""A bit-true, cycle-approximate simulator of a sparse digital accelerator."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from snnplug.errors import ArgumentError
from snnplug.hardware.integer_network import IntegerLayer, IntegerNetwork
from snnplug.hardware.simulated_layer import LayerEvents, SimulatedLayer
from snnplug.hardware.sparse_digital import SparseDigital
from snnplug.hardware.weight_memory import rows_per_bank


@dataclass(frozen=True, eq=False)
class Simulation:
    """What the simulated accelerator did.

    Attributes:
        spikes: Output spikes, ``(T, B, neurons)``.
        layer_spikes: Spikes of each layer's neurons, ``(T, B, neurons)``, before any pooling.
        events: What happened in each layer.
        cycles: Clock cycles of each sample, ``(B,)``; fractions where lanes fill over spikes.
        latency_us: Mean time of a sample.
    """

    spikes: npt.NDArray[np.uint8]
    layer_spikes: tuple[npt.NDArray[np.uint8], ...]
    events: dict[str, LayerEvents]
    cycles: tuple[Fraction, ...]
    latency_us: float

    @property
    def saturations(self) -> int:
        """Additions whose result did not fit; 0 if the spikes are those of exact arithmetic."""
        return sum(layer.saturations for layer in self.events.values())


def simulate(
    network: IntegerNetwork, target: SparseDigital, frames: Tensor | npt.NDArray[Any]
) -> Simulation:
    r"""Run frames through the datapath, event by event, in integers.

    Layers run one after the other in each time step. For each group of as many outputs as there
    are lanes, the words of the layer's spike buffer are scanned; every spike found makes an
    address, whose row of weights is read and added to the sums; then the group's neurons add bias,
    sum and membrane, compare, reset, and write their spikes into the next buffer. Pooled currents
    are compared on the way.

    Sums and membranes saturate at :math:`\pm(2^{b_v-1} - 1)`, after each addition, spikes in the
    order of their addresses. Where none does (:attr:`Simulation.saturations` is 0), the spikes are
    those of the quantised network in torch, bit for bit.

    Args:
        network: From :func:`~snnplug.hardware.integer_network.to_integers`; its bits have to be
            those of the target.
        target: A target such as ``yin2017-28nm``.
        frames: Spikes, ``(T, B, *in_shape)``, each 0 or 1.

    Raises:
        ArgumentError: The bits are not the target's, or the frames are no spikes of this shape.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from snnplug import ContinuousIF, SpikingSequential, load_target
        >>> from snnplug.hardware.integer_network import to_integers
        >>> from snnplug.hardware.quantisation import quantise
        >>> net = SpikingSequential(nn.Linear(2, 1, bias=False), ContinuousIF())
        >>> _ = nn.init.constant_(net[0].weight, 0.6)
        >>> chip = to_integers(quantise(net))
        >>> run = simulate(chip, load_target("yin2017-28nm"), torch.tensor([[[1, 0]], [[1, 0]]]))
        >>> run.spikes.ravel().tolist(), run.events["0"].rows_read, run.cycles[0]
        ([0, 1], Fraction(2, 1), Fraction(12, 1))

    Reference:
        The counts equal those that :class:`~snnplug.hardware.sparse_digital.SparseDigital` prices,
        exactly, while nothing here uses its formulas.
    """
    d = target.datapath
    for what, mine, its in (
        ("weight", network.weight_bits, d.weight_bits),
        ("membrane", network.membrane_bits, d.membrane_bits),
    ):
        if mine != its:
            raise ArgumentError(
                f"the network has {what}s of {mine} bits, {target.name} of {its}; quantise for the "
                "target"
            )
    spikes = _checked(frames, network.layers[0])
    bank_rows = rows_per_bank(d, target.sram, network.weight_bits)
    stages = [
        SimulatedLayer(layer, d, bank_rows, network.membrane_bits) for layer in network.layers
    ]
    steps, batch = spikes.shape[:2]
    kept = [np.zeros((steps, batch, s.layer.neurons), np.uint8) for s in stages]
    cycles = []
    for b in range(batch):
        before = sum(stage.events.cycles for stage in stages)
        for stage in stages:
            stage.clear()
        for t in range(steps):
            now = spikes[t, b]
            for stage, record in zip(stages, kept, strict=True):
                record[t, b], now = stage.step(now)
        for stage in stages:
            stage.finish()
        cycles.append(Fraction(sum(stage.events.cycles for stage in stages) - before))
    last = network.layers[-1]
    out = kept[-1]
    if last.spike_pool is not None:
        rows = [
            last.spike_pool(row.astype(np.int64), last.neuron_shape)
            for row in out.reshape(-1, last.neurons)
        ]
        out = np.asarray(rows, np.uint8).reshape(steps, batch, -1)
    events = {stage.layer.name: stage.events for stage in stages}
    mean_us = float(sum(cycles) / batch) / d.clock_mhz
    return Simulation(out, tuple(kept), events, tuple(cycles), mean_us)


def _checked(frames: Tensor | npt.NDArray[Any], first: IntegerLayer) -> npt.NDArray[np.uint8]:
    """Return the frames as ``(T, B, inputs)``."""
    values = frames.detach().cpu().numpy() if isinstance(frames, Tensor) else np.asarray(frames)
    shape = values.shape
    if values.ndim < 3 or prod(shape[2:]) != first.inputs or 0 in shape:
        raise ArgumentError(
            f"frames of shape {shape}; the network takes (T, B, *{first.in_shape}), T and B >= 1"
        )
    if not bool(((values == 0) | (values == 1)).all()):
        raise ArgumentError(
            "the frames hold values other than 0 and 1; this datapath takes spikes, so encode them"
        )
    return values.reshape(*shape[:2], -1).astype(np.uint8)
