"""Spike functions: a hard step in the forward pass, a chosen derivative in the backward pass.

A surrogate is a frozen dataclass: comparable, printable, picklable, and named in a recipe by its
class and arguments. It is called with ``mem - threshold``, as snnTorch calls its own.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from snnplug.errors import ArgumentError, MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Surrogate(ABC):
    r"""A step function with a derivative of its own.

    .. math::
        S(x) = \mathbb{1}[x > 0], \qquad
        \frac{\partial S}{\partial x} := g(x)

    Written as ``step(x) + g(x) * (x - x)`` with every ``x`` but one detached: the value is the
    step to the last bit and the gradient is :math:`g(x)`, with nothing but elementary operations.
    That form survives ``torch.export``, ONNX, ``torch.func`` and compilers that ignore
    ``torch.autograd.Function``, and keeps the input's dtype. Where the input is not finite, the
    spike is the step all the same; an infinite one passes no gradient.

    Attributes:
        kind: Name of the equation, for a kernel that has its own copy of it. It is "custom", which
            no kernel knows, for a class with a ``derivative`` or ``step`` of its own and no name.
        inclusive: Whether a spike is fired at ``x >= 0`` instead of ``x > 0``.
    """

    kind: ClassVar[str] = "custom"
    inclusive: bool = False

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Drop an inherited ``kind`` that no longer names the equation."""
        super().__init_subclass__(**kwargs)
        if "kind" not in vars(cls) and vars(cls).keys() & {"derivative", "step", "__call__"}:
            cls.kind = "custom"

    def __post_init__(self) -> None:
        """Refuse a parameter that is not positive and finite."""
        for name, value in vars(self).items():
            if name != "inclusive" and not 0 < value < math.inf:
                owner = type(self).__name__
                raise ArgumentError(f"{name} is {value}; {owner} needs a positive, finite {name}")

    @abstractmethod
    def derivative(self, x: Tensor) -> Tensor:
        """Return :math:`g(x)`, elementwise, in the dtype of ``x``; finite for every finite x."""

    def parameters(self) -> tuple[float, ...]:
        """Return the numbers in the equation, in the order of the constructor."""
        return tuple(float(value) for name, value in vars(self).items() if name != "inclusive")

    def step(self, x: Tensor) -> Tensor:
        """Return the spike, exactly 0 or 1, without a gradient."""
        return ((x >= 0) if self.inclusive else (x > 0)).to(x.dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the spike with the surrogate gradient attached."""
        if not torch.is_grad_enabled():
            return self.step(x)
        fixed = x.detach()
        none = x - fixed  # 0, or NaN where x is not finite
        return self.step(fixed) + (self.derivative(fixed) * none).masked_fill(none != 0, 0)

    def plot(self, ax: Axes | None = None, span: float = 2.0) -> Axes:
        """Draw the spike and the derivative over ``mem - threshold``.

        Args:
            ax: Where to draw; None opens a new figure.
            span: Draws from ``-span`` to ``span``, in units of the membrane.

        Returns:
            The axes that were drawn on.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        if ax is None:
            try:
                from matplotlib import pyplot
            except ModuleNotFoundError as error:
                raise MissingExtraError(
                    "Surrogate.plot needs matplotlib; run pip install 'snnplug[viz]'"
                ) from error
            ax = pyplot.figure().add_subplot()
        x = span / 1000 * torch.arange(-1000, 1001, dtype=torch.float64)
        ax.plot(x.tolist(), self.step(x).tolist(), label="spike")
        ax.plot(x.tolist(), self.derivative(x).tolist(), label="derivative")
        ax.set(xlabel="mem - threshold", title=repr(self))
        ax.legend()
        return ax


@dataclass(frozen=True)
class HardFire(Surrogate):
    r"""Hard threshold whose gradient is a box as wide as the threshold is high.

    .. math::
        S(x) = \mathbb{1}[x > 0], \qquad
        g(x) = \frac{1}{2w}\,\mathbb{1}[\,|x| < w\,]

    with :math:`x = u - \theta`. The box has area 1: it is the derivative of the hard sigmoid
    :math:`\mathrm{clip}((x / w + 1) / 2, 0, 1)`. For :math:`w = \theta = 1` it is the
    straight-through estimator of Yin et al.: gradient 0.5 for membranes between 0 and 2.
    :class:`Rectangular` is the same box, given by its full width.

    Args:
        width: Half width :math:`w` of the box, in units of the membrane.
        inclusive: Fire at ``x >= 0`` instead of ``x > 0``, as the comparator of the chip does.

    Shape:
        - input: any; output: the same shape and dtype.

    Raises:
        ArgumentError: ``width`` is not positive and finite.

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

    kind: ClassVar[str] = "hard_fire"
    width: float = 1.0
    inclusive: bool = False

    def derivative(self, x: Tensor) -> Tensor:
        """Return ``1 / (2 * width)`` inside the box, 0 on and outside its edges."""
        return (x.abs() < self.width).to(x.dtype) * (0.5 / self.width)


@dataclass(frozen=True)
class StraightThrough(Surrogate):
    r"""Hard threshold that the gradient passes unchanged.

    .. math::
        S(x) = \mathbb{1}[x > 0], \qquad g(x) = 1

    Shape:
        - input: any; output: the same shape and dtype.

    Hardware: its spikes are binary, so each costs one accumulation per synapse it reaches.

    Example:
        >>> x = torch.tensor([-3.0, 0.5], requires_grad=True)
        >>> spk = StraightThrough()(x)
        >>> spk.sum().backward()
        >>> spk.tolist(), x.grad.tolist()
        ([0.0, 1.0], [1.0, 1.0])

    Reference:
        Y. Bengio, N. Leonard, A. Courville, "Estimating or propagating gradients through stochastic
        neurons for conditional computation", arXiv:1308.3432. Deviation: the neuron is not
        stochastic. snnTorch's ``straight_through_estimator`` is the same.
    """

    kind: ClassVar[str] = "straight_through"

    def derivative(self, x: Tensor) -> Tensor:
        """Return 1 everywhere."""
        return torch.ones_like(x)


@dataclass(frozen=True)
class Atan(Surrogate):
    r"""Hard threshold with the derivative of an arc tangent, snnTorch's default.

    .. math::
        S(x) = \mathbb{1}[x > 0], \qquad
        g(x) = \frac{\alpha / 2}{1 + (\frac{\pi}{2} \alpha x)^2}

    It has area 1: it is the derivative of :math:`\arctan(\frac{\pi}{2} \alpha x) / \pi`. Its tails
    fall with :math:`1 / x^2`, so a membrane far from the threshold still learns.

    Args:
        alpha: Twice the peak :math:`\alpha / 2`, per unit of the membrane.

    Shape:
        - input: any; output: the same shape and dtype.

    Raises:
        ArgumentError: ``alpha`` is not positive and finite.

    Hardware: its spikes are binary, so each costs one accumulation per synapse it reaches.

    Example:
        >>> x = torch.tensor([-1.0, 0.0, 1.0], requires_grad=True)
        >>> Atan()(x).sum().backward()
        >>> x.grad
        tensor([0.0920, 1.0000, 0.0920])

    Reference:
        W. Fang et al., "Incorporating learnable membrane time constant to enhance learning of
        spiking neural networks", ICCV 2021. Deviation: :math:`\alpha` is free; theirs is 2.
        snnTorch's ``atan`` is the same; its page prints another equation, with the peak
        :math:`1 / \pi`.
    """

    kind: ClassVar[str] = "atan"
    alpha: float = 2.0

    def derivative(self, x: Tensor) -> Tensor:
        """Return the bell of height ``alpha / 2``."""
        return self.alpha / 2 / (1 + (math.pi / 2 * self.alpha * x) ** 2)


@dataclass(frozen=True)
class FastSigmoid(Surrogate):
    r"""Hard threshold with the derivative of a fast sigmoid.

    .. math::
        S(x) = \mathbb{1}[x > 0], \qquad
        g(x) = \frac{1}{(1 + k |x|)^2}

    It is the derivative of :math:`x / (1 + k |x|)`. The peak is 1 for every :math:`k`, the area
    :math:`2 / k`. :class:`SparseFastSigmoid` is the same curve, cut off.

    Args:
        slope: :math:`k`, per unit of the membrane.

    Shape:
        - input: any; output: the same shape and dtype.

    Raises:
        ArgumentError: ``slope`` is not positive and finite.

    Hardware: its spikes are binary, so each costs one accumulation per synapse it reaches.

    Example:
        >>> x = torch.tensor([-0.1, 0.0, 0.1], requires_grad=True)
        >>> FastSigmoid()(x).sum().backward()
        >>> x.grad
        tensor([0.0816, 1.0000, 0.0816])

    Reference:
        F. Zenke, S. Ganguli, "SuperSpike: supervised learning in multilayer spiking neural
        networks", Neural Computation 30, 2018. Deviation: the default :math:`k` is that of
        snnTorch's ``fast_sigmoid``.
    """

    kind: ClassVar[str] = "fast_sigmoid"
    slope: float = 25.0

    def derivative(self, x: Tensor) -> Tensor:
        """Return the cusp of height 1."""
        return 1 / (self.slope * x.abs() + 1) ** 2


@dataclass(frozen=True)
class SparseFastSigmoid(Surrogate):
    r"""Hard threshold with the derivative of a fast sigmoid near the threshold, 0 elsewhere.

    .. math::
        S(x) = \mathbb{1}[x > 0], \qquad
        g(x) = \frac{1}{(1 + k |x|)^2}\, \mathbb{1}[\,|x| < B\,]

    A membrane far from the threshold gets no gradient at all, so a backward pass that skips zeros
    has less to do. With :math:`B` beyond every membrane it is :class:`FastSigmoid`.

    Args:
        slope: :math:`k`, per unit of the membrane.
        cutoff: :math:`B`, in units of the membrane.

    Shape:
        - input: any; output: the same shape and dtype.

    Raises:
        ArgumentError: ``slope`` or ``cutoff`` is not positive and finite.

    Hardware: its spikes are binary, so each costs one accumulation per synapse it reaches.

    Example:
        >>> x = torch.tensor([-0.3, -0.1, 0.1, 0.3], requires_grad=True)
        >>> SparseFastSigmoid()(x).sum().backward()
        >>> x.grad
        tensor([0.0000, 0.0816, 0.0816, 0.0000])

    Reference:
        N. Perez-Nieves, D. F. M. Goodman, "Sparse spiking gradient descent", NeurIPS 2021. The
        cutoff on both sides and its default are those of the authors' code. Deviation: their
        :math:`k` is 100. snnTorch's ``SFS`` has no upper cutoff, and its lower one is
        :math:`x > B` with :math:`B = 1`: no gradient below twice a threshold of 1.
    """

    kind: ClassVar[str] = "sparse_fast_sigmoid"
    slope: float = 25.0
    cutoff: float = 0.2

    def derivative(self, x: Tensor) -> Tensor:
        """Return the cusp of height 1 within the cutoff, 0 on and outside its edges."""
        distance = x.abs()
        return (distance < self.cutoff).to(x.dtype) / (self.slope * distance + 1) ** 2


@dataclass(frozen=True)
class Sigmoid(Surrogate):
    r"""Hard threshold with the derivative of a logistic function.

    .. math::
        S(x) = \mathbb{1}[x > 0], \qquad
        g(x) = k\, \sigma(k x)\, (1 - \sigma(k x)), \qquad \sigma(z) = \frac{1}{1 + e^{-z}}

    It has area 1 and the peak :math:`k / 4`: it is the derivative of :math:`\sigma(k x)`. Its tails
    fall exponentially.

    Args:
        slope: :math:`k`, per unit of the membrane.

    Shape:
        - input: any; output: the same shape and dtype.

    Raises:
        ArgumentError: ``slope`` is not positive and finite.

    Hardware: its spikes are binary, so each costs one accumulation per synapse it reaches.

    Example:
        >>> x = torch.tensor([-0.1, 0.0, 0.1], requires_grad=True)
        >>> Sigmoid()(x).sum().backward()
        >>> x.grad
        tensor([1.7526, 6.2500, 1.7526])

    Reference:
        Y. Wu et al., "Spatio-temporal backpropagation for training high-performance spiking neural
        networks", Frontiers in Neuroscience 12, 2018. Deviation: the default :math:`k` is that of
        snnTorch's ``sigmoid``, which overflows to NaN below :math:`x = -3.42` in float32 and
        :math:`-0.44` in float16.
    """

    kind: ClassVar[str] = "sigmoid"
    slope: float = 25.0

    def derivative(self, x: Tensor) -> Tensor:
        """Return the bell of height ``slope / 4``."""
        # On the left branch 1 - tail loses no digits and nothing overflows.
        tail = torch.sigmoid(-self.slope * x.abs())
        return self.slope * tail * (1 - tail)


@dataclass(frozen=True)
class Triangular(Surrogate):
    r"""Hard threshold with a triangle as its gradient.

    .. math::
        S(x) = \mathbb{1}[x > 0], \qquad
        g(x) = \gamma \max(0,\, 1 - |x| / w)

    The area is :math:`\gamma w`; with :math:`\gamma = 1 / w` it is 1.

    Args:
        height: Peak :math:`\gamma`, per unit of the membrane.
        width: Half width :math:`w` of the base, in units of the membrane.

    Shape:
        - input: any; output: the same shape and dtype.

    Raises:
        ArgumentError: ``height`` or ``width`` is not positive and finite.

    Hardware: its spikes are binary, so each costs one accumulation per synapse it reaches.

    Example:
        >>> x = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0], requires_grad=True)
        >>> Triangular()(x).sum().backward()
        >>> x.grad
        tensor([0.0000, 0.1500, 0.3000, 0.1500, 0.0000])

    Reference:
        N. Rathi, K. Roy, "DIET-SNN: direct input encoding with leakage and threshold optimization
        in deep spiking neural networks", arXiv:2008.03658, after G. Bellec et al., NeurIPS 2018.
        Deviation: the authors take the derivative with respect to :math:`u / \theta - 1`; for a
        threshold other than 1 theirs is ``Triangular(0.3 / threshold, threshold)``. snnTorch's
        ``triangular`` is no triangle: 1 below the threshold and -1 from there on.
    """

    kind: ClassVar[str] = "triangular"
    height: float = 0.3
    width: float = 1.0

    def derivative(self, x: Tensor) -> Tensor:
        """Return the triangle, 0 on and outside the ends of its base."""
        return self.height * (1 - x.abs() / self.width).clamp(min=0)


@dataclass(frozen=True)
class Rectangular(Surrogate):
    r"""Hard threshold with a box of area 1 as its gradient, given by its full width.

    .. math::
        S(x) = \mathbb{1}[x > 0], \qquad
        g(x) = \frac{1}{a}\,\mathbb{1}[\,|x| < a / 2\,]

    It is ``HardFire(width=a / 2)``, to the last bit.

    Args:
        width: Full width :math:`a` of the box, in units of the membrane.

    Shape:
        - input: any; output: the same shape and dtype.

    Raises:
        ArgumentError: ``width`` is not positive and finite.

    Hardware: its spikes are binary, so each costs one accumulation per synapse it reaches.

    Example:
        >>> x = torch.tensor([-0.5, -0.4, 0.4, 0.5], requires_grad=True)
        >>> Rectangular()(x).sum().backward()
        >>> x.grad.tolist()
        [0.0, 1.0, 1.0, 0.0]

    Reference:
        Y. Wu et al., "Spatio-temporal backpropagation for training high-performance spiking neural
        networks", Frontiers in Neuroscience 12, 2018. No deviation; the default is the width in the
        authors' code.
    """

    kind: ClassVar[str] = "rectangular"
    width: float = 1.0

    def derivative(self, x: Tensor) -> Tensor:
        """Return ``1 / width`` inside the box, 0 on and outside its edges."""
        return (x.abs() < self.width / 2).to(x.dtype) * (1 / self.width)


def _normal(x: Tensor, sigma: float) -> Tensor:
    """Return the density of a normal distribution with mean 0."""
    return torch.exp(-0.5 * (x / sigma) ** 2) * (1 / (sigma * math.sqrt(2 * math.pi)))


@dataclass(frozen=True)
class Gaussian(Surrogate):
    r"""Hard threshold with a normal density as its gradient.

    .. math::
        S(x) = \mathbb{1}[x > 0], \qquad
        g(x) = \mathcal{N}(x \mid 0, \sigma^2)
             = \frac{1}{\sigma \sqrt{2 \pi}}\, e^{-x^2 / 2 \sigma^2}

    It has area 1: it is the derivative of the normal distribution function. It is
    :class:`MultiGaussian` without the side lobes.

    Args:
        sigma: Standard deviation :math:`\sigma`, in units of the membrane.

    Shape:
        - input: any; output: the same shape and dtype.

    Raises:
        ArgumentError: ``sigma`` is not positive and finite.

    Hardware: its spikes are binary, so each costs one accumulation per synapse it reaches.

    Example:
        >>> x = torch.tensor([-0.5, 0.0, 0.5], requires_grad=True)
        >>> Gaussian()(x).sum().backward()
        >>> x.grad
        tensor([0.4839, 0.7979, 0.4839])

    Reference:
        Y. Wu et al., "Spatio-temporal backpropagation for training high-performance spiking neural
        networks", Frontiers in Neuroscience 12, 2018. Deviation: the default :math:`\sigma` is that
        of :class:`MultiGaussian`.
    """

    kind: ClassVar[str] = "gaussian"
    sigma: float = 0.5

    def derivative(self, x: Tensor) -> Tensor:
        """Return the bell of area 1."""
        return _normal(x, self.sigma)


@dataclass(frozen=True)
class MultiGaussian(Surrogate):
    r"""Hard threshold whose gradient is a bell with a negative lobe on either side.

    .. math::
        S(x) = \mathbb{1}[x > 0], \qquad
        g(x) = (1 + h)\, \mathcal{N}(x \mid 0, \sigma^2)
             - h\, \mathcal{N}(x \mid \sigma, (s \sigma)^2)
             - h\, \mathcal{N}(x \mid -\sigma, (s \sigma)^2)

    The area is :math:`1 - h`. As :math:`h` goes to 0 it becomes :class:`Gaussian`.

    Args:
        sigma: Standard deviation :math:`\sigma` of the bell, in units of the membrane.
        height: Weight :math:`h` of a lobe, dimensionless.
        scale: Standard deviation :math:`s` of a lobe, in units of :math:`\sigma`.

    Shape:
        - input: any; output: the same shape and dtype.

    Raises:
        ArgumentError: One of the three is not positive and finite.

    Hardware: its spikes are binary, so each costs one accumulation per synapse it reaches.

    Example:
        >>> x = torch.tensor([-1.5, 0.0, 1.5], requires_grad=True)
        >>> MultiGaussian()(x).sum().backward()
        >>> x.grad
        tensor([-0.0246,  0.8782, -0.0246])

    Reference:
        B. Yin, F. Corradi, S. M. Bohte, "Accurate and efficient time-domain classification with
        adaptive spiking recurrent neural networks", Nature Machine Intelligence 3, 2021. Deviation:
        the authors' code multiplies :math:`g` by 0.5.
    """

    kind: ClassVar[str] = "multi_gaussian"
    sigma: float = 0.5
    height: float = 0.15
    scale: float = 6.0

    def derivative(self, x: Tensor) -> Tensor:
        """Return the bell and its lobes; negative in the tails."""
        wide = self.scale * self.sigma
        lobes = _normal(x - self.sigma, wide) + _normal(x + self.sigma, wide)
        return (1 + self.height) * _normal(x, self.sigma) - self.height * lobes
