"""The analytical model of Lemaire et al.: a bill by hand, and the memory it reads from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from snnplug.hardware.activity import Activity
from snnplug.hardware.event_memory import Accesses, EventMemory
from snnplug.hardware.target import load_target
from tests.hardware.test_per_event import ANALOG, BINARY, FC

TARGET = load_target("lemaire2022-45nm")
assert isinstance(TARGET, EventMemory)


def test_bill_by_hand() -> None:
    """Per sample 10 events, 1000 synops, 300 updates, 15 spikes; all memories are below 8 kB."""
    report = TARGET.price(BINARY)
    parts = {
        "weight_read": 1000 * 10.0,
        "potential": (2 * 1000 + 300) * 10.0,
        "spikes": (10 + 15) * 10.0,
        "accumulate": 1000 * 0.1,
        "address": 1000 * 0.1,
        "neuron": (300 + 15) * 0.1,
    }
    assert report.parts_nj == pytest.approx({k: 1e-3 * v for k, v in parts.items()})
    assert report.energy_nj == pytest.approx(1e-3 * sum(parts.values()))
    assert (report.latency_us, report.area_mm2) == (None, None)


def test_what_convolutions_leaks_and_currents_add() -> None:
    usual = TARGET.price(BINARY).energy_nj
    leaky = Activity(2, (FC, replace(BINARY.neuronal[0], leak="multiply")))
    assert TARGET.price(leaky).energy_nj - usual == pytest.approx(300 * 3.2e-3)
    conv = Activity(2, (replace(FC, kind="Conv2d"), BINARY.layers[1]))
    assert TARGET.price(conv).energy_nj - usual == pytest.approx(2 * 10 * 3.2e-3)
    assert TARGET.price(ANALOG).energy_nj - usual == pytest.approx(1000 * 3.1e-3)


def test_access_is_interpolated_between_three_memories_and_held_outside() -> None:
    memory = TARGET.memory
    assert isinstance(memory, Accesses)
    seen = [memory.access_pj(kb) for kb in (1, 8, 20, 32, 528, 1024, 4096)]
    assert seen == pytest.approx([10, 10, 15, 20, 60, 100, 100])
