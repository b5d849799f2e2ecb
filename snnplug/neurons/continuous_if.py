"""The neuron of SNN-CT: the membrane integrates over time and is reset by subtraction."""

from __future__ import annotations

import torch
from torch import Tensor

from snnplug.errors import ArgumentError
from snnplug.kernels.dynamics import Dynamics
from snnplug.kernels.lif import lif
from snnplug.neurons.base import SequenceNeuron, SpikeFunction, State


class ContinuousIF(SequenceNeuron):
    r"""Integrate-and-fire neuron whose gradient flows through the reset.

    .. math::
        u[t] = \beta\, u[t-1] + I[t] - \theta\, s[t-1], \qquad s[t] = \mathbb{1}[u[t] > \theta]

    Backward: with :math:`h_k = g(u[k] - \theta)` of ``spike_grad``, for :math:`\beta = \theta = 1`,

    .. math::
        \frac{\partial s[t]}{\partial I[j]} = h_t \prod_{k=j}^{t-1} (1 - h_k)

    so each step inside the surrogate's window halves what comes from earlier ones.
    ``snntorch.Leaky(beta=1)`` gives the same spikes, but detaches the reset; so does
    ``detach_reset=True``.

    There is no exponential leak. A bias in the layer before it, added at every step, is the linear
    leak that this neuron learns.

    Args:
        threshold: :math:`\theta`, in units of the membrane; a scalar, or a tensor that broadcasts.
        beta: Factor kept of the membrane per step, in [0, 1].
        spike_grad: Spike function, called with ``u - threshold``; None is ``HardFire()``.
        detach_reset: Let no gradient through the reset, as snnTorch does.
        init_hidden: Keep the membrane in the module, as in a ``nn.Sequential``.
        output: With ``init_hidden``, return ``(spk, mem)``.
        learn_threshold: Make the threshold a parameter.
        reset_mechanism: ``"subtract"``, or ``"none"`` to integrate without a reset.

    Shape:
        - one step: current and membrane ``(B, *)`` → spikes and membrane ``(B, *)``
        - :meth:`run`: current ``(T, B, *)`` → spikes ``(T, B, *)`` and ``(mem,)`` with ``(B, *)``

    Raises:
        ArgumentError: ``beta`` is outside [0, 1], or the reset mechanism is another one.

    Hardware: a membrane is read and written once per neuron and step; one addition and one
    comparison per neuron and step, one subtraction per spike; for ``beta < 1`` a leak too.

    Example:
        >>> import torch
        >>> neuron = ContinuousIF()
        >>> spk, (mem,) = neuron.run(torch.full((4, 1, 1), 0.6))
        >>> spk.flatten().tolist()
        [0.0, 1.0, 0.0, 1.0]

    Reference:
        S. Yin et al., BioCAS 2017, algorithm SNN-CT. The authors write the recursion as a sum over
        all earlier steps, which is the same. Deviations: threshold, ``beta``, detaching are free.
    """

    def __init__(
        self,
        threshold: float | Tensor = 1.0,
        beta: float = 1.0,
        spike_grad: SpikeFunction | None = None,
        detach_reset: bool = False,
        init_hidden: bool = False,
        output: bool = False,
        learn_threshold: bool = False,
        reset_mechanism: str = "subtract",
    ) -> None:
        if not 0.0 <= beta <= 1.0:
            raise ArgumentError(f"beta is {beta}; the factor kept per step lies in [0, 1]")
        super().__init__(
            threshold=threshold,
            spike_grad=spike_grad,
            init_hidden=init_hidden,
            output=output,
            learn_threshold=learn_threshold,
            reset_mechanism=reset_mechanism,
        )
        self.beta = float(beta)
        self.detach_reset = detach_reset

    def step(self, cur: Tensor, state: State) -> tuple[Tensor, State]:
        """Take a sequence of one step."""
        spk, state = self.sequence(cur.unsqueeze(0), state)
        return spk[0], state

    def sequence(self, cur: Tensor, state: State) -> tuple[Tensor, State]:
        """Take all steps in one operator."""
        one = torch.ones((), dtype=cur.dtype, device=cur.device)
        dynamics = Dynamics(self._reset_mechanism, self.spike_grad, self.detach_reset)
        spk, mem = lif(cur, state[0], self.beta * one, self.threshold, one, dynamics)
        return spk, (mem,)

    def extra_repr(self) -> str:
        """Add the arguments of this neuron."""
        return f"{super().extra_repr()}, beta={self.beta:g}, detach_reset={self.detach_reset}"
