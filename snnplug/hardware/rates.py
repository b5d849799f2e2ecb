"""What one more spike costs on a target: the rates of a price that is linear in its counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from snnplug.errors import TargetError
from snnplug.hardware.activity import Activity, Layer, NeuronLayer, PoolLayer, SynapticLayer
from snnplug.hardware.target import Target

#: Relative error that rounding leaves; a price that is off by more is not linear.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Rate:
    """Price of one layer, linear in its counts; energies in nJ.

    Attributes:
        fixed_nj: Per inference without a single event or spike.
        event_nj: Per event at an input of a layer of weights.
        synop_nj: Per synaptic operation.
        spike_nj: Per spike that a layer of neurons emits.
        add_nj: Per addition of an average pooling.
    """

    fixed_nj: float = 0.0
    event_nj: float = 0.0
    synop_nj: float = 0.0
    spike_nj: float = 0.0
    add_nj: float = 0.0

    def energy_nj(self, layer: Layer, samples: int) -> float:
        """Return the energy of a layer per inference, from its counts."""
        counted = 0.0
        if isinstance(layer, SynapticLayer):
            counted = self.event_nj * layer.events + self.synop_nj * layer.synops
        elif isinstance(layer, NeuronLayer):
            counted = self.spike_nj * layer.spikes
        elif isinstance(layer, PoolLayer):
            counted = self.add_nj * layer.adds
        return self.fixed_nj + counted / samples


def linear_rates(target: Target, activity: Activity, leakage: bool = True) -> tuple[Rate, ...]:
    r"""Return the rates at which a target charges the layers of an activity.

    A layer of weights with :math:`n` events and :math:`S` synaptic operations, over :math:`M`
    inferences, then takes :math:`c_0 + (c_n n + c_S S) / M`, and a layer of neurons with :math:`Z`
    spikes :math:`c_0 + c_Z Z / M`. The rates are found by pricing the same layers with other
    counts: none at all, and two events per input and step with all and with half of their
    synapses. One event per input, and the activity itself, then prove them.

    Args:
        target: What prices.
        activity: Counts of a pass; its shapes and time steps matter, and its counts as the proof.
        leakage: Whether the energy that leaks while the network runs is in.

    Returns:
        A rate for each of the activity's layers, in their order.

    Raises:
        TargetError: The target gives no energy, or one that is not linear in the counts.
        MeasurementError: The activity holds no sample.

    Example:
        >>> from snnplug.hardware.operand import Operand
        >>> from snnplug.hardware.target import load_target
        >>> fc = SynapticLayer("fc", "Linear", 4, 3, 12, 12, 10, 7, 21, Operand((0, 1)))
        >>> (rate,) = linear_rates(load_target("loihi-2018"), Activity(2, (fc,)))
        >>> round(1e3 * (rate.event_nj + 3 * rate.synop_nj), 3)  # 23.6 pJ for each of 3 synapses
        70.8
    """
    activity.per_sample(())  # refuses an activity without samples

    def price(change: Callable[[Layer], Layer]) -> list[float]:
        changed = replace(activity, layers=tuple(map(change, activity.layers)))
        return layer_energies_nj(target, changed, leakage)

    rates = tuple(
        _rate(layer, activity.samples, *energies)
        for layer, *energies in zip(
            activity.layers, price(silent), price(_full), price(_half), strict=True
        )
    )
    _prove(target, activity, rates, leakage)
    once = replace(activity, layers=tuple(map(_once, activity.layers)))
    _prove(target, once, rates, leakage)
    if activity.synaptic and not any(map(_charges_spikes, rates)):
        raise TargetError(
            f"the energy of {target.name} does not depend on spikes, so there is nothing to train; "
            "take a target of a sparse machine, such as yin2017-28nm"
        )
    return rates


def _prove(target: Target, activity: Activity, rates: tuple[Rate, ...], leakage: bool) -> None:
    """Refuse rates that do not give what the target charges for an activity."""
    energies = layer_energies_nj(target, activity, leakage)
    for layer, rate, energy_nj in zip(activity.layers, rates, energies, strict=True):
        error = abs(rate.energy_nj(layer, activity.samples) - energy_nj)
        if error > TOLERANCE * sum(energies):
            hint = " (leakage=False leaves out what leaks)" if leakage else ""
            raise TargetError(
                f"{target.name}: the energy of layer {layer.name!r} is not linear in its spikes, "
                f"so no spike has a price of its own{hint}; take a target that charges every event "
                "alike, such as yin2017-28nm with a sequential schedule"
            )


def _charges_spikes(rate: Rate) -> bool:
    return any((rate.event_nj, rate.synop_nj, rate.spike_nj, rate.add_nj))


def layer_energies_nj(target: Target, activity: Activity, leakage: bool) -> list[float]:
    """Return the energy of each layer per inference, in nJ, with or without leakage.

    Raises:
        TargetError: The target gives no energy.
        MeasurementError: The activity holds no sample.
    """
    report = target.price(activity)
    if report.energy_nj is None:
        raise TargetError(
            f"{target.name} gives no energy, only a latency; take a target that does, such as "
            "yin2017-28nm"
        )
    return [
        sum(nj for part, nj in layer.parts_nj.items() if leakage or part != "leakage")
        for layer in report.layers
    ]


def silent(layer: Layer) -> Layer:
    """Return a layer without events and spikes."""
    if isinstance(layer, SynapticLayer):
        return replace(
            layer,
            events=0,
            synops=0,
            zero_weight_synops=0,
            repeated_events=0,
            repeated_synops=0,
            repeated_zero_weight_synops=0,
        )
    if isinstance(layer, NeuronLayer):
        return replace(layer, spikes=0)
    return replace(layer, adds=0) if isinstance(layer, PoolLayer) else layer


def _full(layer: Layer, synapses: int = 2) -> Layer:
    """Return the layer with two events per input and step, each meeting all of its synapses.

    Two, so that half of the synapses is a whole number as well.
    """
    layer, steps = silent(layer), getattr(layer, "presentations", 0)
    if isinstance(layer, SynapticLayer):
        events, synops = 2 * layer.inputs * steps, synapses * layer.fan_out * steps
        return replace(layer, events=events, synops=synops)
    if isinstance(layer, NeuronLayer):
        return replace(layer, spikes=layer.neurons * steps)
    return replace(layer, adds=layer.inputs * steps) if isinstance(layer, PoolLayer) else layer


def _half(layer: Layer) -> Layer:
    """Return the same with half of the synapses."""
    return _full(layer, synapses=1)


def _once(layer: Layer) -> Layer:
    """Return the layer with one event per input and step, which lies between none and two."""
    layer = _half(layer)
    if isinstance(layer, SynapticLayer):
        return replace(layer, events=layer.events // 2)
    if isinstance(layer, NeuronLayer):
        return replace(layer, spikes=layer.spikes // 2)
    return replace(layer, adds=layer.adds // 2) if isinstance(layer, PoolLayer) else layer


def _rate(layer: Layer, samples: int, none: float, full: float, half: float) -> Rate:
    """Solve for the rates of one layer."""
    counts, base = _full(layer), Rate(fixed_nj=none)
    rise = (full - none) * samples
    if isinstance(counts, SynapticLayer) and counts.synops:
        synop_nj = (full - half) * samples / (counts.synops // 2)
        event_nj = (rise - synop_nj * counts.synops) / counts.events
        return replace(base, event_nj=event_nj, synop_nj=synop_nj)
    if isinstance(counts, NeuronLayer) and counts.spikes:
        return replace(base, spike_nj=rise / counts.spikes)
    if isinstance(counts, PoolLayer) and counts.adds:
        return replace(base, add_nj=rise / counts.adds)
    return base
