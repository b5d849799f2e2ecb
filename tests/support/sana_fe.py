"""An exported network and its input, run on the simulator SANA-FE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def run(folder: Path, groups: list[str], sizes: list[int], num_steps: int) -> dict[str, Any]:
    """Run what ``write_sana_fe`` wrote.

    Args:
        folder: Of the files.
        groups: Names of the layers of neurons, in order.
        sizes: Their neurons.
        num_steps: Of the sample; one step more per layer is run: each delays by one.

    Returns:
        ``synapse_events``, and the ``spikes`` of each layer, ``(T, neurons)``, without the delay.
    """
    import sanafe

    machine = sanafe.load_arch(str(folder / "architecture.yaml"))
    network = sanafe.load_net(str(folder / "network.yaml"), machine)
    chip = sanafe.SpikingChip(machine)
    chip.load(network)
    total = num_steps + len(groups)
    result = chip.sim(total, timing_model="simple", spike_trace=True)
    fired: dict[str, Tensor] = {
        g: torch.zeros(total, n) for g, n in zip(groups, sizes, strict=True)
    }
    for step, addresses in enumerate(result["spike_trace"]):
        for address in addresses:
            if address.group_name in fired:
                fired[address.group_name][step, address.neuron_offset] = 1
    spikes = [fired[g][k : k + num_steps] for k, g in enumerate(groups, 1)]
    return {"synapse_events": result["energy"]["synapse"], "spikes": spikes}
