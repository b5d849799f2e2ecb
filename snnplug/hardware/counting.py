"""Watching a network run and counting what its layers do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from snnplug.errors import ArgumentError, MeasurementError
from snnplug.hardware import uncompiled
from snnplug.hardware.activity import Activity
from snnplug.hardware.function_ops import ADDITIONS, SUMS, FunctionWatch, additions
from snnplug.hardware.ledger import Ledger
from snnplug.hardware.pooling import functional_pool
from snnplug.hardware.readings import Reading, Readings, is_torchs
from snnplug.hardware.relaxation import Relaxation
from snnplug.kernels import seen_bits


def measure(network: nn.Module, batch_dim: int = 1, num_steps: int = 1) -> Meter:
    """Watch ``network``: what runs inside the ``with`` block is counted.

    The counts are exact integers, independent of the batch size. Nothing of the network changes:
    not its mode, its state, its parameters or the random numbers it draws, and the hooks are gone
    after the block, also when it raises.

    Args:
        network: Any module whose first tensor argument is the input: snnTorch's usual time loop or
            a :class:`~snnplug.layers.sequential.SpikingSequential`.
        batch_dim: The axis of that input which holds the samples; 1 for ``(T, B, *)``.
        num_steps: Calls of the network that one sample takes: 1 if its ``forward`` runs through
            time, the number of time steps if you loop over them outside (with ``batch_dim=0``).

    Returns:
        A context manager, :class:`Meter`; its :meth:`Meter.activity` gives the counts.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from snnplug import ContinuousIF, SpikingSequential
        >>> net = SpikingSequential(nn.Linear(4, 3), ContinuousIF())
        >>> with measure(net) as meter, torch.no_grad():
        ...     _ = net(torch.ones(5, 2, 4))
        >>> activity = meter.activity()
        >>> activity.samples, activity.layers[0].synops   # 2 samples, 5 steps, 4 x 3 synapses
        (2, 120)
    """
    return Meter(network, batch_dim, num_steps)


class Meter:
    """Forward hooks on a network, and the counts that they keep; made by :func:`measure`."""

    def __init__(
        self,
        network: nn.Module,
        batch_dim: int = 1,
        num_steps: int = 1,
        relaxation: Relaxation | None = None,
    ) -> None:
        if num_steps < 1:
            raise ArgumentError(f"num_steps is {num_steps}; one sample takes 1 call or more")
        self.network = network
        self.batch_dim = batch_dim
        self.num_steps = num_steps
        self._seen = 0  # samples x calls
        self._calls = 0
        self._ledger = Ledger(relaxation, time_first=batch_dim == 1)
        # What a network does only with the state of the step before, or of the samples before, it
        # does not do in its first call.
        self._watch = FunctionWatch(self._function, enough=2 * num_steps)
        self._within: list[tuple[str, int, int]] = []
        self._handles: list[Any] = []
        self._watching: list[
            Any
        ] = []  # hooks that go once the network is known to call no function

    @property
    def samples(self) -> int:
        """Inferences seen."""
        return self._seen // self.num_steps

    def add_samples(self, count: int) -> None:
        """Say that ``count`` samples run, where your loop calls the layers and not the network."""
        self._seen += count * self.num_steps
        self._ledger.begin_sequence(count)

    def __enter__(self) -> Meter:
        """Put the hooks on.

        Raises:
            MeasurementError: It watches already, or part of the network takes no hooks.
        """
        if self._handles:
            raise MeasurementError("this meter is watching already; leave its block first")
        root = self.network
        for name, module in root.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                raise MeasurementError(
                    f"{name or 'the network'} was made by torch.jit, which lets nobody watch its "
                    "layers; measure the network that it was made of"
                )
        self._readings = Readings(self._ledger)
        self._handles.append(root.register_forward_pre_hook(self._begin_call, with_kwargs=True))
        covered: set[nn.Module] = set()
        for name, module in root.named_modules():
            if module not in covered:
                self._attach(_plain_name(name) or type(module).__name__, module, covered)
        self._handles.append(root.register_forward_hook(self._end_call, always_call=True))
        seen_bits.watch()
        uncompiled.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the hooks off."""
        if self._handles:
            seen_bits.unwatch()
            uncompiled.end()
        self._remove(self._handles)
        self._remove(self._watching)
        self._within.clear()
        self._watch.stop()
        self._ledger.end_call()

    def activity(self) -> Activity:
        """Return what has been counted so far.

        Raises:
            MeasurementError: The network was not run, or holds nothing that can be counted.
        """
        self._ledger.flush()
        counters = self._ledger.counters
        if self.samples == 0 or not counters:
            raise MeasurementError(
                f"{type(self.network).__name__} ran on {self.samples} samples and "
                f"{len(counters)} of its modules can be counted; run it inside the block, and "
                "build it of layers of weights and spiking neurons as modules"
            )
        if self._seen % self.num_steps:
            raise MeasurementError(
                f"the network was called on {self._seen} samples x steps, which are no whole "
                f"number of samples of num_steps={self.num_steps}"
            )
        layers = tuple(counter.settle() for counter in counters.values())
        return Activity(self.samples, layers, tuple(self._ledger.unpriced))

    @staticmethod
    def _remove(handles: list[Any]) -> None:
        for handle in handles:
            handle.remove()
        handles.clear()

    def _begin_call(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs = (x for x in (*args, *kwargs.values()) if isinstance(x, Tensor))
        first = next(inputs, None)
        if first is None or first.dim() <= self.batch_dim:
            raise ArgumentError(
                f"the network's first argument has no axis {self.batch_dim} to count samples on; "
                "give measure() the batch_dim of your input"
            )
        batch = first.shape[self.batch_dim]
        self._seen += batch
        if self._calls % self.num_steps == 0:
            self._ledger.begin_sequence(batch)
        self._calls += 1
        self._watch.enter_network()

    def _end_call(self, module: nn.Module, args: Any, out: Any) -> None:
        self._watch.leave_network(completed=out is not None)
        if self._watch.is_over:
            self._remove(self._watching)
        _unseen(self._ledger.end_call)

    def _attach(self, name: str, module: nn.Module, covered: set[nn.Module]) -> None:
        """Put the hooks on one module that are right for it."""
        reading = self._readings.of(name, module)
        if reading is None and is_torchs(module):
            return  # nothing to count, or its children do it
        if reading is None:
            self._watch_around(module, self._enters(name), self._leaves(module))
            return
        covered.update(module.modules() if reading.covers else ())
        pause: Any = partial(self._pause)
        resume: Any = partial(self._resume)
        start: Any = reading.before and partial(_unseen, reading.before)
        enter: Any = self._enters_counts(name, reading)
        for hook in filter(None, (pause, start, enter, resume)):
            hook.sees_pool = True
        # In this order: what `start` and `enter` call is no work of the network.
        if start is not None:
            self._handles.append(module.register_forward_pre_hook(start, with_kwargs=True))
        self._handles.append(module.register_forward_hook(enter, with_kwargs=True))
        self._watch_around(module, pause, resume)

    def _enters_counts(self, name: str, reading: Reading) -> Any:
        """Return the hook behind a module that is counted as a whole."""
        ledger, count = self._ledger, reading.after

        def enter(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
            with torch._C.DisableTorchFunction():
                if torch._C._are_functorch_transforms_active():
                    # Its values are those of many calls at once, and nobody can read them.
                    ledger.list_unpriced(name, f"{type(module).__name__} in a torch.func transform")
                    return
                if ledger.normalised:
                    ledger.reads(args)
                count(module, args, kwargs, out)

        return enter

    def _watch_around(self, module: nn.Module, before: Any, after: Any) -> None:
        """Put hooks on a module that are there as long as functions are watched."""
        self._watching.append(module.register_forward_pre_hook(before, prepend=True))
        self._watching.append(module.register_forward_hook(after, always_call=True))

    def _pause(self, module: nn.Module, args: Any) -> None:
        """Come before a module that is counted as a whole."""
        self._watch.pause()

    def _resume(self, module: nn.Module, args: Any, out: Any) -> None:
        self._watch.resume()

    def _enters(self, name: str) -> Any:
        """Return the hook before a module whose functions are watched."""

        def before(module: nn.Module, args: Any) -> None:
            self._within.append((name, self._watch.calls, self._watch.reports))

        return before

    def _leaves(self, module: nn.Module) -> Any:
        """Return the hook after it, which names a module that computed unseen."""
        is_leaf = next(module.children(), None) is None
        has_weights = next(module.parameters(recurse=False), None) is not None

        def after(m: nn.Module, args: tuple[Any, ...], out: Any) -> None:
            if not self._within:  # a hook before it has raised
                return
            name, calls, reports = self._within.pop()
            if not is_leaf or out is None or self._watch.reports > reports:
                return
            if has_weights or (self._watch.calls == calls and not any(out is x for x in args)):
                _unseen(self._ledger.list_unpriced, name, type(m).__name__)

        return after

    def _function(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, works: bool
    ) -> None:
        """Enter a function that a ``forward`` has called."""
        if self._ledger.normalised:
            _unseen(self._ledger.reads, args, out)
        if not works:
            return
        within = self._within[-1][0] if self._within else type(self.network).__name__
        if name in ADDITIONS or name in SUMS:
            plain, adds = name.strip("_"), additions(name, args, out)
            _unseen(self._ledger.elementwise, f"{within}.{plain}", plain, 0, adds)
        elif not _unseen(functional_pool, self._ledger, within, name, args, kwargs, out):
            _unseen(self._ledger.list_unpriced, within, name)


def _plain_name(name: str) -> str:
    """Return the name that a module has in the network that ``torch.compile`` took."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def _unseen(count: Callable[..., Any], *args: Any) -> Any:
    """Call what counts, whose functions no meter on the same network may take for the network's."""
    with torch._C.DisableTorchFunction():
        return count(*args)
