"""What every neuron of snnplug shares: state, one step or a whole sequence, reset."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import snntorch as snn
import torch
from torch import Tensor, nn

from snnplug.errors import ArgumentError
from snnplug.kernels.time_loop import time_loop
from snnplug.neurons.decay_precision import warn_if_rounded
from snnplug.surrogate import HardFire

State = tuple[Tensor, ...]
_HALF = (torch.float16, torch.bfloat16)
_DECAYS = ("beta", "alpha")
SpikeFunction = Callable[[Tensor], Tensor]


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
    #: The values that ``reset_mechanism`` may take.
    reset_mechanisms: ClassVar[tuple[str, ...]] = ("subtract", "none")
    #: Whether a membrane has to be kept between time steps; the hardware model asks.
    stateful: ClassVar[bool] = True
    #: Whether one membrane with at most one leak is all that the neuron keeps; it asks that too.
    one_membrane: ClassVar[bool] = True
    #: Names of the factors that the state decays by, the membrane's first, for a neuron that keeps
    #: more; None with ``one_membrane`` is ``beta``. A neuron with neither has no price.
    decays: ClassVar[tuple[str, ...] | None] = None

    def __init__(
        self,
        threshold: float | Tensor = 1.0,
        spike_grad: SpikeFunction | None = None,
        init_hidden: bool = False,
        output: bool = False,
        learn_threshold: bool = False,
        reset_mechanism: str = "subtract",
        graded_spikes_factor: float | Tensor = 1.0,
        learn_graded_spikes_factor: bool = False,
    ) -> None:
        try:
            super().__init__(
                threshold=_own(threshold),
                spike_grad=HardFire() if spike_grad is None else spike_grad,
                init_hidden=init_hidden,
                output=output,
                learn_threshold=learn_threshold,
                reset_mechanism=reset_mechanism,
                graded_spikes_factor=_own(graded_spikes_factor),
                learn_graded_spikes_factor=learn_graded_spikes_factor,
            )
        finally:
            # snnTorch keeps every neuron ever built in this list, which leaks whole networks;
            # `reset` below walks the network instead.
            snn.SpikingNeuron.instances[:] = [
                other for other in snn.SpikingNeuron.instances if other is not self
            ]
        for name in self.state_names:
            self.register_buffer(name, torch.zeros(0), persistent=False)

    def _reset_cases(self, reset_mechanism: str) -> None:
        """Refuse an unknown reset; snnTorch calls this when one is set, here or later."""
        if reset_mechanism not in self.reset_mechanisms:
            raise ArgumentError(
                f"reset_mechanism is {reset_mechanism!r}; {type(self).__name__} takes "
                f"{' or '.join(map(repr, self.reset_mechanisms))}"
            )

    def _keep(self, name: str, value: float | Tensor, learn: bool) -> None:
        """Keep a copy of ``value`` under ``name``: a parameter if it is learned, else a buffer."""
        own = _own(value)
        if name in _DECAYS and not isinstance(value, Tensor):
            warn_if_rounded(name, torch.tensor(value, dtype=torch.float64), own)
        if learn:
            self.register_parameter(name, nn.Parameter(own))
        else:
            self.register_buffer(name, own)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SequenceNeuron:
        """Move or convert, and say if a decay comes out as another one."""
        before = {
            name: value.detach()
            for name in _DECAYS
            if isinstance(value := getattr(self, name, None), Tensor)
        }
        super()._apply(fn, recurse)
        for name, value in before.items():
            warn_if_rounded(name, value, getattr(self, name))
        return self

    def _spike(self, shifted: Tensor) -> Tensor:
        """Return the spikes of ``mem - threshold``; snnTorch's functions give float32 only."""
        spk: Tensor = self.spike_grad(shifted)
        return spk.to(shifted.dtype)

    @abstractmethod
    def step(self, cur: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance by one time step: ``(B, *)`` and the state before it → spikes and the state."""

    def sequence(self, cur: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance through ``(T, B, *)``; the same numbers as ``T`` calls of :meth:`step`."""

        def step(state: State, now: Tensor) -> tuple[State, Tensor]:
            spk, state = self.step(now, state)
            return state, spk

        return time_loop(step, state, cur)

    def run(
        self, cur: Tensor, state: State | None = None, detach_every: int | None = None
    ) -> tuple[Tensor, State]:
        """Advance through a whole sequence; the module keeps no state.

        Args:
            cur: Input current, ``(T, B, *)``.
            state: What an earlier call returned, or None for the resting state.
            detach_every: Truncate backpropagation through time: before every so many steps the
                state is cut from the graph. None keeps the whole graph.

        Returns:
            Spikes ``(T, B, *)`` and the state after the last step, a tuple in the order of
            ``state_names``.

        Raises:
            ArgumentError: ``cur`` has no time axis, or no step on it; ``detach_every`` is below 1.
        """
        if cur.dim() < 2 or cur.shape[0] == 0:
            raise ArgumentError(
                f"a sequence of shape {tuple(cur.shape)} has no time step; run takes "
                "(T, B, *), T >= 1"
            )
        if detach_every is not None and detach_every < 1:
            raise ArgumentError(f"detach_every is {detach_every}; it takes 1 step or more, or None")
        # Through __call__, so that forward hooks (counting, probes) see sequences as well.
        result: tuple[Tensor, State] = self(
            cur, *(state or ()), sequence=True, detach_every=detach_every
        )
        return result

    def forward(
        self,
        cur: Tensor,
        *state: Tensor | None,
        sequence: bool = False,
        detach_every: int | None = None,
        **named: Tensor | None,
    ) -> Any:
        """Take one step, or with ``sequence=True`` what :meth:`run` takes.

        Args:
            cur: Input current, ``(B, *)``.
            *state: The state tensors, unless ``init_hidden=True``; those left out are at rest.
            sequence: ``cur`` is ``(T, B, *)``; the result is ``(spikes, state)``.
            detach_every: As in :meth:`run`.
            **named: State tensors by their name, as in ``neuron(cur, mem=mem)``.

        Returns:
            ``(spk, *state)``, or ``spk`` alone for a neuron with hidden state and
            ``output=False``: snnTorch's arity. A spike that is part of the state comes once.

        Raises:
            ArgumentError: A state tensor is given that the neuron does not have.
            TypeError: Explicit state is given to a neuron that keeps its own.
        """
        given = self._in_order(state, named)
        if torch.is_autocast_enabled(cur.device.type) and cur.dtype in _HALF:
            # Decays and membranes stay in single precision: in bfloat16 0.999 is 1, no leak.
            cur = cur.float()
        if sequence:
            return self._pieces(cur, self._resting(cur[0], given), detach_every)
        if self.init_hidden:
            if any(s is not None for s in given):
                raise TypeError("a neuron with init_hidden=True takes no state argument")
            given = tuple(getattr(self, name) for name in self.state_names)
        spk, after = self.step(cur, self._resting(cur, given))
        if self.init_hidden:
            for name, value in zip(self.state_names, after, strict=True):
                setattr(self, name, value)
            if not self.output:
                return spk
        return after if self.state_names[0] == "spk" else (spk, *after)

    def _pieces(self, cur: Tensor, state: State, detach_every: int | None) -> tuple[Tensor, State]:
        """Run a sequence, cutting the state from the graph between pieces of it."""
        if detach_every is None:
            return self.sequence(cur, state)
        spikes = []
        for start in range(0, cur.shape[0], detach_every):
            state = tuple(s.detach() for s in state) if start else state
            spk, state = self.sequence(cur[start : start + detach_every], state)
            spikes.append(spk)
        return torch.cat(spikes), state

    def _in_order(
        self, given: tuple[Tensor | None, ...], named: dict[str, Tensor | None]
    ) -> tuple[Tensor | None, ...]:
        """Return the state tensors in the order of ``state_names``, None where one is missing."""
        names = self.state_names
        if not given and not named:
            return (None,) * len(names)
        if len(given) > len(names) or not named.keys() <= set(names[len(given) :]):
            raise ArgumentError(
                f"{len(given)} state tensors given, and by name {sorted(named)}; "
                f"{type(self).__name__} takes {names}"
            )
        return (*given, *(named.get(name) for name in names[len(given) :]))

    def _resting(self, cur: Tensor, given: tuple[Tensor | None, ...]) -> State:
        """Return ``given`` with zeros wherever it is missing or of another shape or dtype."""
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

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Load, and reset from now on as the neuron did that was saved."""
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        saved = state_dict.get(f"{prefix}reset_mechanism_val")
        if saved is not None:
            mechanism = list(self.reset_dict)[int(saved)]
            self._reset_cases(mechanism)
            self._reset_mechanism = mechanism

    def extra_repr(self) -> str:
        """Show what a reader of a printed network asks for."""
        return f"threshold={shown(self.threshold)}, spike_grad={self.spike_grad}"


def _own(value: float | Tensor) -> Tensor:
    """Return a copy in the default dtype: snnTorch keeps the caller's tensor, integers included."""
    return torch.as_tensor(value, dtype=torch.get_default_dtype()).detach().clone()


def shown(value: Tensor) -> str:
    """Return a scalar as its number, and anything larger as its shape."""
    return f"{value.item():g}" if value.numel() == 1 else str(tuple(value.shape))


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


def release(network: nn.Module) -> None:
    """Let go of the hidden state of every spiking neuron in ``network``, and of its memory.

    The next call begins at rest, with a batch of any size. Whatever averages or copies the buffers
    of a network then finds none that have the shape of a batch.

    Args:
        network: Any module that holds spiking neurons, at any depth.

    Example:
        >>> from snnplug import Leaky
        >>> net = nn.Sequential(Leaky(beta=0.9, init_hidden=True))
        >>> _ = net(torch.ones(1, 2))
        >>> release(net)
        >>> net[0].mem
        tensor([])
    """
    for name in hidden_state(network):
        owner, _, buffer = name.rpartition(".")
        module = network.get_submodule(owner)
        module._buffers[buffer] = torch.zeros(0, device=getattr(module, buffer).device)


def hidden_state(network: nn.Module) -> list[str]:
    """Return the names of the buffers in which the neurons of a network keep their state.

    They belong to the batch of one process: nothing may copy them to another.

    Args:
        network: Any module.

    Example:
        >>> from snnplug import Leaky
        >>> hidden_state(nn.Sequential(nn.Linear(4, 3), Leaky(beta=0.9, init_hidden=True)))
        ['1.mem']
    """
    return [
        f"{prefix}.{name}" if prefix else name
        for prefix, module in network.named_modules()
        if isinstance(module, snn.SpikingNeuron)
        for name in sorted(module._non_persistent_buffers_set & module._buffers.keys())
    ]
