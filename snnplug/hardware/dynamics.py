"""What a spiking neuron keeps and computes in each time step, read off its module."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import Any

import torch
from torch import nn

from snnplug.hardware.records import Leak


@dataclass(frozen=True)
class Dynamics:
    """Work of one neuron in one time step, beside its input.

    Attributes:
        states: Numbers kept from step to step; 0 for a neuron without memory.
        leaks: What the decay of each of them takes, the membrane's first.
        multiplies: Further multiplications.
        adds: Further additions.
        lookups: Values of a sigmoid or tanh.
        resets: Whether a spike changes the membrane.
        compares: Comparisons; 0 for a neuron that gives its membrane out.
        sequence: Whether it is called on ``(T, B, *)``, not on ``(B, *)``.
    """

    states: int = 1
    leaks: tuple[Leak, ...] = ("none",)
    multiplies: int = 0
    adds: int = 0
    lookups: int = 0
    resets: bool = True
    compares: int = 1
    sequence: bool = False


def is_spiking(module: nn.Module) -> bool:
    """Whether ``module`` is one of snnTorch's neurons or of ours."""
    kinds = [cls.__name__ for cls in type(module).__mro__]
    return "SpikingNeuron" in kinds or is_snntorchs(module, "LeakyParallel")


def dynamics_of(module: nn.Module) -> Dynamics | None:
    """Return what a neuron computes, or None if it is not known.

    Known are snnTorch's own classes, and of ours those with one membrane or a declaration of
    ``decays``. A class of your own that derives from one of snnTorch's may compute anything and is
    not known.

    Args:
        module: A spiking neuron.

    Example:
        >>> from snnplug import ContinuousIF
        >>> dynamics_of(ContinuousIF(beta=0.875)).leaks
        ('shift',)
    """
    if hasattr(module, "one_membrane"):
        return _declared(module)
    if not type(module).__module__.startswith("snntorch."):
        return None
    build = _SNNTORCH.get(type(module).__name__)
    return None if build is None else build(module)


def leak_of(module: nn.Module, name: str = "beta") -> Leak:
    """Return what the leak of a neuron takes in hardware, from its decay factor.

    Args:
        module: The neuron.
        name: Which of its factors.
    """
    return leak_of_factor(getattr(module, name, 1.0))


def leak_of_factor(factor: Any) -> Leak:
    """Return what a decay by a factor, or by several, takes in hardware."""
    if isinstance(factor, float | int):
        factors = [min(max(float(factor), 0.0), 1.0)]
    else:
        factors = torch.unique(torch.as_tensor(factor).detach().clamp(0, 1).double()).tolist()
    lost = {1.0 - b for b in factors}
    if all(x in (0.0, 1.0) for x in lost):
        return "none"
    # beta = 1 - 2**-k is a shift and a subtraction.
    return "shift" if all(x in (0.0, 1.0) or log2(x).is_integer() for x in lost) else "multiply"


def _declared(module: Any) -> Dynamics | None:
    """Read what one of our neurons declares."""
    decays = getattr(module, "decays", None)
    if decays is None and not module.one_membrane:
        return None
    names: tuple[str, ...] = ("beta",) if decays is None else decays
    states = [name for name in module.state_names if name != "spk"]
    return Dynamics(
        states=0 if _forgets(module) or not module.stateful else len(states),
        leaks=tuple(leak_of(module, name) for name in names),
        adds=len(states) - 1,
        resets=module.stateful and _resets(module),
        compares=1 + bool(getattr(module, "inhibition", False)),
    )


def _resets(module: Any) -> bool:
    return bool(module.reset_mechanism != "none")


def _compares(module: Any) -> int:
    """One with the threshold, and one to find the largest where only that one may spike."""
    return 1 + bool(module.inhibition)


def _forgets(module: Any) -> bool:
    """Whether a membrane decays to nothing in a step and no reset waits for the next."""
    if not getattr(module, "one_membrane", True):
        return False
    beta = torch.as_tensor(getattr(module, "beta", 1.0)).detach()
    return not _resets(module) and bool((beta <= 0).all())


def _first_order(module: Any) -> Dynamics:
    return Dynamics(
        states=0 if _forgets(module) else 1,
        leaks=(leak_of(module),),
        resets=_resets(module),
        compares=_compares(module),
    )


def _second_order(module: Any) -> Dynamics:
    return Dynamics(
        states=2,
        leaks=(leak_of(module), leak_of(module, "alpha")),
        adds=1,  # the synaptic current onto the membrane
        resets=_resets(module),
        compares=_compares(module),
    )


def _alpha(module: Any) -> Dynamics:
    # Two currents decay; the membrane is their sum times a constant, kept for the reset.
    return Dynamics(
        states=3,
        leaks=("none", leak_of(module, "alpha"), leak_of(module)),
        multiplies=1,
        adds=2,
        resets=_resets(module),
        compares=_compares(module),
    )


def _lapicque(module: Any) -> Dynamics:
    step, capacity = (torch.as_tensor(v).detach() for v in (module.time_step, module.C))
    decay = 1 - step / (torch.as_tensor(module.R).detach() * capacity)
    scales = bool((step / capacity != 1).any())  # of the input current
    return Dynamics(
        leaks=(leak_of_factor(decay),),
        multiplies=int(scales),
        resets=_resets(module),
        compares=_compares(module),
    )


def _delta(module: Any) -> Dynamics:
    # Fires on the change of the membrane, so the one before is kept; no reset.
    return Dynamics(states=2, leaks=(leak_of(module), "none"), adds=1, resets=False)


def _state_leaky(module: Any) -> Dynamics:
    # What decays is exp(-1/tau), whatever beta was asked for.
    tau = torch.as_tensor(module.tau).detach()
    return Dynamics(
        leaks=(leak_of_factor(torch.exp(-1 / tau)),),
        resets=False,
        compares=int(bool(module.output)),
        sequence=True,
    )


def _parallel(module: Any) -> Dynamics | None:
    weight = module.rnn.weight_hh_l0.detach()
    if bool((weight - torch.diag(weight.diagonal()) != 0).any()):
        return None  # full recurrent weights on membranes that are not seen
    # A rectified membrane: compared with 0, and then with the threshold.
    return Dynamics(
        leaks=(leak_of_factor(weight.diagonal()),), resets=False, compares=2, sequence=True
    )


def _lstm(module: Any) -> Dynamics:
    # c' = f c + i g, h = o tanh(c'): sigmoid of i, f, o; tanh of g and c'.
    return Dynamics(
        states=2,
        leaks=("none", "none"),
        multiplies=3,
        adds=1 + bool(getattr(module, "avg_pool", 0)),
        lookups=5,
        resets=_resets(module),
        compares=_compares(module) + bool(getattr(module, "max_pool", 0)),
    )


_SNNTORCH = {
    "Leaky": _first_order,
    "RLeaky": _first_order,
    "Lapicque": _lapicque,
    "Synaptic": _second_order,
    "RSynaptic": _second_order,
    "Alpha": _alpha,
    "DeltaLeaky": _delta,
    "StateLeaky": _state_leaky,
    "LinearLeaky": _state_leaky,
    "LeakyParallel": _parallel,
    "SLSTM": _lstm,
    "SConv2dLSTM": _lstm,
}


def is_snntorchs(module: nn.Module, name: str) -> bool:
    """Whether a module is of snnTorch's class of that name, and not of one derived from it."""
    return type(module).__name__ == name and type(module).__module__.startswith("snntorch.")
