"""First-order leaky integrate-and-fire neuron, after snnTorch's."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from snnplug.kernels.dynamics import Dynamics
from snnplug.neurons.base import SpikeFunction, State
from snnplug.neurons.lif import LIF, StateQuant


class Leaky(LIF):
    r"""Leaky integrate-and-fire neuron: ``snntorch.Leaky`` that also takes whole sequences.

    With :math:`r[t] = \mathbb{1}[u[t-1] > \theta]`, the reset that is due:

    .. math::
        \text{subtract:}\quad & u[t] = \beta\, u[t-1] + I[t] - r[t]\, \theta \\
        \text{zero:}\quad & u[t] = \beta\, (1 - r[t])\, u[t-1] + I[t] \\
        \text{none:}\quad & u[t] = \beta\, u[t-1] + I[t] \\
        & s[t] = \gamma\, \mathbb{1}[u[t] > \theta]

    "zero" clears the membrane and keeps the input. With ``reset_delay=False`` the reset acts in
    the step of the spike: after :math:`s[t]` the membrane loses
    :math:`(\mathbb{1}[u[t] > \theta] - r[t])` times :math:`\theta` (subtract) or :math:`u[t]`
    (zero). What stays above the threshold all the same is compared, in the next step, as if it were
    reset once more.

    Backward: :math:`\partial s[t] / \partial u[t] = \gamma\, g(u[t] - \theta)` of ``spike_grad``;
    ``detach_reset=True`` takes :math:`r[t]` as a constant, ``detach_reset=False`` gives it the same
    :math:`g`, so that for "subtract", with :math:`\gamma = 1`,

    .. math::
        \frac{\partial s[t]}{\partial I[j]}
        = g_t \prod_{k=j}^{t-1} (\beta - \theta\, g_k).

    The part of the reset that ``reset_delay=False`` brings forward always passes the gradient, as
    in snnTorch. A learned :math:`\beta` outside [0, 1] gets no gradient.

    Args:
        beta: :math:`\beta`, factor kept of the membrane per step, clamped to [0, 1]; a scalar, or
            a tensor that broadcasts, such as one value per neuron.
        threshold: :math:`\theta`, in units of the membrane; a scalar, or a tensor that broadcasts.
        spike_grad: Spike function, called with ``mem - threshold``; None is ``Atan()``, alpha 2.
        surrogate_disable: Spike without any gradient, whatever ``spike_grad`` is.
        init_hidden: Keep the membrane in the module, as in a ``nn.Sequential``.
        inhibition: Let only the neuron furthest above its threshold spike; for ``(B, N)``.
        learn_beta: Make ``beta`` a parameter.
        learn_threshold: Make the threshold a parameter.
        reset_mechanism: ``"subtract"``, ``"zero"`` or ``"none"``.
        state_quant: Function that quantises the membrane after each update, or False.
        output: With ``init_hidden``, return ``(spk, mem)``.
        graded_spikes_factor: :math:`\gamma`, the height of a spike.
        learn_graded_spikes_factor: Make that factor a parameter.
        reset_delay: Reset one step after the spike; False resets in the step of the spike.
        detach_reset: Let no gradient through the delayed reset, as snnTorch does.

    Shape:
        - one step: current and membrane ``(B, *)`` → spikes and membrane ``(B, *)``
        - :meth:`run`: current ``(T, B, *)`` → spikes ``(T, B, *)`` and ``(mem,)`` with ``(B, *)``

    Raises:
        ArgumentError: The reset mechanism is another one, ``state_quant`` is no function, or
            inhibition meets an input that is not ``(B, N)``.

    Hardware: a membrane is read and written once per neuron and step; one leak (a shift for
    ``beta = 1 - 2**-k``), one addition and one comparison per neuron and step, one reset per spike.

    Example:
        >>> import torch
        >>> neuron = Leaky(beta=0.9)
        >>> spk, (mem,) = neuron.run(torch.full((5, 1, 1), 0.6))
        >>> spk.flatten().tolist()
        [0.0, 1.0, 0.0, 1.0, 0.0]

    Reference:
        J. K. Eshraghian et al., "Training spiking neural networks using lessons from deep
        learning", Proc. IEEE 2023, and ``snntorch.Leaky`` 1.0.0, whose spikes this gives bit for
        bit. Deviations: ``detach_reset`` is free; parameters are copies in the default dtype and
        follow the dtype of the input; without a state argument a step starts from rest; inhibited
        layers spike with the graded factor too, and a factor of 0 is no division by zero;
        ``state_quant`` is applied once per step, not twice; loading a checkpoint restores its
        reset mechanism; wrong arguments raise ``ArgumentError``.
    """

    def __init__(
        self,
        beta: float | Tensor,
        threshold: float | Tensor = 1.0,
        spike_grad: SpikeFunction | None = None,
        surrogate_disable: bool = False,
        init_hidden: bool = False,
        inhibition: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        reset_mechanism: str = "subtract",
        state_quant: StateQuant = False,
        output: bool = False,
        graded_spikes_factor: float | Tensor = 1.0,
        learn_graded_spikes_factor: bool = False,
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
            graded_spikes_factor=graded_spikes_factor,
            learn_graded_spikes_factor=learn_graded_spikes_factor,
        )

    def init_leaky(self) -> Tensor | State:
        """Return :meth:`reset_mem`, by snnTorch's older name."""
        return self.reset_mem()

    def _dynamics(self) -> Dynamics:
        """Return how the layer fires and resets; to zero, it keeps the input of that step."""
        dynamics = super()._dynamics()
        return replace(dynamics, reset="membrane") if dynamics.reset == "zero" else dynamics

    def _integrate(
        self, cur: Tensor, state: State, reset: Tensor | None, threshold: Tensor
    ) -> State:
        (mem,) = state
        beta = self._decay(self.beta, cur)
        if reset is not None and self._reset_mechanism == "zero":
            return (beta * ((1 - reset) * mem) + cur,)
        return (self._reset(beta * mem + cur, reset, threshold),)
