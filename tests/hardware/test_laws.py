"""Laws that every target's bill obeys, whatever the network did."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnplug.hardware.activity import Activity, Layer, NeuronLayer, PoolLayer, SynapticLayer
from snnplug.hardware.operand import ANALOG, BINARY
from snnplug.hardware.target import load_target, packaged_targets
from snnplug.hardware.window import Window

WINDOW = Window((2, 6, 6), (4, 6, 6), (3, 3), (1, 1), (1, 1), (1, 1))
#: Of the 36 places of a 3 x 3 window with zeros around it, borders reach fewer outputs.
FAN_OUT = 2 * 4 * 16**2
TARGETS = sorted(packaged_targets())


@st.composite
def activities(draw: st.DrawFn, samples: int | None = None) -> Activity:
    """A network of a convolution, pooling, neurons and two layers of weights, with any spikes."""
    count = draw(st.integers(1, 20)) if samples is None else samples
    steps = draw(st.integers(1, 9))
    p = count * steps
    inside = draw(st.integers(0, 72 * p))
    rows = [draw(st.integers(0, n * p)) for n in (36, 20)]
    operand = draw(st.sampled_from([BINARY, ANALOG]))
    layers: tuple[Layer, ...] = (
        # Between the fewest and the most outputs that an input reaches: 4 x 4 and 4 x 9.
        SynapticLayer(
            "c",
            "Conv2d",
            72,
            144,
            72,
            FAN_OUT,
            p,
            inside,
            min(inside * draw(st.integers(16, 36)), FAN_OUT * p),
            operand,
            window=WINDOW,
        ),
        PoolLayer("p", "MaxPool2d", 144, p, operand),
        NeuronLayer("n", "Leaky", 36, p, rows[0], True, "multiply", True),
        SynapticLayer("f", "Linear", 36, 20, 720, 720, p, rows[0], 20 * rows[0], BINARY),
        NeuronLayer("m", "Leaky", 20, p, rows[1], True, "shift", True),
        SynapticLayer("g", "Linear", 20, 70, 1400, 1400, p, rows[1], 70 * rows[1], BINARY),
        NeuronLayer("o", "Leaky", 70, p, 0, True, "none", True),
    )
    return Activity(count, layers)


def scaled(activity: Activity, factor: int, samples: int) -> Activity:
    """Return ``factor`` times the counts, on other samples."""

    def times(layer: Any) -> Layer:
        names = [f.name for f in fields(layer) if f.metadata.get("counter")]
        changed: Layer = replace(layer, **{n: getattr(layer, n) * factor for n in names})
        return changed

    return Activity(samples, tuple(map(times, activity.layers)))


def close(a: float | None, b: float | None, rel: float = 1e-12) -> bool:
    return a is b if a is None or b is None else a == pytest.approx(b, rel=rel, abs=1e-15)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=40)
@given(activity=activities())
def test_parts_layers_and_band(name: str, activity: Activity) -> None:
    report = load_target(name).price(activity)
    if report.energy_nj is None:
        assert report.parts_nj == {}
    else:
        assert close(sum(report.parts_nj.values()), report.energy_nj)
        assert close(sum(layer.energy_nj or 0.0 for layer in report.layers), report.energy_nj)
        assert 0 <= report.energy_nj_low <= report.energy_nj <= report.energy_nj_high
        assert report.dense_nj >= report.energy_nj * (1 - 1e-12)
        assert min(report.parts_nj.values()) >= 0
    if report.latency_us is not None:
        assert close(sum(layer.latency_us or 0.0 for layer in report.layers), report.latency_us)
        assert (report.latency_pipelined_us or 0.0) <= report.latency_us * (1 + 1e-12)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=25)
@given(activity=activities(), factor=st.integers(2, 7))
def test_linear_in_time_and_independent_of_samples(
    name: str, activity: Activity, factor: int
) -> None:
    target = load_target(name)
    once = target.price(activity)
    more_samples = target.price(scaled(activity, factor, activity.samples * factor))
    longer = target.price(scaled(activity, factor, activity.samples))
    passes = 1 if name == "ann-int8-28nm" else factor  # the conventional network needs one pass
    for figure in ("energy_nj", "energy_nj_low", "energy_nj_high", "dense_nj", "latency_us"):
        value = getattr(once, figure)
        assert close(getattr(more_samples, figure), value)
        expected = None if value is None else value * passes
        assert close(getattr(longer, figure), expected), figure
    assert once.area_mm2 == longer.area_mm2 == more_samples.area_mm2


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=25)
@given(activity=activities())
def test_one_spike_more_never_costs_less(name: str, activity: Activity) -> None:
    target, less = load_target(name), activity
    f = less.synaptic[1]
    if f.events == f.inputs * f.presentations:
        return
    place = less.layers.index(f)
    grown = replace(f, events=f.events + 1, synops=f.synops + f.outputs)
    layers = (*less.layers[:place], grown, *less.layers[place + 1 :])
    before, after = target.price(less), target.price(replace(less, layers=layers))
    for figure in ("energy_nj", "energy_nj_low", "energy_nj_high", "latency_us"):
        low, high = getattr(before, figure), getattr(after, figure)
        assert low is None or high >= low * (1 - 1e-12)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=15)
@given(data=st.data())
def test_batches_and_ranks_add_up_before_the_price(name: str, data: st.DataObject) -> None:
    """Counts of two halves, also over processes, are priced as those of the whole."""
    whole = data.draw(activities(samples=4))
    halves = (
        Activity(1, tuple(map(_part, whole.layers))),
        Activity(3, tuple(map(_rest, whole.layers))),
    )
    target = load_target(name)
    assert halves[0] + halves[1] == whole
    assert target.price(halves[1] + halves[0]) == target.price(whole)
    gathered = halves[0].over_processes(lambda mine: [mine, halves[1].to_json()])
    assert target.price(gathered) == target.price(whole)


def _part(layer: Any) -> Layer:
    names = [f.name for f in fields(layer) if f.metadata.get("counter")]
    part: Layer = replace(layer, **{n: getattr(layer, n) // 4 for n in names})
    return part


def _rest(layer: Any) -> Layer:
    names = [f.name for f in fields(layer) if f.metadata.get("counter")]
    rest: Layer = replace(layer, **{n: getattr(layer, n) - getattr(layer, n) // 4 for n in names})
    return rest


@pytest.mark.parametrize("name", TARGETS)
def test_silence(name: str) -> None:
    """Without a spike nothing is read or added up; what is left works at every step."""
    silent = scaled(_whole(), 0, 4)
    p = 12
    layers = tuple(replace(layer, presentations=p) for layer in silent.layers)
    report = load_target(name).price(Activity(4, layers))
    if name in ("ann-int8-28nm", "cpu-degnan2015", "gpu-degnan2015", "arm-degnan2015"):
        assert report.energy_nj == report.dense_nj > 0  # they skip no zero
    elif report.energy_nj is not None:
        on = {part for part, nj in report.parts_nj.items() if nj}
        assert on <= {"scan", "membrane", "neuron", "output", "potential", "control", "leakage"}
        if load_target(name).scope == "all_in":
            assert report.energy_nj == 0


def _whole() -> Activity:
    return Activity(
        4,
        (
            SynapticLayer("f", "Linear", 36, 20, 720, 720, 12, 5, 100, BINARY),
            NeuronLayer("m", "Leaky", 20, 12, 3, True, "shift", True),
        ),
    )
