"""Second-order leaky integrate-and-fire neuron, after snnTorch's."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from snnplug.neurons.base import SpikeFunction, State, shown
from snnplug.neurons.lif import LIF, StateQuant


class Synaptic(LIF):
    r"""Neuron with a synaptic current: ``snntorch.Synaptic`` that also takes whole sequences.

    With :math:`r[t] = \mathbb{1}[u[t-1] > \theta]`, the reset that is due:

    .. math::
        i[t] & = \alpha\, i[t-1] + I[t] \\
        \text{subtract:}\quad u[t] & = \beta\, u[t-1] + i[t] - r[t]\, \theta \\
        \text{zero:}\quad u[t] & = (1 - r[t])\, (\beta\, u[t-1] + i[t]) \\
        \text{none:}\quad u[t] & = \beta\, u[t-1] + i[t] \\
        s[t] & = \mathbb{1}[u[t] > \theta]

    "zero" drops the whole update of the membrane, the input of that step with it; the synaptic
    current is never reset. With ``reset_delay=False`` the reset acts in the step of the spike:
    after :math:`s[t]` the membrane loses :math:`(s[t] - r[t])` times :math:`\theta` (subtract) or
    :math:`u[t]` (zero). What stays above the threshold all the same is compared, in the next step,
    as if it were reset once more.

    Backward: :math:`\partial s[t] / \partial u[t] = g(u[t] - \theta)` of ``spike_grad``;
    ``detach_reset=True`` takes :math:`r[t]` as a constant, ``detach_reset=False`` gives it the same
    :math:`g`. The part of the reset that ``reset_delay=False`` brings forward always passes the
    gradient, as in snnTorch. Learned decays outside [0, 1] get no gradient.

    Args:
        alpha: :math:`\alpha`, factor kept of the synaptic current per step, clamped to [0, 1]; a
            scalar, or a tensor that broadcasts, such as one value per neuron.
        beta: :math:`\beta`, factor kept of the membrane per step; likewise.
        threshold: :math:`\theta`, in units of the membrane; a scalar, or a tensor that broadcasts.
        spike_grad: Spike function, called with ``mem - threshold``; None is ``Atan()``, alpha 2.
        surrogate_disable: Spike without any gradient, whatever ``spike_grad`` is.
        init_hidden: Keep the state in the module, as in a ``nn.Sequential``.
        inhibition: Let only the neuron furthest above its threshold spike; for ``(B, N)``.
        learn_alpha: Make ``alpha`` a parameter.
        learn_beta: Make ``beta`` a parameter.
        learn_threshold: Make the threshold a parameter.
        reset_mechanism: ``"subtract"``, ``"zero"`` or ``"none"``.
        state_quant: Function that quantises both states after each update, or False.
        output: With ``init_hidden``, return ``(spk, syn, mem)``.
        reset_delay: Reset one step after the spike; False resets in the step of the spike.
        detach_reset: Let no gradient through the delayed reset, as snnTorch does.

    Shape:
        - one step: current, ``syn`` and ``mem`` ``(B, *)`` → spikes, ``syn`` and ``mem`` ``(B, *)``
        - :meth:`run`: current ``(T, B, *)`` → spikes ``(T, B, *)`` and ``(syn, mem)``

    Raises:
        ArgumentError: The reset mechanism is another one, ``state_quant`` is no function, or
            inhibition meets an input that is not ``(B, N)``.

    Hardware: two states and two leaks per neuron and step, and the addition of the synaptic
    current to the membrane.

    Example:
        >>> import torch
        >>> neuron = Synaptic(alpha=0.5, beta=0.5)
        >>> spk, (syn, mem) = neuron.run(torch.full((4, 1, 1), 0.6))
        >>> spk.flatten().tolist()
        [0.0, 1.0, 0.0, 1.0]

    Reference:
        J. K. Eshraghian et al., "Training spiking neural networks using lessons from deep
        learning", Proc. IEEE 2023, and ``snntorch.Synaptic`` 1.0.0, whose spikes this gives bit for
        bit. Deviations: ``detach_reset`` is free; parameters are copies in the default dtype and
        follow the dtype of the input; without state arguments a step starts from rest;
        ``state_quant`` is applied to the membrane once per step, not twice; loading a checkpoint
        restores its reset mechanism; wrong arguments raise ``ArgumentError``.
    """

    state_names: ClassVar[tuple[str, ...]] = ("syn", "mem")
    one_membrane: ClassVar[bool] = False
    decays: ClassVar[tuple[str, ...] | None] = ("beta", "alpha")

    def __init__(
        self,
        alpha: float | Tensor,
        beta: float | Tensor,
        threshold: float | Tensor = 1.0,
        spike_grad: SpikeFunction | None = None,
        surrogate_disable: bool = False,
        init_hidden: bool = False,
        inhibition: bool = False,
        learn_alpha: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        reset_mechanism: str = "subtract",
        state_quant: StateQuant = False,
        output: bool = False,
        reset_delay: bool = True,
        detach_reset: bool = True,
    ) -> None:
        super().__init__(
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

    def init_synaptic(self) -> Tensor | State:
        """Return :meth:`reset_mem`, by snnTorch's older name."""
        return self.reset_mem()

    def _integrate(
        self, cur: Tensor, state: State, reset: Tensor | None, threshold: Tensor
    ) -> State:
        syn, mem = state
        syn = self._decay(self.alpha, cur) * syn + cur
        return syn, self._reset(self._decay(self.beta, cur) * mem + syn, reset, threshold)

    def extra_repr(self) -> str:
        """Add the second decay."""
        return f"alpha={shown(self.alpha)}, {super().extra_repr()}"
