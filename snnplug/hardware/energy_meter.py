"""The energy of a forward pass as a tensor that one can train on."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from snnplug.hardware.activity import Activity, Layer
from snnplug.hardware.counting import Meter
from snnplug.hardware.rates import Rate, linear_rates, silent
from snnplug.hardware.relaxation import Relaxation
from snnplug.hardware.target import Target, load_target

#: Shapes whose rates are kept: batches of another size or with other time steps have their own.
_KEPT = 64


class EnergyMeter:
    r"""Prices what a network does inside a ``with`` block, with gradients.

    With the rates :math:`c` of :func:`~snnplug.hardware.rates.linear_rates`, the energy of a pass
    over :math:`B` samples is

    .. math::
        E = \sum_\ell c_{0\ell} + \frac1B \Bigl(
            \sum_{\ell,i} (c_{n\ell} + c_{S\ell} f_{\ell i})\, x_{\ell i}
            + \sum_{\ell,i} c_{Z\ell}\, s_{\ell i} \Bigr)

    over the inputs :math:`x` of every layer of weights, each with its exact fan-out :math:`f`, and
    the outputs :math:`s` of every layer of neurons. For binary spikes that is what the target
    charges for the same counts; for all other values the figure is still the target's, and the
    gradient that of the relaxation in :class:`~snnplug.hardware.relaxation.Relaxation`.

    Backward: through the spikes, by the spike function of the neurons. Inputs of the network are
    data and have no gradient.

    Each block counts anew. The network is watched as by :func:`~snnplug.measure`: its own time
    loop, a loop of yours outside (``num_steps``) or a
    :class:`~snnplug.layers.sequential.SpikingSequential`, whose layers stay fused.

    Args:
        network: Any module whose first tensor argument is the input.
        target: What charges; its energy has to be linear in the counts.
        batch_dim: The axis of the input which holds the samples; 1 for ``(T, B, *)``.
        num_steps: Calls of the network that one sample takes.
        leakage: Whether the energy that leaks while the network runs is in; without it the figure
            is the dynamic energy alone. What leaks while a machine waits for its next inference
            (a target with a table ``duty``) depends on no spike: leave it out.

    Raises:
        TargetError: There is no such target.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from snnplug import ContinuousIF, SpikingSequential
        >>> torch.manual_seed(0)                                          # doctest: +ELLIPSIS
        <...>
        >>> net = SpikingSequential(nn.Linear(4, 64), ContinuousIF(), nn.Linear(64, 2))
        >>> meter = EnergyMeter(net, "yin2017-28nm")
        >>> with meter:
        ...     out = net(torch.ones(5, 2, 4))
        >>> energy_nj = meter.energy_nj()
        >>> energy_nj.backward()
        >>> bool(net[0].weight.grad.abs().sum() > 0)
        True
        >>> price = meter.target.price(meter.activity())
        >>> abs(energy_nj.item() / price.energy_nj - 1) < 1e-6
        True
    """

    def __init__(
        self,
        network: nn.Module,
        target: str | Path | Target = "yin2017-28nm",
        batch_dim: int = 1,
        num_steps: int = 1,
        leakage: bool = True,
    ) -> None:
        self.network = network
        self.target = load_target(target)
        self.batch_dim = batch_dim
        self.num_steps = num_steps
        self.leakage = leakage
        self._rates: dict[Any, tuple[Rate, ...]] = {}
        self._begin()

    def _begin(self) -> None:
        self._relaxation = Relaxation()
        self._meter = Meter(self.network, self.batch_dim, self.num_steps, self._relaxation)
        self._activity: Activity | None = None

    def __enter__(self) -> EnergyMeter:
        """Begin to count."""
        self._begin()
        self._meter.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop counting."""
        self._meter.__exit__(kind, error, trace)

    def add_samples(self, count: int) -> None:
        """Say that ``count`` samples run, where your loop calls the layers and not the network."""
        self._meter.add_samples(count)

    def activity(self) -> Activity:
        """Return the exact counts of the last block.

        Raises:
            MeasurementError: Nothing that can be counted ran in it.
        """
        if self._activity is None:
            self._activity = self._meter.activity()
        return self._activity

    def energy_nj(self) -> Tensor:
        """Return the energy per inference of the last block, in nJ, 0-dimensional.

        Raises:
            MeasurementError: Nothing that can be counted ran in it.
            TargetError: The target gives no energy, or one that is not linear in the counts.
        """
        activity = self.activity()
        pairs = list(zip(activity.layers, self._rates_of(activity), strict=True))
        energy_nj = sum(rate.energy_nj(layer, activity.samples) for layer, rate in pairs)
        gradients = list(self._gradients(pairs, activity.samples))
        if not gradients:
            return torch.tensor(energy_nj, dtype=torch.get_default_dtype())
        return energy_nj + torch.stack(gradients).sum()

    @property
    def trained(self) -> frozenset[str]:
        """The layers of the last block whose spikes are the network's own, and not the data's."""
        return frozenset(self._relaxation.events)

    def floor_nj(self) -> float:
        """Return what the last block would take, had no neuron of the network spiked.

        Layers before the first neurons see the data, whose events no training takes away.
        """
        activity = self.activity()
        return _floor_nj(activity, self._rates_of(activity), self.trained)

    def _rates_of(self, activity: Activity) -> tuple[Rate, ...]:
        shapes = activity.samples, tuple(map(silent, activity.layers))
        if shapes not in self._rates:
            while len(self._rates) >= _KEPT:
                del self._rates[next(iter(self._rates))]
            self._rates[shapes] = linear_rates(self.target, activity, self.leakage)
        return self._rates[shapes]

    def _gradients(self, pairs: Iterable[tuple[Layer, Rate]], samples: int) -> Iterable[Tensor]:
        """Yield zeros with the gradients of each layer's energy."""
        for layer, rate in pairs:
            events = self._relaxation.events.get(layer.name, ())
            weighted = self._relaxation.weighted.get(layer.name, ())
            each, per_synapse = rate.event_nj + rate.spike_nj, rate.synop_nj + rate.add_nj
            yield from (each / samples * ghost for ghost in events)
            yield from (per_synapse / samples * ghost for ghost in weighted)


def floor_nj(
    target: Target, activity: Activity, trained: Collection[str], leakage: bool = True
) -> float:
    """Return what an activity would take per inference, in nJ, had no neuron spiked.

    Args:
        target: What charges.
        activity: Counts, of any pass.
        trained: The layers whose spikes are the network's own, as :attr:`EnergyMeter.trained`.
        leakage: Whether the energy that leaks is in.

    Raises:
        TargetError: As for :func:`~snnplug.hardware.rates.linear_rates`.
    """
    return _floor_nj(activity, linear_rates(target, activity, leakage), trained)


def _floor_nj(activity: Activity, rates: Iterable[Rate], trained: Collection[str]) -> float:
    return sum(
        rate.fixed_nj if layer.name in trained else rate.energy_nj(layer, activity.samples)
        for layer, rate in zip(activity.layers, rates, strict=True)
    )
