"""A network as a chain of stages: a layer of weights, what lies between, the neurons it drives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from snnplug.errors import ArgumentError
from snnplug.hardware.dynamics import dynamics_of, is_snntorchs, is_spiking

_FREE = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


@dataclass(frozen=True)
class Stage:
    """One layer of weights and the neurons behind it.

    Attributes:
        name: Of the layer of weights, in the network.
        weights: That layer.
        pool: What takes the largest current of each window, before the neurons.
        neuron_name: Of the neurons, in the network.
        neuron: They.
        spike_pool: What takes the largest spike of each window, behind them.
    """

    name: str
    weights: nn.Linear | nn.Conv2d
    pool: nn.MaxPool2d | None
    neuron_name: str
    neuron: Any
    spike_pool: nn.MaxPool2d | None

    @property
    def is_stateful(self) -> bool:
        """Whether the membrane is kept from step to step, without a leak."""
        return not _forgets(self.neuron)

    @property
    def resets(self) -> bool:
        """Whether a spike subtracts the threshold from the membrane."""
        return self.is_stateful and self.neuron.reset_mechanism == "subtract"

    @property
    def fires_at_threshold(self) -> bool:
        """Whether a membrane that equals the threshold fires; most have to be above it."""
        return bool(_spikes_at(self.neuron, 0.0))


def stages_of(network: nn.Module) -> tuple[Stage, ...]:
    """Return the stages of a chain of ``Linear`` or ``Conv2d``, ``MaxPool2d`` and neurons.

    Args:
        network: A sequential network, at any depth of nesting, or one with a method ``chain()``
            that returns it, as the packaged networks have.

    Raises:
        ArgumentError: It is no such chain, or a neuron leaks: its membrane, a multiple of a
            unit, would be none any more.

    Example:
        >>> from snnplug import ContinuousIF, SpikingSequential
        >>> (stage,) = stages_of(SpikingSequential(nn.Linear(4, 3), ContinuousIF()))
        >>> stage.name, stage.neuron_name, stage.resets
        ('0', '1', True)
    """
    found: list[dict[str, Any]] = []
    for name, module in _chain(network):
        if isinstance(module, nn.Linear | nn.Conv2d):
            if found and "neuron" not in found[-1]:
                raise ArgumentError(
                    f"{name} follows {found[-1]['name']} without neurons between them; currents "
                    "that are no spikes do not enter the next layer"
                )
            found.append({"name": name, "weights": module, "pool": None, "spike_pool": None})
        elif not found:
            raise ArgumentError(
                f"{name} ({_kind(module)}) stands before the first layer of weights"
            )
        elif isinstance(module, nn.MaxPool2d):
            key = "spike_pool" if "neuron" in found[-1] else "pool"
            if found[-1][key] is not None:
                raise ArgumentError(f"{name} pools what is pooled already")
            found[-1][key] = module
        elif "neuron" in found[-1]:
            raise ArgumentError(f"{name} ({_kind(module)}) stands behind other neurons")
        else:
            _check_neuron(name, module)
            found[-1] |= {"neuron_name": name, "neuron": module}
    if not found or "neuron" not in found[-1]:
        raise ArgumentError(
            f"{_kind(network)} does not end in spiking neurons; its last layer needs them"
        )
    return tuple(Stage(**entry) for entry in found)


def _chain(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules in order, with their names, without those that pass values on."""
    names = {module: name for name, module in network.named_modules()}
    chained: Any = network
    chain = chained.chain() if hasattr(network, "chain") else network
    if not isinstance(chain, nn.Sequential):
        raise ArgumentError(
            f"{_kind(network)} is no chain of layers; give a SpikingSequential, an nn.Sequential, "
            "or a network whose chain() returns one"
        )
    pending: list[nn.Module] = [chain]
    while pending:
        module = pending.pop(0)
        if isinstance(module, nn.Sequential):
            pending = [*module, *pending]
        elif isinstance(module, nn.Flatten):
            if (module.start_dim, module.end_dim) != (1, -1):
                raise ArgumentError(f"{names[module]} flattens part of the axes; flatten all")
        elif isinstance(module, nn.Linear | nn.Conv2d | nn.MaxPool2d) or is_spiking(module):
            yield names.get(module, _kind(module)), module
        elif not isinstance(module, _FREE):
            raise ArgumentError(
                f"{names.get(module, '')} ({_kind(module)}) has no place on this datapath; it "
                "takes Linear, Conv2d, MaxPool2d and neurons. Fold a normalisation into the "
                "weights before it"
            )


def _check_neuron(name: str, neuron: Any) -> None:
    dynamics = dynamics_of(neuron)
    first_order = hasattr(neuron, "one_membrane") or is_snntorchs(neuron, "Leaky")
    is_plain = (
        dynamics is not None
        and first_order
        and not dynamics.sequence
        and not dynamics.adds
        and dynamics.states <= 1
        and dynamics.compares == 1
        and neuron.reset_mechanism in ("subtract", "none")
        and getattr(neuron, "reset_delay", True)
        and not getattr(neuron, "state_quant", False)
        and bool((neuron.graded_spikes_factor == 1).all())
        and not any(True for _ in neuron.children())
        and not hasattr(neuron, "V")
    )
    if not is_plain:
        raise ArgumentError(
            f"{name} ({_kind(neuron)}) has no place on this datapath; its neurons keep one "
            "membrane, which a spike lowers by the threshold or leaves alone"
        )
    if not _forgets(neuron) and bool((_beta(neuron) != 1).any()):
        raise ArgumentError(
            f"{name} leaks with beta = {_beta(neuron).flatten()[0].item():g}; this datapath "
            "integrates (beta = 1) or clears the membrane at every step"
        )
    if _spikes_at(neuron, -1.0) != 0 or _spikes_at(neuron, 1.0) != 1:
        raise ArgumentError(f"{name}: its spike function is no step at the threshold")


def _forgets(neuron: Any) -> bool:
    """Whether nothing is kept from step to step."""
    dynamics = dynamics_of(neuron)
    return dynamics is not None and dynamics.states == 0


def _beta(neuron: Any) -> Tensor:
    return torch.as_tensor(getattr(neuron, "beta", 1.0)).detach().clamp(0, 1)


def _spikes_at(neuron: Any, shifted: float) -> float:
    with torch.no_grad():
        return float(neuron.spike_grad(torch.tensor([shifted])))


def _kind(module: nn.Module) -> str:
    return type(module).__name__
