"""The neuron of SNN-DC: the membrane is cleared at every time step."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from snnplug.neurons.base import SequenceNeuron, SpikeFunction, State


class DiscontinuousIF(SequenceNeuron):
    r"""Neuron without memory: each time step is a pass of a network with binary activations.

    .. math::
        u[t] = I[t], \qquad s[t] = \mathbb{1}[u[t] > \theta]

    Backward: :math:`\partial s[t] / \partial I[t] = g(u[t] - \theta)` of ``spike_grad`` (a box of
    height ½ for the default, :class:`~snnplug.surrogate.HardFire`), and nothing across time.

    Args:
        threshold: :math:`\theta`, in units of the current; a scalar, or a tensor that broadcasts.
        spike_grad: Spike function, called with ``u - threshold``; None is ``HardFire()``.
        init_hidden: Take and return no membrane, as in a ``nn.Sequential``.
        output: With ``init_hidden``, return ``(spk, mem)`` all the same.
        learn_threshold: Make the threshold a parameter.

    Shape:
        - one step: current ``(B, *)`` → spikes and membrane ``(B, *)``
        - :meth:`run`: current ``(T, B, *)`` → spikes ``(T, B, *)`` and ``(mem,)``

    Hardware: no membrane memory; one comparison per neuron and step.

    Example:
        >>> import torch
        >>> neuron = DiscontinuousIF()
        >>> spk, (mem,) = neuron.run(torch.tensor([[[0.7]], [[0.7]], [[1.2]]]))
        >>> spk.flatten().tolist()
        [0.0, 0.0, 1.0]

    Reference:
        S. Yin et al., BioCAS 2017, algorithm SNN-DC. The spikes equal those of
        ``snntorch.Leaky(beta=0, reset_mechanism="none")``. Deviation: the threshold is free.
    """

    stateful: ClassVar[bool] = False

    def __init__(
        self,
        threshold: float | Tensor = 1.0,
        spike_grad: SpikeFunction | None = None,
        init_hidden: bool = False,
        output: bool = False,
        learn_threshold: bool = False,
    ) -> None:
        super().__init__(
            threshold=threshold,
            spike_grad=spike_grad,
            init_hidden=init_hidden,
            output=output,
            learn_threshold=learn_threshold,
            reset_mechanism="none",
        )

    def step(self, cur: Tensor, state: State) -> tuple[Tensor, State]:
        """Compare the current with the threshold."""
        return self._spike(cur - self.threshold.to(cur.dtype)), (cur,)

    def sequence(self, cur: Tensor, state: State) -> tuple[Tensor, State]:
        """Compare all steps at once: nothing passes from one to the next."""
        spk, _ = self.step(cur, state)
        return spk, (cur[-1],)
