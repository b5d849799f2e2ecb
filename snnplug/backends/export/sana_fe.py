"""A network and one sample as the files of SANA-FE, a simulator of neuromorphic machines."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnplug.backends.export.chain import Link, folded, links_of
from snnplug.backends.export.written import Written
from snnplug.errors import ArgumentError
from snnplug.files import replacing
from snnplug.kernels import execution
from snnplug.layers.sequential import SpikingSequential
from snnplug.neurons.base import SequenceNeuron
from snnplug.neurons.continuous_if import ContinuousIF
from snnplug.neurons.discontinuous_if import DiscontinuousIF
from snnplug.neurons.leaky import Leaky
from snnplug.neurons.learnable_lif import LearnableLIF

_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.AvgPool2d, nn.Flatten)
#: Its file has a line of about 40 characters for each.
_MOST_SYNAPSES = 5_000_000
#: One core. An event at a synapse takes 1 J and all else nothing, so the energy is a count.
_ARCHITECTURE = """\
# One core for all neurons. Events at synapses take 1 J each and all others nothing, so that the
# energy is their count; put in the figures of a machine.
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
              attributes:
                {{model: current_based, energy_process_spike: 1.0, latency_process_spike: 0.0}}
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


@dataclass(frozen=True)
class _Stage:
    """Neurons, and the linear map of the spikes before them that drives them."""

    group: str
    neurons: int
    settings: dict[str, Any]
    thresholds: list[float]
    weights: Tensor
    connected: Tensor
    bias: Tensor


