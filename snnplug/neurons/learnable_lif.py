"""The neuron of DIET-SNN and HYPER-SNN: leak and threshold are learned with the weights."""

from __future__ import annotations

import torch
from torch import Tensor

from snnplug.errors import ArgumentError
from snnplug.kernels.dynamics import Dynamics
from snnplug.kernels.lif import lif
from snnplug.neurons.base import SequenceNeuron, SpikeFunction, State, shown
from snnplug.surrogate import Triangular


class LearnableLIF(SequenceNeuron):
    r"""Leaky neuron that learns how much it keeps and how high its threshold is.

    .. math::
        a[t] & = \lambda\, u[t-1] + I[t], \qquad z[t] = a[t] / \theta - 1 \\
        s[t] & = \mathbb{1}[z[t] > 0], \qquad u[t] = a[t] - \theta\, s[t]

    The reset acts in the step of the spike, so the leak acts on what is left after it. With
    ``reset_delay=True`` it acts one step later, as in :class:`~snnplug.neurons.leaky.Leaky`, and a
    sequence takes one native pass:

    .. math::
        u[t] = \lambda\, u[t-1] + I[t] - \theta\, s[t-1], \qquad s[t] = \mathbb{1}[u[t] > \theta]

    The membrane is kept as :math:`u / \theta`, in units of the threshold: the same neuron with the
    same gradients, in which :math:`\theta` only divides the current.

    Backward: :math:`\partial s / \partial z = g(z)` of ``spike_grad``, so with a constant state
    before the step the threshold learns by
    :math:`\partial s[t] / \partial \theta = -g(z)\, I[t] / \theta^2` and the leak by
    :math:`\partial s[t] / \partial \lambda = g(z)\, u[t-1] / \theta`. In the reset
    :math:`\theta` passes the gradient and the spike does not; with ``detach_reset=False`` the
    spike does too.

    Args:
        beta: :math:`\lambda`, factor kept of the membrane per step; not clamped. A scalar, or a
            tensor that broadcasts, such as one value per neuron.
        threshold: :math:`\theta > 0`, in units of the current; likewise.
        spike_grad: Spike function, called with :math:`z`; None is ``Triangular()``, height 0.3.
        detach_reset: Let no gradient through the spike of the reset.
        init_hidden: Keep the membrane in the module, as in a ``nn.Sequential``.
        output: With ``init_hidden``, return ``(spk, mem)``.
        learn_beta: Make ``beta`` a parameter.
        learn_threshold: Make the threshold a parameter.
        reset_mechanism: ``"subtract"``, or ``"none"`` to integrate without a reset.
        reset_delay: Reset one step after the spike; False resets in the step of the spike.

    Shape:
        - one step: current and membrane ``(B, *)`` → spikes and membrane ``(B, *)``
        - :meth:`run`: current ``(T, B, *)`` → spikes ``(T, B, *)`` and ``(mem,)`` with ``(B, *)``

    Raises:
        ArgumentError: The threshold is not positive, or the reset mechanism is another one.

    Hardware: a membrane is read and written once per neuron and step; one leak, one addition and
    one comparison per neuron and step, one subtraction per spike.

    Example:
        >>> import torch
        >>> neuron = LearnableLIF(beta=0.5)
        >>> spk, (mem,) = neuron.run(torch.full((4, 1, 1), 0.8))
        >>> spk.flatten().tolist()
        [0.0, 1.0, 0.0, 1.0]
        >>> [name for name, _ in neuron.named_parameters()]
        ['threshold', 'beta']

    Reference:
        N. Rathi, K. Roy, "DIET-SNN: direct input encoding with leakage and threshold optimization
        in deep spiking neural networks", arXiv:2008.03658, whose code has the immediate reset; the
        neurons of G. Datta et al., "HYPER-SNN" and "ACE-SNN", follow it. Deviations:
        ``reset_delay=True`` is free; the membrane is in units of the threshold; values per neuron
        are free, theirs are one per layer; ``beta`` and ``threshold`` start at 1, theirs at values
        taken from a trained network without spikes; their output layer only sums its current, for
        which a network needs no neuron.
    """

    def __init__(
        self,
        beta: float | Tensor = 1.0,
        threshold: float | Tensor = 1.0,
        spike_grad: SpikeFunction | None = None,
        detach_reset: bool = True,
        init_hidden: bool = False,
        output: bool = False,
        learn_beta: bool = True,
        learn_threshold: bool = True,
        reset_mechanism: str = "subtract",
        reset_delay: bool = False,
    ) -> None:
        if not bool((torch.as_tensor(threshold) > 0).all()):
            raise ArgumentError(
                f"threshold is {threshold}; it divides the current: give one above 0"
            )
        super().__init__(
            threshold=threshold,
            spike_grad=Triangular() if spike_grad is None else spike_grad,
            init_hidden=init_hidden,
            output=output,
            learn_threshold=learn_threshold,
            reset_mechanism=reset_mechanism,
        )
        self._keep("beta", beta, learn_beta)
        self.detach_reset = detach_reset
        self.reset_delay = reset_delay

    def step(self, cur: Tensor, state: State) -> tuple[Tensor, State]:
        """Integrate, reset and fire, or fire and reset."""
        (mem,) = state
        resets = self._reset_mechanism == "subtract"
        after = self.beta.to(cur.dtype) * mem + cur / self.threshold.to(cur.dtype)
        if resets and self.reset_delay:
            after = after - self._passed(self._spike(mem - 1))
        spk = self._spike(after - 1)
        if resets and not self.reset_delay:
            after = after - self._passed(spk)
        return spk, (after,)

    def sequence(self, cur: Tensor, state: State) -> tuple[Tensor, State]:
        """Take all steps in one operator, where its equation is that of this neuron."""
        delayed = self.reset_delay or self._reset_mechanism == "none"
        if not delayed or self.beta.dim() > max(cur.dim() - 2, 0):
            return super().sequence(cur, state)
        # Two: scan refuses one tensor that comes in twice.
        one, also = cur.new_ones(()), cur.new_ones(())
        dynamics = Dynamics(self._reset_mechanism, self.spike_grad, self.detach_reset)
        scaled = cur / self.threshold.to(cur.dtype)
        spk, mem = lif(scaled, state[0], self.beta, one, also, dynamics)
        return spk, (mem,)

    def _passed(self, spk: Tensor) -> Tensor:
        """Return the spike as the reset takes it."""
        return spk.detach() if self.detach_reset else spk

    def extra_repr(self) -> str:
        """Add the arguments of this neuron."""
        return (
            f"{super().extra_repr()}, beta={shown(self.beta)}, reset_delay={self.reset_delay}, "
            f"detach_reset={self.detach_reset}"
        )
