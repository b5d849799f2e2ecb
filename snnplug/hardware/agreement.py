"""What the simulator counted beside what the price model charges for."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from snnplug.hardware.activity import Activity, NeuronLayer, SynapticLayer
from snnplug.hardware.integer_network import IntegerNetwork
from snnplug.hardware.simulator import Simulation
from snnplug.hardware.sparse_digital import SparseDigital

#: By the name of a count: as simulated, and by the closed form.
Counts = dict[str, tuple[Fraction, Fraction]]


def compared(
    simulation: Simulation, chip: IntegerNetwork, target: SparseDigital, activity: Activity
) -> dict[str, Counts]:
    """Return events and cycles of each layer of weights and its neurons, over all samples.

    The closed form takes the events, synaptic operations and spikes that were counted in torch, and
    for the cycles the latency that the target prices; nothing of the simulator.

    Args:
        simulation: What :func:`~snnplug.hardware.simulator.simulate` did.
        chip: The network that it ran.
        target: On which datapath.
        activity: Counts of the quantised network in torch on the same frames.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from snnplug import ContinuousIF, SpikingSequential, load_target, measure
        >>> from snnplug import quantise, simulate, to_integers
        >>> target = load_target("yin2017-28nm")
        >>> quantised = quantise(SpikingSequential(nn.Linear(4, 3), ContinuousIF()))
        >>> chip, frames = to_integers(quantised), torch.ones(2, 1, 4)
        >>> with measure(quantised.network) as meter, torch.no_grad():
        ...     _ = quantised.network(frames)
        >>> found = compared(simulate(chip, target, frames), chip, target, meter.activity())
        >>> tuple(map(int, found["0"]["synaptic operations"]))   # 2 steps, 4 spikes, 3 neurons
        (24, 24)
    """
    lanes, word = target.datapath.lanes, target.datapath.spike_word_bits
    records = {layer.name: layer for layer in activity.layers}
    cycles = {
        layer.name: _whole(layer.latency_us, target, activity.samples)
        for layer in target.price(activity).layers
    }
    found: dict[str, Counts] = {}
    for layer in chip.layers:
        synapses, neurons = records[layer.name], records[layer.neuron]
        assert isinstance(synapses, SynapticLayer)  # noqa: S101  # the chain has made them
        assert isinstance(neurons, NeuronLayer)  # noqa: S101
        events = simulation.events[layer.name]
        groups = -(-synapses.outputs // lanes)
        updates = neurons.neurons * neurons.presentations
        pairs: dict[str, tuple[Fraction | int, Fraction | int]] = {
            "words scanned": (
                events.words_scanned,
                -(-synapses.inputs // word) * groups * synapses.presentations,
            ),
            "addresses": (events.addresses, synapses.events * groups),
            "synaptic operations": (events.accumulates, synapses.synops),
            "neuron updates": (events.compares, updates),
            "resets": (events.resets, neurons.spikes if layer.resets else 0),
            "cycles": (events.cycles, cycles[layer.name] + cycles[layer.neuron]),
        }
        found[layer.name] = {name: (Fraction(a), Fraction(b)) for name, (a, b) in pairs.items()}
    return found


def add(a: Mapping[str, Counts], b: Mapping[str, Counts]) -> dict[str, Counts]:
    """Return the sum of two comparisons of the same network; an empty one adds nothing."""
    if not a or not b:
        return dict(a or b)
    return {
        layer: {
            name: (mine + b[layer][name][0], its + b[layer][name][1])
            for name, (mine, its) in counts.items()
        }
        for layer, counts in a.items()
    }


def _whole(latency_us: float | None, target: SparseDigital, samples: int) -> Fraction:
    """Return the cycles behind a latency: whole, or parts of a row that fills the lanes."""
    lanes = target.datapath.lanes
    return Fraction(round((latency_us or 0.0) * target.datapath.clock_mhz * samples * lanes), lanes)
