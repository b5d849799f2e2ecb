"""What the leaky integrate-and-fire neurons share: leak, reset, firing, snnTorch's options."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from snnplug.errors import ArgumentError
from snnplug.kernels import dynamics as kernel
from snnplug.kernels.neurons import kernel_for, neurons
from snnplug.kernels.time_loop import time_loop
from snnplug.neurons.base import SequenceNeuron, SpikeFunction, State, shown
from snnplug.surrogate import Atan

#: What snnTorch takes as ``state_quant``: a function of a state, or False.
StateQuant = Callable[[Tensor], Tensor] | bool | None


class LIF(SequenceNeuron):
    """A neuron with a leaky membrane, in snnTorch's order of floating-point operations.

    A subclass names its state with ``mem`` last, and with ``spk`` first if the spike of the step
    before is part of it. It writes :meth:`_integrate`; everything else is here.
    """

    reset_mechanisms: ClassVar[tuple[str, ...]] = ("subtract", "zero", "none")
    alpha: Tensor  # of those with a synaptic current

    def __init__(
        self,
        beta: float | Tensor,
        threshold: float | Tensor,
        spike_grad: SpikeFunction | None,
        surrogate_disable: bool,
        init_hidden: bool,
        inhibition: bool,
        learn_beta: bool,
        learn_threshold: bool,
        reset_mechanism: str,
        state_quant: StateQuant,
        output: bool,
        reset_delay: bool,
        detach_reset: bool,
        graded_spikes_factor: float | Tensor = 1.0,
        learn_graded_spikes_factor: bool = False,
    ) -> None:
        if state_quant and not callable(state_quant):
            raise ArgumentError(
                f"state_quant is {state_quant!r}; it takes a function of a state tensor, or False"
            )
        if surrogate_disable:
            spike_grad = _step
        super().__init__(
            threshold=threshold,
            spike_grad=Atan() if spike_grad is None else spike_grad,
            init_hidden=init_hidden,
            output=output,
            learn_threshold=learn_threshold,
            reset_mechanism=reset_mechanism,
            graded_spikes_factor=graded_spikes_factor,
            learn_graded_spikes_factor=learn_graded_spikes_factor,
        )
        self._keep("beta", beta, learn_beta)
        self.surrogate_disable = surrogate_disable
        self.inhibition = inhibition
        self.state_quant = state_quant
        self.reset_delay = reset_delay
        self.detach_reset = detach_reset

    @abstractmethod
    def _integrate(
        self, cur: Tensor, state: State, reset: Tensor | None, threshold: Tensor
    ) -> State:
        """Return the state, less ``spk``, after the input, the leaks and the delayed reset."""

    def step(self, cur: Tensor, state: State) -> tuple[Tensor, State]:
        """Integrate, reset for the spike that the incoming membrane stands for, and fire."""
        spk, state, _ = self._advance(cur, state, None)
        return spk, state

    def sequence(self, cur: Tensor, state: State) -> tuple[Tensor, State]:
        """Take all steps in one operator, where nothing has to be done between two of them."""
        parameters, dynamics = self._tensors(cur), self._dynamics()
        taken = None if parameters is None else kernel_for(cur, parameters, dynamics)
        if parameters is None or taken is None:
            return self._loop(cur, state)
        start = kernel.State(**dict(zip(self.state_names, state, strict=True)))
        spk, end = neurons(cur, start, parameters, dynamics, taken)
        return spk, tuple(getattr(end, name) for name in self.state_names)

    def _tensors(self, cur: Tensor) -> kernel.Parameters | None:
        """Return the tensors of the layer, or None where the operator cannot do what it does."""
        alpha = self._decay(self.alpha, cur) if "syn" in self.state_names else None
        found = kernel.Parameters(
            self._decay(self.beta, cur), self.threshold, self.graded_spikes_factor, alpha
        )
        if self.inhibition or self.state_quant or found.graded.numel() > 1:
            return None
        per_feature = all(p is None or p.dim() <= max(cur.dim() - 2, 0) for p in found)
        return found if per_feature else None

    def _dynamics(self) -> kernel.Dynamics:
        """Return how the layer fires and resets."""
        return kernel.Dynamics(
            self._reset_mechanism, self.spike_grad, self.detach_reset, self.reset_delay
        )

    def _loop(self, cur: Tensor, state: State) -> tuple[Tensor, State]:
        """Take all steps; a spike computed in one serves the reset of the next."""
        names = len(self.state_names)
        hands_on = self.reset_delay and self._reset_mechanism != "none"
        fired = (self._spike(state[-1] - self.threshold.to(cur.dtype)),) if hands_on else ()

        def step(carry: State, now: Tensor) -> tuple[State, Tensor]:
            spk, after, above = self._advance(now, carry[:names], *(carry[names:] or (None,)))
            return (*after, above) if hands_on and above is not None else after, spk

        spk, carry = time_loop(step, (*state, *fired), cur)
        return spk, carry[:names]

    def _advance(
        self, cur: Tensor, state: State, fired: Tensor | None
    ) -> tuple[Tensor, State, Tensor | None]:
        """Take one step.

        ``fired`` says where the incoming membrane is above the threshold, and None that it has to
        be computed; the last of the results says so for the next step.
        """
        threshold = self.threshold.to(cur.dtype)
        reset = None
        if self._reset_mechanism != "none":
            reset = self._spike(state[-1] - threshold) if fired is None else fired
            reset = reset.detach() if self.detach_reset else reset
        state = self._integrate(cur, state, reset, threshold)
        if self.state_quant:
            state = tuple(self.state_quant(s) for s in state)
        *others, mem = state
        shift = mem - threshold
        fired = self._spike(shift)
        alone = fired * _largest(shift) if self.inhibition else fired
        spk = alone * self.graded_spikes_factor.to(cur.dtype)
        if reset is not None and not self.reset_delay:
            # Less what was reset already; the membrane moves, so the next step fires anew.
            mem = self._reset(mem, alone - reset, threshold)
            fired = None
        state = (spk, *others, mem) if self.state_names[0] == "spk" else (*others, mem)
        return spk, state, fired

    def _reset(self, mem: Tensor, reset: Tensor | None, threshold: Tensor) -> Tensor:
        """Return the membrane after a reset: less the threshold, or less itself."""
        if reset is None:
            return mem
        return mem - reset * (threshold if self._reset_mechanism == "subtract" else mem)

    @staticmethod
    def _decay(factor: Tensor, cur: Tensor) -> Tensor:
        """Return the factor kept per step, within [0, 1] and in the dtype of the input."""
        return factor.to(cur.dtype).clamp(0, 1)

    def extra_repr(self) -> str:
        """Add the arguments of these neurons."""
        return (
            f"{super().extra_repr()}, beta={shown(self.beta)}, "
            f"reset_mechanism={self._reset_mechanism!r}, reset_delay={self.reset_delay}, "
            f"detach_reset={self.detach_reset}"
        )


def _step(shifted: Tensor) -> Tensor:
    """Spike without a gradient."""
    return (shifted > 0).to(shifted.dtype)


def _largest(shift: Tensor) -> Tensor:
    """Return 1 for the neuron of each sample that is furthest above its threshold, else 0."""
    if shift.dim() != 2:
        raise ArgumentError(
            f"inhibition works on (B, N), the output of a dense layer, not {tuple(shift.shape)}"
        )
    return torch.zeros_like(shift).scatter(1, shift.argmax(1, keepdim=True), 1.0)
