"""What the operators over a sequence need to know of a layer of neurons, beside its tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import pi, sqrt
from typing import NamedTuple

from torch import Tensor

from snnplug.surrogate import (
    Atan,
    FastSigmoid,
    Gaussian,
    HardFire,
    MultiGaussian,
    Rectangular,
    Sigmoid,
    SparseFastSigmoid,
    StraightThrough,
    Surrogate,
    Triangular,
)

#: The numbers of native/kernels.h. "zero" clears the whole update of a membrane, "membrane" clears
#: the membrane and keeps the input of that step.
RESETS = {"subtract": 0, "zero": 1, "none": 2, "membrane": 3}


@dataclass(frozen=True)
class Dynamics:
    """What does not change between calls.

    Attributes:
        reset: One of ``RESETS``.
        spike_grad: The spike function: one of snnplug's surrogates, or any other.
        detach_reset: Let no gradient through the reset.
        reset_delay: A spike resets the membrane in the next step; False: in its own.
    """

    reset: str
    spike_grad: Callable[[Tensor], Tensor]
    detach_reset: bool = True
    reset_delay: bool = True


class Parameters(NamedTuple):
    """The tensors of a layer; each of the first four broadcasts against its features.

    Attributes:
        beta: Factor kept of the membrane per step.
        threshold: In units of the membrane.
        alpha: Factor kept of the synaptic current, or None: first order.
        own: Weight from each neuron to itself, or None.
        graded: Height of a spike, 0-dimensional.
        weight: From all neurons to all, ``(features, features)``, or None.
        bias: Of that map, ``(features,)``, or None.
    """

    beta: Tensor
    threshold: Tensor
    graded: Tensor
    alpha: Tensor | None = None
    own: Tensor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None


class State(NamedTuple):
    """The state of a layer between two steps, ``(B, *features)`` each.

    Attributes:
        mem: The membrane.
        syn: The synaptic current; of second-order neurons.
        spk: The spikes of the step before; of neurons that hear them.
    """

    mem: Tensor
    syn: Tensor | None = None
    spk: Tensor | None = None


def _normal(sigma: float) -> tuple[float, float]:
    """Return the standard deviation of a normal density, and its peak."""
    return sigma, 1 / (sigma * sqrt(2 * pi))


#: For each surrogate its number in native/kernels.h, and the constants of its derivative there.
_NATIVE: dict[type[Surrogate], tuple[int, Callable[..., tuple[float, ...]]]] = {
    HardFire: (0, lambda width: (width, 0.5 / width)),
    Rectangular: (0, lambda width: (width / 2, 1 / width)),
    StraightThrough: (1, tuple),
    Atan: (2, lambda alpha: (alpha / 2, pi / 2 * alpha)),
    FastSigmoid: (3, lambda slope: (slope,)),
    SparseFastSigmoid: (4, lambda slope, cutoff: (slope, cutoff)),
    Triangular: (5, lambda height, width: (height, width)),
    Sigmoid: (6, lambda slope: (slope,)),
    Gaussian: (7, _normal),
    MultiGaussian: (
        8,
        lambda sigma, height, scale: (*_normal(sigma), *_normal(scale * sigma), height),
    ),
}
_BY_KIND = {surrogate.kind: surrogate for surrogate in _NATIVE}
_MOST_CONSTANTS = 5


def known(spike_grad: object) -> Surrogate | None:
    """Return the surrogate if its equation is one that the operators have, else None."""
    if not isinstance(spike_grad, Surrogate) or spike_grad.kind not in _BY_KIND:
        return None
    return spike_grad


def rebuilt(kind: str, parameters: list[float], inclusive: bool) -> Surrogate:
    """Return the surrogate that has this name and these numbers."""
    surrogate: Surrogate = _BY_KIND[kind](*parameters)
    return HardFire(surrogate.width, inclusive) if isinstance(surrogate, HardFire) else surrogate


@lru_cache
def native_surrogate(surrogate: Surrogate) -> tuple[int, tuple[float, ...]]:
    """Return the number of a surrogate in the native kernels, and its constants there."""
    number, constants = _NATIVE[type(surrogate)]
    values = constants(*surrogate.parameters())
    return number, (*values, *[0.0] * (_MOST_CONSTANTS - len(values)))
