"""Reading layers of weights and neurons in one, which run over a whole sequence.

Such a layer declares ``counts_as``, the class of torch whose weights it has; ``dynamics``, the
constants of its neurons; and ``recurrent_weight`` with a ``recurrent_mask``, or None.
"""

from __future__ import annotations

from math import log2
from typing import Any

import torch
from torch import Tensor, nn

from snnplug.hardware.dynamics import Dynamics, leak_of_factor
from snnplug.hardware.ledger import Ledger


def spike_train_layer(ledger: Ledger, name: str, module: Any, x: Tensor, spk: Tensor) -> None:
    """Enter the call of a layer of weights and neurons on a sequence.

    Spikes arrive one step after they were sent: the first step hears nothing, and what is sent in
    the last step is never heard.

    Args:
        ledger: Takes the counts.
        name: Of the layer; its neurons are ``.neurons``, the weights between them ``.recurrent``,
            what a spike takes from the others ``.inhibition``.
        module: The layer.
        x: Its input, ``(T, B, *)``.
        spk: Its spikes, ``(T, B, *)``.
    """
    layer = _as_torchs(module)
    inputs = x.flatten(2) if isinstance(layer, nn.Linear) else x
    for heard in _one_step_later(inputs):
        ledger.synaptic(name, layer, heard, spk)
    ledger.neuron(f"{name}.neurons", module, spike_train_dynamics(module.dynamics), spk, 2)
    within = _within(module, spk.shape[-1])
    for part, weights in within.items():
        for heard in _one_step_later(spk):
            ledger.synaptic(f"{name}.{part}", weights, heard, heard)


def spike_train_dynamics(d: Any) -> Dynamics:
    """Return what a neuron with a synaptic current and a refractory time computes in a step.

    It keeps its membrane, its current and the steps that it still rests. The current, over its time
    constant, is added to the membrane: a multiplication unless that is a power of 2. The count of
    steps is compared with 0 and taken down.

    Args:
        d: Has the time constants and the refractory time, in time steps.
    """
    rests = d.refractory_steps > 0
    leaks = leak_of_factor(1 - 1 / d.tau_mem_steps), leak_of_factor(1 - 1 / d.tau_syn_steps)
    return Dynamics(
        states=2 + rests,
        leaks=(*leaks, "none") if rests else leaks,
        multiplies=int(not log2(d.tau_syn_steps).is_integer()),
        adds=1 + rests,
        compares=1 + rests,
        sequence=True,
    )


def _as_torchs(module: Any) -> Any:
    """Return torch's layer with the same weights."""
    if module.counts_as == "Linear":
        outputs, inputs = module.weight.shape
        layer: Any = nn.Linear(inputs, outputs, bias=False, device="meta")
    else:
        out_channels, in_channels, *kernel = module.weight.shape
        layer = nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            module.stride,
            module.padding,
            bias=False,
            device="meta",
        )
    layer.weight = module.weight
    return layer


def _within(module: Any, neurons: int) -> dict[str, nn.Linear]:
    """Return the weights between the neurons of a layer, by what they are."""
    found: dict[str, Tensor] = {}
    if module.recurrent_weight is not None:
        found["recurrent"] = module.recurrent_weight.detach() * module.recurrent_mask
    if module.dynamics.inhibition:
        found["inhibition"] = -module.dynamics.inhibition * (1 - torch.eye(neurons))
    layers = {}
    for part, weight in found.items():
        layers[part] = nn.Linear(neurons, neurons, bias=False, device="meta")
        layers[part].weight = nn.Parameter(weight, requires_grad=False)
    return layers


def _one_step_later(x: Tensor) -> tuple[Tensor, ...]:
    """Return what is heard in the first step, and in all others if there are any."""
    nothing = torch.zeros_like(x[:1])
    return (nothing, x[:-1]) if len(x) > 1 else (nothing,)