def write_sana_fe(
    folder: str | Path, network: nn.Module, frames: Tensor, sample: int = 0
) -> Written:
    r"""Write ``architecture.yaml`` and ``network.yaml``, with the spikes of one sample as input.

    What lies between two layers of neurons becomes synapses: convolutions and average pooling one
    by one, a fully connected layer whole. A neuron of SANA-FE does

    .. math::
        v[t] = \lambda\, v[t-1] + I[t], \qquad s[t] = \mathbb{1}[v[t] > \theta]

    and is then set to 0, lowered by :math:`\theta`, or left alone. Each layer delays by one step
    of the machine. A bias is a synapse from an input that spikes in each of the layer's steps; its
    events are counted with the others.

    Args:
        folder: A new or an empty one.
        network: A chain of layers, with ``ContinuousIF``, ``DiscontinuousIF``, ``Leaky`` that does
            not leak, is reset to zero or not at all, or ``LearnableLIF`` as it is by default.
        frames: Spikes, ``(T, B, *)``.
        sample: Which of the B.

    Returns:
        The folder, and for how many steps to simulate. SANA-FE itself is not run.

    Raises:
        ArgumentError: A layer or its reset has no equal there, the input is no spikes, or the
            folder is not empty.

    Example:
        >>> from tempfile import mkdtemp
        >>> from snnplug import ContinuousIF
        >>> network = SpikingSequential(nn.Linear(4, 3), ContinuousIF())
        >>> written = write_sana_fe(Path(mkdtemp()) / "chip", network, torch.ones(5, 1, 4))
        >>> written.note
        'simulate 6 steps: 5, and one per layer of neurons'

    Reference:
        J. A. Boyle, M. Plagge, S. G. Cardwell, F. S. Chance, A. Gerstlauer, "SANA-FE: simulating
        advanced neuromorphic architectures for fast exploration", IEEE TCAD 2025.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArgumentError(f"{folder} is not empty; name a new folder")
    if frames.dim() < 2 or not 0 <= sample < frames.shape[1]:
        raise ArgumentError(f"sample {sample} of frames of shape {tuple(frames.shape)}")
    spikes = frames[:, sample].flatten(1)
    if not bool(((spikes == 0) | (spikes == 1)).all()):
        raise ArgumentError("the input holds other values than 0 and 1; SANA-FE takes spikes")
    with torch.no_grad(), execution.running("eager"):
        stages = list(_stages(folded(links_of(network, frames))))
    steps = len(spikes) + len(stages)
    inputs = spikes.shape[1] + sum(bool(stage.bias.any()) for stage in stages)
    neurons = inputs + sum(stage.neurons for stage in stages)
    with replacing(folder) as partial:
        partial.mkdir()
        text = _ARCHITECTURE.format(hops=_HOPS, neurons=neurons, soma=_SOMA, last_input=inputs - 1)
        (partial / "architecture.yaml").write_text(text, encoding="utf-8")
        with (partial / "network.yaml").open("w", encoding="utf-8") as file:
            file.writelines(
                f"{line}\n" for line in _network(type(network).__name__, spikes, stages)
            )
    note = f"simulate {steps} steps: {len(spikes)}, and one per layer of neurons"
    return Written(folder, note=note)


def _network(name: str, spikes: Tensor, stages: list[_Stage]) -> Iterator[str]:
    """Yield the lines of the file of the network."""
    yield from ("network:", f"  name: {name}", "  groups:")
    yield from _group("in", "log_spikes: true")
    for k, train in enumerate(spikes.t().int().tolist()):
        yield f"        - {k}: [spikes: {train}]"
    for place, stage in enumerate(stages):
        if stage.bias.any():
            yield from _group(f"{stage.group}_bias", "log_spikes: false")
            yield f"        - 0: [spikes: {[0] * place + [1] * len(spikes)}]"
        settings = ", ".join(f"{key}: {value}" for key, value in stage.settings.items())
        yield from _group(stage.group, f"{settings}, log_spikes: true")
        for k, threshold in enumerate(stage.thresholds):
            yield f"        - {k}: [threshold: {threshold!r}]"
    yield "  edges:"
    before = "in"
    for stage in stages:
        yield from _edges(before, stage)
        before = stage.group
    yield "mappings:"
    given = 0
    for k in range(spikes.shape[1]):
        yield f'  - in.{k}: [core: 0.0, soma: "input[{given}]"]'
        given += 1
    for stage in stages:
        if stage.bias.any():
            yield f'  - {stage.group}_bias.0: [core: 0.0, soma: "input[{given}]"]'
            given += 1
        yield f"  - {stage.group}: [core: 0.0, soma: neuron]"


def _group(name: str, attributes: str) -> tuple[str, ...]:
    return f"    - name: {name}", f"      attributes: [{attributes}]", "      neurons:"


def _edges(before: str, stage: _Stage) -> Iterator[str]:
    """Yield the synapses onto the neurons of a stage; weights are of ``(outputs, inputs)``."""
    if bool(stage.connected.all()):
        weights = stage.weights.t().flatten().tolist()
        yield f"    - {before} -> {stage.group}: [type: dense, weight: {weights}]"
    else:
        for target, source in stage.connected.nonzero().tolist():
            weight = stage.weights[target, source].item()
            yield f"    - {before}.{source} -> {stage.group}.{target}: [weight: {weight!r}]"
    if stage.bias.any():
        weights = stage.bias.tolist()
        yield f"    - {stage.group}_bias -> {stage.group}: [type: dense, weight: {weights}]"


def _stages(links: list[Link]) -> Iterator[_Stage]:
    between: list[Link] = []
    for link in links:
        if isinstance(link.module, _LINEAR):
            between.append(link)
        elif isinstance(link.module, SequenceNeuron):
            yield _stage(between, link, link.module)
            between = []
        else:
            raise ArgumentError(
                f"{link.label} is no sum of weighted spikes; SANA-FE takes Linear, Conv1d, Conv2d, "
                "AvgPool2d and snnplug's neurons"
            )
    if between or not links:
        raise ArgumentError("the network does not end in neurons; it has to")


def _stage(between: list[Link], link: Link, neuron: SequenceNeuron) -> _Stage:
    settings = _settings(link, neuron)
    in_shape = between[0].in_shape if between else link.in_shape
    if prod(in_shape) * prod(link.out_shape) > 10 * _MOST_SYNAPSES:
        raise ArgumentError(f"{link.label}: {in_shape} to {link.out_shape} is too large for a file")
    modules = [copy.deepcopy(other.module).cpu().double() for other in between]
    zero = torch.zeros(1, 1, *in_shape, dtype=torch.float64)
    chain = SpikingSequential(*modules)
    bias = chain(zero).flatten() if modules else zero.flatten()
    unit = torch.eye(prod(in_shape), dtype=torch.float64).view(1, -1, *in_shape)
    for module in modules:
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    weights = chain(unit).flatten(2)[0].t() if modules else unit.flatten(2)[0]
    for module in modules:
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            nn.init.ones_(module.weight)
    connected = (chain(unit).flatten(2)[0].t() if modules else unit.flatten(2)[0]) != 0
    if int(connected.sum()) > _MOST_SYNAPSES:
        raise ArgumentError(f"{link.label} has more than {_MOST_SYNAPSES} synapses; too many")
    threshold = np.broadcast_to(neuron.threshold.detach().double().cpu(), link.out_shape)
    if neuron.spike_grad(torch.zeros(1)) > 0:
        threshold = np.nextafter(threshold, -np.inf)
    return _Stage(
        link.name.replace(".", "_"),
        prod(link.out_shape),
        settings,
        threshold.ravel().tolist(),
        weights,
        connected,
        bias,
    )


def _settings(link: Link, neuron: Any) -> dict[str, Any]:
    """Return how a neuron of SANA-FE leaks and resets."""
    reset = neuron._reset_mechanism
    beta = torch.as_tensor(getattr(neuron, "beta", 0.0)).detach()
    plain = (
        isinstance(neuron, Leaky | ContinuousIF | DiscontinuousIF | LearnableLIF)
        and not getattr(neuron, "inhibition", False)
        and not getattr(neuron, "state_quant", False)
        and bool((neuron.graded_spikes_factor == 1).all())
    )
    if not plain or bool((beta != beta.flatten()[0]).any()):
        raise ArgumentError(
            f"{link.label} has no equal in SANA-FE: one membrane, one decay for all neurons, "
            "spikes of height 1, not inhibited, not quantised"
        )
    decay = float(beta.flatten()[0])
    decay = min(max(decay, 0.0), 1.0) if isinstance(neuron, Leaky) else decay
    at_once = not getattr(neuron, "reset_delay", True)
    # SANA-FE leaks what the reset left. A delayed subtraction leaks first, and one of Leaky's at
    # once comes twice where it leaves the membrane above the threshold.
    soft = at_once if isinstance(neuron, LearnableLIF) else not at_once and decay == 1
    if reset == "subtract" and not soft:
        raise ArgumentError(
            f"{link.label}: SANA-FE leaks after the reset. Take beta=1, reset_mechanism='zero', or "
            "LearnableLIF"
        )
    mode = {"subtract": "soft", "zero": "hard", "none": "none"}[reset]
    return {"reset_mode": mode, "leak_decay": decay, "force_update": "true"}
