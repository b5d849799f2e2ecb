"""What every neuron of snnplug shares: state, one step or a whole sequence, reset."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import snntorch as snn
import torch
from torch import Tensor, nn

from snnplug.errors import ArgumentError
from snnplug.surrogate import HardFire

State = tuple[Tensor, ...]


class SequenceNeuron(snn.SpikingNeuron):  # type: ignore[misc]  # snnTorch ships no types
    """A snnTorch neuron that can also take a whole sequence at once.

    One step keeps snnTorch's contract (``spk, mem = neuron(cur, mem)``; with ``init_hidden=True``
    the state lives in the module and ``spk = neuron(cur)``). :meth:`run` takes ``(T, B, *)`` and
    keeps the state outside the module, so nothing has to be reset between batches.

    A subclass names its state in ``state_names`` and writes :meth:`step`, which is pure.

    Hidden state is kept in buffers that are left out of ``state_dict``, ``copy.deepcopy`` and
    pickles, so a network can be copied or saved in the middle of a sequence.
    """

    state_names: ClassVar[tuple[str, ...]] = ("mem",)
    #: Whether a membrane has to be kept between time steps; the hardware model asks.
    stateful: ClassVar[bool] = True

    def __init__(
        self,
        threshold: float | Tensor = 1.0,
        spike_grad: Callable[[Tensor], Tensor] | None = None,
        init_hidden: bool = False,
        output: bool = False,
        learn_threshold: bool = False,
        reset_mechanism: str = "subtract",
    ) -> None:
        self._check(reset_mechanism)
        try:
            super().__init__(
                threshold=torch.as_tensor(threshold, dtype=torch.get_default_dtype()).clone(),
                spike_grad=HardFire() if spike_grad is None else spike_grad,
                init_hidden=init_hidden,
                output=output,
                learn_threshold=learn_threshold,
                reset_mechanism=reset_mechanism,
            )
        finally:
            # snnTorch keeps every neuron ever built in this list, which leaks whole networks;
            # `reset` below walks the network instead.
            snn.SpikingNeuron.instances[:] = [
                other for other in snn.SpikingNeuron.instances if other is not self
            ]
        for name in self.state_names:
            self.register_buffer(name, torch.zeros(0), persistent=False)

    @classmethod
    def _check(cls, reset_mechanism: str) -> None:
        if reset_mechanism not in ("subtract", "none"):
            raise ArgumentError(
                f"reset_mechanism is {reset_mechanism!r}; {cls.__name__} takes 'subtract' or 'none'"
            )

    @abstractmethod
    def step(self, cur: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance by one time step: ``(B, *)`` and the state before it → spikes and the state."""

    def sequence(self, cur: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance through ``(T, B, *)``; the same numbers as ``T`` calls of :meth:`step`."""
        spikes = []
        for now in cur.unbind(0):
            spk, state = self.step(now, state)
            spikes.append(spk)
        return torch.stack(spikes), state

    def run(self, cur: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Advance through a whole sequence; the module keeps no state.

        Args:
            cur: Input current, ``(T, B, *)``.
            state: What an earlier call returned, or None for the resting state.

        Returns:
            Spikes ``(T, B, *)`` and the state after the last step, a tuple in the order of
            ``state_names``.

        Raises:
            ArgumentError: ``cur`` has no time axis, or no step on it.
        """
        if cur.dim() < 2 or cur.shape[0] == 0:
            raise ArgumentError(
                f"a sequence of shape {tuple(cur.shape)} has no time step; run takes "
                "(T, B, *), T >= 1"
            )
        # Through __call__, so that forward hooks (counting, probes) see sequences as well.
        result: tuple[Tensor, State] = self(cur, *(state or ()), sequence=True)
        return result

    def forward(self, cur: Tensor, *state: Tensor | None, sequence: bool = False) -> Any:
        """Take one step, or with ``sequence=True`` what :meth:`run` takes.

        Args:
            cur: Input current, ``(B, *)``.
            *state: The state tensors, unless ``init_hidden=True``.
            sequence: ``cur`` is ``(T, B, *)``; the result is ``(spikes, state)``.

        Returns:
            ``(spk, *state)``, or ``spk`` alone for a neuron with hidden state and
            ``output=False``: snnTorch's arity.

        Raises:
            TypeError: Explicit state is given to a neuron that keeps its own.
        """
        if sequence:
            return self.sequence(cur, self._resting(cur[0], state))
        if not self.init_hidden:
            spk, after = self.step(cur, self._resting(cur, state))
            return (spk, *after)
        if any(s is not None for s in state):
            raise TypeError("a neuron with init_hidden=True takes no state argument")
        hidden = tuple(getattr(self, name) for name in self.state_names)
        spk, after = self.step(cur, self._resting(cur, hidden))
        for name, value in zip(self.state_names, after, strict=True):
            setattr(self, name, value)
        return (spk, *after) if self.output else spk

    def _resting(self, cur: Tensor, state: tuple[Tensor | None, ...]) -> State:
        """Return ``state`` with zeros wherever it is missing or of another shape or dtype."""
        given = state or (None,) * len(self.state_names)
        if len(given) != len(self.state_names):
            raise ArgumentError(
                f"{len(given)} state tensors given; {type(self).__name__} has {self.state_names}"
            )
        return tuple(
            torch.zeros_like(cur)
            if s is None or s.shape != cur.shape or s.dtype != cur.dtype
            else s
            for s in given
        )

    def reset_mem(self) -> Tensor | State:
        """Put the hidden state back to rest, and return it: a tensor, or a tuple of several."""
        for name in self.state_names:
            setattr(self, name, torch.zeros_like(getattr(self, name), requires_grad=False))
        state = tuple(getattr(self, name) for name in self.state_names)
        return state[0] if len(state) == 1 else state

    def detach_mem(self) -> None:
        """Cut the hidden state from the graph, for truncated backpropagation through time."""
        for name in self.state_names:
            setattr(self, name, getattr(self, name).detach())

    def __getstate__(self) -> dict[str, Any]:
        """Leave the hidden state out of copies and pickles: it hangs on the autograd graph."""
        content = self.__dict__.copy()
        content["_buffers"] = dict(content["_buffers"])
        for name in self.state_names:
            content["_buffers"][name] = content["_buffers"][name].detach().new_zeros(0)
        return content

    def extra_repr(self) -> str:
        """Show what a reader of a printed network asks for."""
        threshold = (
            f"{self.threshold.item():g}"
            if self.threshold.numel() == 1
            else tuple(self.threshold.shape)
        )
        return f"threshold={threshold}, spike_grad={self.spike_grad}"


def reset(network: nn.Module) -> None:
    """Put the hidden state of every spiking neuron in ``network`` back to rest.

    Unlike ``snntorch.utils.reset`` it reaches nested, wrapped and copied neurons, ours and
    snnTorch's, and leaves other networks alone.

    Args:
        network: Any module that holds spiking neurons, at any depth.

    Example:
        >>> from snnplug import ContinuousIF
        >>> net = nn.Sequential(nn.Sequential(ContinuousIF(init_hidden=True)))
        >>> _ = net(torch.full((1, 2), 0.6))
        >>> reset(net)
        >>> net[0][0].mem
        tensor([[0., 0.]])
    """
    for module in network.modules():
        if isinstance(module, snn.SpikingNeuron) and hasattr(module, "reset_mem"):
            module.reset_mem()
