"""The price of one more spike: what linear targets charge, and who has no such price."""

from __future__ import annotations

from dataclasses import replace

import pytest

from snnplug.errors import MeasurementError, TargetError
from snnplug.hardware.activity import (
    Activity,
    ElementwiseLayer,
    NeuronLayer,
    PoolLayer,
    SynapticLayer,
)
from snnplug.hardware.operand import ANALOG, BINARY
from snnplug.hardware.rates import Rate, layer_energies_nj, linear_rates
from snnplug.hardware.target import Target, load_target, packaged_targets

FC = SynapticLayer("fc", "Linear", 16, 100, 1600, 1600, 6, 20, 2000, BINARY)
#: 3 x 3 taps on 8 x 8 places with a border: an input reaches 4, 6 or 9 places of 5 channels.
CONV = SynapticLayer("conv", "Conv2d", 64, 320, 45, 2420, 6, 50, 2000, ANALOG)
NEURONS = NeuronLayer("n", "Leaky", 100, 6, 30, True, "multiply", True)
POOL = PoolLayer("pool", "AvgPool2d", 64, 6, BINARY, adds=9, takes_largest=False)
NORM = ElementwiseLayer("norm", "BatchNorm2d", 40, 40)
ACTIVITY = Activity(2, (FC, NEURONS, CONV, POOL, NORM))
NOT_LINEAR = {"rram-crossbar": "not linear", "xylo-a2": "no energy"}
NO_SPIKES = ("ann-int8-28nm", "arm-degnan2015", "cpu-degnan2015", "gpu-degnan2015")


def other_counts(events: int, synops: int, spikes: int, adds: int) -> Activity:
    layers = (
        replace(FC, events=events, synops=100 * events),
        replace(NEURONS, spikes=spikes),
        replace(CONV, events=events, synops=synops),
        replace(POOL, adds=adds),
        NORM,
    )
    return Activity(2, layers)


@pytest.mark.parametrize("leakage", [True, False])
@pytest.mark.parametrize("name", sorted({*packaged_targets()} - {*NOT_LINEAR, *NO_SPIKES}))
def test_rates_give_what_the_target_charges_for_any_counts(name: str, leakage: bool) -> None:
    target = load_target(name)
    rates = linear_rates(target, ACTIVITY, leakage)
    for counts in ((0, 0, 0, 0), (1, 20, 0, 1), (7, 300, 11, 0), (96, 4 * 2420, 600, 384)):
        activity = other_counts(*counts)
        expected = layer_energies_nj(target, activity, leakage)
        found = [r.energy_nj(la, 2) for r, la in zip(rates, activity.layers, strict=True)]
        assert found == pytest.approx(expected, rel=1e-12)
    report = target.price(ACTIVITY)
    total = sum(r.energy_nj(la, 2) for r, la in zip(rates, ACTIVITY.layers, strict=True))
    leaked = 0.0 if leakage else report.parts_nj.get("leakage", 0.0)
    assert total == pytest.approx((report.energy_nj or 0) - leaked, rel=1e-12)


def test_rates_by_hand() -> None:
    fc, neurons, *_ = linear_rates(load_target("loihi-2018"), ACTIVITY)
    # 23.6 pJ for each of the 100 synapses that a spike reaches, 81 pJ for an update of a neuron.
    assert fc.event_nj + 100 * fc.synop_nj == pytest.approx(2.36, rel=1e-12)
    assert neurons == Rate(fixed_nj=pytest.approx(100 * 3 * 0.081, rel=1e-12))


@pytest.mark.parametrize(("name", "message"), NOT_LINEAR.items())
def test_a_price_that_is_not_linear_is_refused(name: str, message: str) -> None:
    with pytest.raises(TargetError, match=f"{name}.*{message}.*yin2017-28nm"):
        linear_rates(load_target(name), ACTIVITY)


@pytest.mark.parametrize("name", NO_SPIKES)
def test_a_machine_that_skips_nothing_is_refused(name: str) -> None:
    with pytest.raises(TargetError, match=f"{name} does not depend on spikes"):
        linear_rates(load_target(name), ACTIVITY)


def pipelined() -> Target:
    target = load_target("yin2017-28nm")
    return replace(target, datapath=replace(target.datapath, schedule="pipelined"))  # type: ignore[attr-defined,call-arg]


def test_leakage_of_a_pipeline_is_not_linear_and_the_rest_is() -> None:
    with pytest.raises(TargetError, match="leakage=False"):
        linear_rates(pipelined(), ACTIVITY)
    assert linear_rates(pipelined(), ACTIVITY, leakage=False) == linear_rates(
        load_target("yin2017-28nm"), ACTIVITY, leakage=False
    )


def test_silence_is_no_proof() -> None:
    with pytest.raises(TargetError, match="not linear"):
        linear_rates(load_target("rram-crossbar"), other_counts(0, 0, 0, 0))


def test_no_sample_has_no_rate() -> None:
    with pytest.raises(MeasurementError, match="0 samples"):
        linear_rates(load_target("loihi-2018"), Activity(0, ACTIVITY.layers))
