"""The SRAM table and what is read between its points."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import snnplug.hardware.sram
from snnplug.errors import TargetError
from snnplug.hardware.sram import sram


def test_grid_points_are_the_table() -> None:
    table = Path(snnplug.hardware.sram.__file__).with_name("sram_28nm_45nm.csv")
    with table.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            for column, name in (("read_pj", "read_pJ"), ("leak_uw", "leak_uW")):
                value = sram(int(float(row["node_nm"])), int(row["kB"]), int(row["width"]), column)
                assert value == pytest.approx(float(row[name]), rel=1e-9)


@pytest.mark.parametrize(
    ("kb", "width", "read_pj"), [(64, 512, 34.0), (8, 512, 13.6), (512, 512, 126.8), (1, 32, 0.55)]
)
def test_spot_values(kb: float, width: float, read_pj: float) -> None:
    assert sram(28, kb, width, "read_pj") == pytest.approx(read_pj, rel=5e-3)


def test_between_points_it_is_the_geometric_mean() -> None:
    a, b = sram(28, 64, 256, "read_pj"), sram(28, 128, 256, "read_pj")
    assert sram(28, 64 * 2**0.5, 256, "read_pj") == pytest.approx((a * b) ** 0.5)


def test_a_gap_takes_the_next_larger_capacity() -> None:
    assert sram(28, 1, 512, "read_pj") == sram(28, 4, 512, "read_pj")


def test_wide_ports_are_several_memories_and_small_ones_are_held_to_the_grid() -> None:
    assert sram(28, 64, 1024, "read_pj") == pytest.approx(2 * sram(28, 32, 512, "read_pj"))
    assert sram(28, 0.01, 8, "read_pj") == sram(28, 1, 32, "read_pj")


def test_a_node_without_a_table_is_refused() -> None:
    with pytest.raises(TargetError, match="28 and 45 nm"):
        sram(7, 64, 512, "read_pj")
