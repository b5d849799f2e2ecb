"""Recurrent second-order leaky integrate-and-fire neuron, after snnTorch's."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from snnplug.neurons.base import SpikeFunction, State, shown
from snnplug.neurons.lif import StateQuant
from snnplug.neurons.recurrent import RecurrentLIF


class RSynaptic(RecurrentLIF):
    r"""Neuron whose synaptic current hears its own spikes: ``snntorch.RSynaptic``, and sequences.

    With :math:`r[t] = \mathbb{1}[u[t-1] > \theta]`, the reset that is due:

    .. math::
        i[t] & = \alpha\, i[t-1] + I[t] + V(s[t-1]) \\
        a[t] & = \beta\, u[t-1] + i[t] \\
        \text{subtract:}\quad u[t] & = a[t] - r[t]\, \theta \\
        \text{zero:}\quad u[t] & = (1 - r[t])\, a[t] \\
        \text{none:}\quad u[t] & = a[t] \\
        s[t] & = \mathbb{1}[u[t] > \theta]

    :math:`V` is a dense layer over the neurons (``linear_features``), a convolution that keeps the
    size of the feature map (``conv2d_channels`` and ``kernel_size``), or without ``all_to_all`` a
    factor per neuron or for all. "zero" drops the whole update of the membrane, the input of that
    step with it; the synaptic current is never reset. With ``reset_delay=False`` the reset acts in
    the step of the spike: after :math:`s[t]` the membrane loses :math:`(s[t] - r[t])` times
    :math:`\theta` (subtract) or :math:`u[t]` (zero). What stays above the threshold all the same is
    compared, in the next step, as if it were reset once more.

    Backward: :math:`\partial s[t] / \partial u[t] = g(u[t] - \theta)` of ``spike_grad``, also
    through :math:`V`; ``detach_reset=True`` takes :math:`r[t]` as a constant,
    ``detach_reset=False`` gives it the same :math:`g`. The part of the reset that
    ``reset_delay=False`` brings forward always passes the gradient, as in snnTorch. Learned decays
    outside [0, 1] get no gradient.

    Args:
        alpha: :math:`\alpha`, factor kept of the synaptic current per step, clamped to [0, 1]; a
            scalar, or a tensor that broadcasts, such as one value per neuron.
        beta: :math:`\beta`, factor kept of the membrane per step; likewise.
        V: Weight from each neuron to itself; used without ``all_to_all``. A scalar, or a tensor
            that broadcasts.
        all_to_all: Connect all neurons, by ``recurrent``; False connects each to itself, by ``V``.
        linear_features: Neurons of the layer, for dense weights.
        conv2d_channels: Channels of the layer, for convolutional weights.
        kernel_size: Kernel of those, in pixels.
        threshold: :math:`\theta`, in units of the membrane; a scalar, or a tensor that broadcasts.
        spike_grad: Spike function, called with ``mem - threshold``; None is ``Atan()``, alpha 2.
        surrogate_disable: Spike without any gradient, whatever ``spike_grad`` is.
        init_hidden: Keep the state in the module, as in a ``nn.Sequential``.
        inhibition: Let only the neuron furthest above its threshold spike; for ``(B, N)``.
        learn_alpha: Make ``alpha`` a parameter.
        learn_beta: Make ``beta`` a parameter.
        learn_threshold: Make the threshold a parameter.
        learn_recurrent: Learn the recurrent weights.
        reset_mechanism: ``"subtract"``, ``"zero"`` or ``"none"``.
        state_quant: Function that quantises both states after each update, or False.
        output: With ``init_hidden``, return ``(spk, syn, mem)``.
        reset_delay: Reset one step after the spike; False resets in the step of the spike.
        detach_reset: Let no gradient through the delayed reset, as snnTorch does.

    Shape:
        - one step: current, ``spk``, ``syn`` and ``mem`` ``(B, *)`` → spikes, ``syn`` and ``mem``
          ``(B, *)``; ``*`` is ``linear_features``, or ``(conv2d_channels, H, W)``, or anything
          without ``all_to_all``
        - :meth:`run`: current ``(T, B, *)`` → spikes ``(T, B, *)`` and ``(spk, syn, mem)`` of the
          last step

    Raises:
        ArgumentError: Not exactly one kind of recurrent weights is given, the reset mechanism is
            another one, ``state_quant`` is no function, or inhibition meets an input that is not
            ``(B, N)``.

    Hardware: as ``Synaptic``; the recurrent weights are a layer of their own, ``….recurrent`` or,
    one to one, ``….V``, read by the spikes of the step before.

    Example:
        >>> import torch
        >>> neuron = RSynaptic(alpha=0.5, beta=0.5, V=-0.5, all_to_all=False)
        >>> spk, (last, syn, mem) = neuron.run(torch.full((5, 1, 1), 0.8))
        >>> spk.flatten().tolist()
        [0.0, 1.0, 0.0, 1.0, 0.0]

    Reference:
        J. K. Eshraghian et al., "Training spiking neural networks using lessons from deep
        learning", Proc. IEEE 2023, and ``snntorch.RSynaptic`` 1.0.0, whose spikes this gives bit
        for bit. Deviations: ``reset_delay=False`` works, with the rule above (there it raises, or
        resets the state that was passed in); ``detach_reset`` is free; parameters are copies in
        the default dtype and follow the dtype of the input, a fixed ``V`` also the module's
        device; ``V`` is saved once, and is ``neuron.V`` without a ``recurrent`` module; kernels may
        have an even size; without state arguments a step starts from rest; ``state_quant`` is
        applied to the membrane once per step, not twice; loading a checkpoint restores its reset
        mechanism; wrong arguments raise ``ArgumentError``.
    """

    state_names: ClassVar[tuple[str, ...]] = ("spk", "syn", "mem")
    one_membrane: ClassVar[bool] = False
    decays: ClassVar[tuple[str, ...] | None] = ("beta", "alpha")

    def __init__(
        self,
        alpha: float | Tensor,
        beta: float | Tensor,
        V: float | Tensor = 1.0,  # noqa: N803  # snnTorch's name
        all_to_all: bool = True,
        linear_features: int | None = None,
        conv2d_channels: int | None = None,
        kernel_size: int | tuple[int, int] | None = None,
        threshold: float | Tensor = 1.0,
        spike_grad: SpikeFunction | None = None,
        surrogate_disable: bool = False,
        init_hidden: bool = False,
        inhibition: bool = False,
        learn_alpha: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        learn_recurrent: bool = True,
        reset_mechanism: str = "subtract",
        state_quant: StateQuant = False,
        output: bool = False,
        reset_delay: bool = True,
        detach_reset: bool = True,
    ) -> None:
        super().__init__(
            V=V,
            all_to_all=all_to_all,
            linear_features=linear_features,
            conv2d_channels=conv2d_channels,
            kernel_size=kernel_size,
            learn_recurrent=learn_recurrent,
            beta=beta,
            threshold=threshold,
            spike_grad=spike_grad,
            surrogate_disable=surrogate_disable,
            init_hidden=init_hidden,
            inhibition=inhibition,
            learn_beta=learn_beta,
            learn_threshold=learn_threshold,
            reset_mechanism=reset_mechanism,
            state_quant=state_quant,
            output=output,
            reset_delay=reset_delay,
            detach_reset=detach_reset,
        )
        self._keep("alpha", alpha, learn_alpha)

    def init_rsynaptic(self) -> Tensor | State:
        """Return :meth:`reset_mem`, by snnTorch's older name."""
        return self.reset_mem()

    def _integrate(
        self, cur: Tensor, state: State, reset: Tensor | None, threshold: Tensor
    ) -> State:
        spk, syn, mem = state
        syn = self._decay(self.alpha, cur) * syn + cur + self._recur(spk)
        return syn, self._reset(self._decay(self.beta, cur) * mem + syn, reset, threshold)

    def extra_repr(self) -> str:
        """Add the second decay."""
        return f"alpha={shown(self.alpha)}, {super().extra_repr()}"
