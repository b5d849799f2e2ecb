"""Random chains for the simulator, and the counts that the price model charges for."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import snntorch as snn
import torch
from torch import Tensor, nn

from snnplug import ContinuousIF, DiscontinuousIF, HardFire, SpikingSequential
from snnplug.hardware.activity import Activity, NeuronLayer, PoolLayer, SynapticLayer
from snnplug.hardware.integer_network import IntegerNetwork
from snnplug.hardware.simulated_layer import LayerEvents
from snnplug.hardware.sparse_digital import SparseDigital
from snnplug.hardware.sram import sram


def spikes_of_neurons(network: nn.Module, frames: Tensor) -> list[Tensor]:
    """Run ``network`` and return the spikes ``(T, B, neurons)`` of each layer of neurons."""
    found: list[Any] = [m for m in network.modules() if isinstance(m, snn.SpikingNeuron)]
    kept: dict[Any, list[Tensor]] = {m: [] for m in found}

    def keep(module: nn.Module, args: Any, out: Any) -> None:
        kept[module].append(out[0] if isinstance(out, tuple) else out)

    handles = [m.register_forward_hook(keep) for m in found]
    with torch.no_grad():
        network(frames)
    for handle in handles:
        handle.remove()
    steps, batch = frames.shape[:2]
    return [torch.stack(kept[m]).reshape(steps, batch, -1) for m in found]


def draw_neuron(rng: random.Random) -> nn.Module:
    threshold = rng.choice([0.3, 0.77, 1.0])
    return rng.choice(
        [
            lambda: ContinuousIF(threshold),
            lambda: ContinuousIF(threshold, reset_mechanism="none"),
            lambda: ContinuousIF(threshold, spike_grad=HardFire(inclusive=True)),
            lambda: DiscontinuousIF(threshold),
            lambda: DiscontinuousIF(0.0, spike_grad=HardFire(inclusive=True)),
            lambda: snn.Leaky(beta=1.0, threshold=threshold),
            lambda: snn.Leaky(beta=0.0, threshold=threshold, reset_mechanism="none"),
        ]
    )()


def draw_conv(rng: random.Random, channels: int, first: bool) -> nn.Conv2d:
    if rng.random() < 0.2:
        return nn.Conv2d(channels, 3, 2, padding="same")  # pads one side only
    groups = rng.choice([1, 2]) if channels % 2 == 0 else 1
    return nn.Conv2d(
        channels,
        groups * rng.randint(1, 4),
        (rng.randint(2, 3), rng.randint(2, 3)),
        stride=rng.choice([1, (1, 2)]),
        padding=rng.choice([0, 1, (0, 2)]) if first else 1,
        dilation=rng.choice([1, (2, 1)]) if first else 1,
        groups=groups,
        bias=rng.random() < 0.5,
    )


def draw_chain(rng: random.Random) -> tuple[SpikingSequential, tuple[int, ...]]:
    """Return a random chain and the shape of one time step of its input."""
    layers: list[nn.Module] = []
    shape: tuple[int, ...] = (rng.randint(1, 150),)
    if rng.random() < 0.5:
        shape = (rng.choice([1, 2, 4]), rng.randint(6, 9), rng.randint(6, 9))
        where = shape
        for _ in range(rng.randint(1, 2)):
            conv = draw_conv(rng, where[0], first=not layers)
            layers.append(conv)
            where = tuple(conv(torch.zeros(1, *where)).shape[1:])
            pool = nn.MaxPool2d(2, stride=rng.choice([1, 2]))
            how = (
                rng.choice(["none", "before", "before", "after"]) if min(where[1:]) >= 3 else "none"
            )
            layers += [pool] if how == "before" else []
            layers.append(draw_neuron(rng))
            layers += [pool] if how == "after" else []
            where = tuple(pool(torch.zeros(where)).shape) if how != "none" else where
        layers.append(nn.Flatten())
        size = where[0] * where[1] * where[2]
    else:
        size = shape[0]
    for _ in range(rng.randint(0 if layers else 1, 2)):
        width = rng.randint(1, 150)
        linear = nn.Linear(size, width, bias=rng.random() < 0.5)
        layers += [linear, nn.Dropout(0.5), draw_neuron(rng)]
        size = width
    for layer in layers:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.normal_(layer.weight, std=1.5 / layer.weight[0].numel() ** 0.5)
    return SpikingSequential(*layers).eval(), shape


@dataclass(frozen=True)
class Charged:
    """Events and cycles of one layer of weights and its neurons that the price model charges."""

    words_scanned: int
    addresses: int
    rows_read: Fraction
    accumulates: int
    membrane_reads: int
    bias_adds: int
    compares: int
    resets: int
    pool_compares: int
    words_written: int
    cycles: Fraction

    @classmethod
    def of(cls, events: LayerEvents) -> Charged:
        assert events.membrane_reads == events.membrane_writes
        names = list(cls.__dataclass_fields__)
        return cls(**{name: getattr(events, name) for name in names})


def charged(target: SparseDigital, activity: Activity, chip: IntegerNetwork) -> list[Charged]:
    """Read the counts off bills in which one kind of event alone has a price.

    The price model has no counts to ask for: with every energy but one at zero, and that one such
    that an event costs 1 pJ, the energy is the count.
    """
    bits, lanes = target.datapath.membrane_bits, target.datapath.lanes
    address_bits = target.ops.address_bits

    def bills(**ops: float) -> dict[str, dict[str, float]]:
        free = dict.fromkeys(("add", "register", "compare"), 0.0)
        free |= ops
        one = replace(
            target,
            ops=replace(
                target.ops, **{f"{name}_pj_per_bit": value for name, value in free.items()}
            ),
            sram=replace(target.sram, partial_row_floor=1.0),
            overhead=replace(target.overhead, kappa=1.0, kappa_low=1.0, kappa_high=1.0),
        )
        report = one.price(activity)
        return {
            layer.name: {
                **{part: 1e3 * nj * activity.samples for part, nj in layer.parts_nj.items()},
                "cycles": layer.latency_us * target.datapath.clock_mhz * activity.samples,
            }
            for layer in report.layers
        }

    memories, adds = bills(), bills(add=1 / bits)
    registers, compares = bills(register=1 / bits), bills(compare=1 / bits)
    buffer = (target.technology_nm, target.sram.spike_buffer_kb, target.datapath.spike_word_bits)
    records = {layer.name: layer for layer in activity.layers}
    pools = [layer for layer in activity.layers if isinstance(layer, PoolLayer)]
    result = []
    for layer in chip.layers:
        synapses, neurons = records[layer.name], records[layer.neuron]
        assert isinstance(synapses, SynapticLayer)
        assert isinstance(neurons, NeuronLayer)
        kb = synapses.weights * target.datapath.weight_bits / 8 / 1024
        banks = max(1, -(-kb // target.sram.bank_kb))
        row_pj = sram(
            target.technology_nm,
            max(1.0, kb / banks),
            lanes * target.datapath.weight_bits,
            "read_pj",
        )
        membrane_kb = max(1.0, neurons.neurons * bits / 8 / 1024)
        access = sum(
            sram(target.technology_nm, membrane_kb, 32, column)
            for column in ("read_pj", "write_pj")
        )
        updates = whole(adds[layer.neuron]["neuron"])
        compared = whole(compares[layer.neuron]["neuron"])
        spikes = neurons.spikes if neurons.stateful and neurons.resets else 0
        pool = None
        if layer.pool is not None or layer.spike_pool is not None:
            pool = pools.pop(0)
        result.append(
            Charged(
                words_scanned=whole(memories[layer.name]["scan"] / sram(*buffer, "read_pj")),
                addresses=whole(
                    (adds[layer.name]["scan"] - memories[layer.name]["scan"]) * bits / address_bits
                ),
                rows_read=Fraction(
                    whole(memories[layer.name]["weight_read"] / row_pj * lanes), lanes
                ),
                accumulates=whole(registers[layer.name]["accumulate"]),
                membrane_reads=whole(memories[layer.neuron]["membrane"] / (access * bits / 32)),
                bias_adds=updates - spikes,
                compares=compared,
                resets=spikes,
                pool_compares=0 if pool is None else whole(compares[pool.name]["neuron"]),
                words_written=whole(memories[layer.neuron]["output"] / sram(*buffer, "write_pj")),
                cycles=Fraction(
                    whole(
                        (memories[layer.name]["cycles"] + memories[layer.neuron]["cycles"]) * lanes
                    ),
                    lanes,
                ),
            )
        )
    return result


def whole(value: float) -> int:
    """Return the integer that a sum of floats stands for."""
    assert abs(value - round(value)) < 1e-6
    return round(value)
