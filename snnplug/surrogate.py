"""Spike functions: a hard step in the forward pass, a chosen derivative in the backward pass.

A surrogate is a frozen dataclass: comparable, printable, picklable, and named in a recipe by its
class and arguments. It is called with ``mem - threshold``, as snnTorch calls its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from snnplug.errors import ArgumentError


class Surrogate(ABC):
    r"""A step function with a derivative of its own.

    .. math::
        S(x) = \mathbb{1}[x > 0], \qquad
        \frac{\partial S}{\partial x} := g(x)

    Written as ``step(x) + g(x) * (x - x)`` with every ``x`` but one detached: the value is the
    step to the last bit and the gradient is :math:`g(x)`, with nothing but elementary operations.
    That form survives ``torch.export``, ONNX, ``torch.func`` and compilers that ignore
    ``torch.autograd.Function``, and keeps the input's dtype. The input must be finite.
    """

    inclusive: bool = False

    @abstractmethod
    def derivative(self, x: Tensor) -> Tensor:
        """Return :math:`g(x)`, elementwise, in the dtype of ``x``."""

    def step(self, x: Tensor) -> Tensor:
        """Return the spike, exactly 0 or 1, without a gradient."""
        return ((x >= 0) if self.inclusive else (x > 0)).to(x.dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the spike with the surrogate gradient attached."""
        if not torch.is_grad_enabled():
            return self.step(x)
        fixed = x.detach()
        return self.step(fixed) + self.derivative(fixed) * (x - fixed)


@dataclass(frozen=True)
class HardFire(Surrogate):
    r"""Hard threshold whose gradient is a box as wide as the threshold is high.

    .. math::
        S(x) = \mathbb{1}[x > 0], \qquad
        g(x) = \frac{1}{2w}\,\mathbb{1}[\,|x| < w\,]

    with :math:`x = u - \theta`. The box has area 1: it is the derivative of the hard sigmoid
    :math:`\mathrm{clip}((x / w + 1) / 2, 0, 1)`. For :math:`w = \theta = 1` it is the
    straight-through estimator of Yin et al.: gradient 0.5 for membranes between 0 and 2.

    Args:
        width: Half width :math:`w` of the box, in units of the membrane.
        inclusive: Fire at ``x >= 0`` instead of ``x > 0``, as the comparator of the chip does.

    Shape:
        - input: any; output: the same shape and dtype.

    Raises:
        ArgumentError: ``width`` is not positive.

    Hardware: its spikes are binary, so each costs one accumulation per synapse it reaches.

    Example:
        >>> x = torch.tensor([-1.1, -1.0, -0.5, 0.0, 0.5, 1.0, 1.1], requires_grad=True)
        >>> spk = HardFire()(x)
        >>> spk.tolist()
        [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
        >>> spk.sum().backward()
        >>> x.grad.tolist()
        [0.0, 0.0, 0.5, 0.5, 0.5, 0.0, 0.0]

    Reference:
        S. Yin et al., "Algorithm and hardware design of discrete-time spiking neural networks based
        on back propagation with binary activations", BioCAS 2017. Deviation: the width is free; the
        authors' is 1. Their simulator of the chip fires at ``>=``; here that is ``inclusive``.
    """

    width: float = 1.0
    inclusive: bool = False

    def __post_init__(self) -> None:
        """Check the width."""
        if not self.width > 0:
            raise ArgumentError(
                f"width is {self.width}; HardFire needs a positive half width (the authors' is 1.0)"
            )

    def derivative(self, x: Tensor) -> Tensor:
        """Return ``1 / (2 * width)`` inside the box, 0 on and outside its edges."""
        return (x.abs() < self.width).to(x.dtype) * (0.5 / self.width)
