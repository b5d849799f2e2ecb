"""A fully connected network of integrate-and-fire neurons, run on the simulator SANA-FE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

#: One core; the only event that takes energy is the one at a synapse, 1 J: the energy is a count.
ARCHITECTURE = """
architecture:
  name: counting
  attributes: {{link_buffer_size: 16, width: 1, height: 1}}
  tile:
    - name: tile
      attributes: {{{hops}}}
      core:
        - name: core
          attributes: {{buffer_position: soma, max_neurons_supported: {neurons}}}
          axon_in:
            - name: axon_in
              attributes: {{energy_message_in: 0.0, latency_message_in: 0.0}}
          synapse:
            - name: synapse
              attributes: {{model: current_based, {synapse}}}
          dendrite:
            - name: dendrite
              attributes: {{model: accumulator, energy_update: 0.0, latency_update: 0.0}}
          soma:
            - name: neuron
              attributes: {{model: leaky_integrate_fire, {soma}}}
            - name: input[0..{last_input}]
              attributes: {{model: input, {soma}}}
          axon_out:
            - name: axon_out
              attributes: {{energy_message_out: 0.0, latency_message_out: 0.0}}
"""
_SOMA = ", ".join(
    f"{what}_{event}: 0.0"
    for event in ("access_neuron", "update_neuron", "spike_out")
    for what in ("energy", "latency")
)
_HOPS = ", ".join(
    f"{what}_{way}_hop: 0.0"
    for way in ("north", "east", "south", "west")
    for what in ("energy", "latency")
)


def run(spikes: Tensor, weights: list[Tensor], threshold: float, folder: Path) -> dict[str, Any]:
    """Run one sample through the network, and one step more per layer: each delays by one.

    Args:
        spikes: Input, ``(T, inputs)``.
        weights: One matrix per layer, ``(outputs, inputs)``, multiples of 1/64.
        threshold: Of all neurons.
        folder: Where the description of the machine is written.

    Returns:
        ``synapse_events``, and the ``spikes`` of each layer, ``(T, outputs)``, without the delay of
        one step per layer that the machine has.
    """
    import sanafe

    sizes = [spikes.shape[1], *(len(w) for w in weights)]
    text = ARCHITECTURE.format(
        hops=_HOPS,
        neurons=sum(sizes),
        synapse="energy_process_spike: 1.0, latency_process_spike: 0.0",
        soma=_SOMA,
        last_input=sizes[0] - 1,
    )
    path = folder / "architecture.yaml"
    path.write_text(text, encoding="utf-8")
    machine = sanafe.load_arch(str(path))
    core = machine.tiles[0].cores[0]
    network = sanafe.Network()
    groups = [network.create_neuron_group("g0", sizes[0], log_spikes=True)]
    for neuron, train in zip(groups[0], spikes.t().tolist(), strict=True):
        neuron.set_attributes(
            soma_hw_name=f"input[{neuron.get_id()}]",
            model_attributes={"spikes": [int(s) for s in train]},
            log_spikes=True,
        )
    settings = {
        "threshold": threshold,
        "reset_mode": "soft",
        "leak_decay": 1.0,
        "force_update": True,
    }
    for k, weight in enumerate(weights, 1):
        group = network.create_neuron_group(
            f"g{k}", len(weight), settings, soma_hw_name="neuron", log_spikes=True
        )
        groups[-1].connect_neurons_dense(group, {"weight": weight.t().flatten().tolist()})
        groups.append(group)
    for group in groups:
        for neuron in group:
            neuron.map_to_core(core)
    chip = sanafe.SpikingChip(machine)
    chip.load(network)
    result = chip.sim(len(spikes) + len(weights), timing_model="simple", spike_trace=True)
    fired = [torch.zeros(len(spikes) + len(weights), n) for n in sizes]
    for step, addresses in enumerate(result["spike_trace"]):
        for address in addresses:
            fired[int(address.group_name[1:])][step, address.neuron_offset] = 1
    return {
        "synapse_events": result["energy"]["synapse"],
        "spikes": [fired[k][k : k + len(spikes)] for k in range(1, len(sizes))],
    }
