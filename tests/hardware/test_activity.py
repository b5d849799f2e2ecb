"""Counts add up, travel as JSON, and refuse to be mixed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from snnplug.errors import MeasurementError
from snnplug.hardware.activity import Activity, NeuronLayer, PoolLayer, SynapticLayer
from snnplug.hardware.operand import ANALOG, BINARY

FC = SynapticLayer("fc", "Linear", 8, 4, 32, 32, 10, 20, 80, BINARY)
POOL = PoolLayer("pool", "MaxPool2d", 8, 10, ANALOG)
LIF = NeuronLayer("lif", "ContinuousIF", 4, 10, 7, True, "none", True)
ONE = Activity(2, (FC, POOL, LIF), ("bn (BatchNorm2d)",))


def test_adds_counters_and_nothing_else() -> None:
    total = ONE + ONE
    assert total.samples == 4
    assert total.layers[0] == replace(FC, presentations=20, events=40, synops=160)
    assert total.layers[1] == replace(POOL, presentations=20)
    assert total.layers[2] == replace(LIF, presentations=20, spikes=14)
    assert total.unpriced == ONE.unpriced
    assert (total.synops, total.spikes_per_synapse) == (ONE.synops, ONE.spikes_per_synapse)


def test_per_inference_figures() -> None:
    assert ONE.synops == 40
    assert ONE.spikes_per_synapse == 40 / 32
    assert ONE.firing_rates() == {"lif": 7 / 40}
    assert FC.dense_synops == 320


def test_sum_with_an_analog_input_is_analog() -> None:
    graded = replace(ONE, layers=(replace(FC, operand=ANALOG), POOL, LIF))
    assert (ONE + graded).synaptic[0].operand == ANALOG
    assert (graded + ONE).synaptic[0].operand == ANALOG


def test_sum_over_processes_is_that_of_their_activities() -> None:
    graded = replace(ONE, layers=(replace(FC, operand=ANALOG), POOL, LIF))
    nothing = Activity(0, ())
    texts = [ONE.to_json(), graded.to_json(), nothing.to_json()]
    assert ONE.over_processes(lambda mine: texts) == ONE + graded
    assert nothing.over_processes(lambda mine: texts[::-1]) == ONE + graded
    assert ONE.over_processes(lambda mine: [mine]) == ONE


def test_json_keeps_everything() -> None:
    assert Activity.from_json(ONE.to_json()) == ONE


def test_counts_beyond_64_bits_do_not_overflow() -> None:
    huge = replace(ONE, layers=(replace(FC, synops=2**63), POOL, LIF))
    assert Activity.from_json((huge + huge).to_json()).synaptic[0].synops == 2**64


def test_other_networks_and_empty_measurements_are_refused() -> None:
    with pytest.raises(MeasurementError, match="same network"):
        ONE + Activity(1, (FC,), ())
    with pytest.raises(MeasurementError, match="different layers"):
        ONE + replace(ONE, layers=(replace(FC, inputs=9), POOL, LIF))
    with pytest.raises(MeasurementError, match="0 samples"):
        _ = replace(ONE, samples=0).synops


def test_a_stored_activity_is_priced_without_torch() -> None:
    program = """
import sys
from snnplug.hardware.activity import Activity
from snnplug.hardware.target import load_target, packaged_targets
activity = Activity.from_json(sys.stdin.read())
print(*(load_target(name).price(activity).samples for name in packaged_targets()))
assert not {"torch", "snntorch", "lightning"} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], input=ONE.to_json(), text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"2"}
