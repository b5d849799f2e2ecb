"""Energy, leakage and area of on-chip SRAM, from a table of generated memories."""

from __future__ import annotations

import csv
from bisect import bisect_right
from functools import lru_cache
from math import ceil, exp, log
from pathlib import Path
from typing import Literal

from snnplug.errors import TargetError
from snnplug.hardware.elementwise import Number, is_plain

Column = Literal["read_pj", "write_pj", "leak_uw", "area_mm2"]

_COLUMNS: dict[Column, str] = {
    "read_pj": "read_pJ",
    "write_pj": "write_pJ",
    "leak_uw": "leak_uW",
    "area_mm2": "area_mm2",
}
_WIDTHS = (32, 64, 128, 256, 512)
_CAPACITIES = tuple(2**k for k in range(11))


@lru_cache(maxsize=8)
def _table(node_nm: int, column: Column) -> dict[tuple[int, int], float]:
    """Return ``{(kB, width): value}``, with gaps closed by the next larger capacity."""
    source = Path(__file__).with_name("sram_28nm_45nm.csv")
    with source.open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if float(row["node_nm"]) == node_nm]
    if not rows:
        raise TargetError(f"no SRAM table for {node_nm} nm; the table holds 28 and 45 nm")
    known = {(int(r["kB"]), int(r["width"])): float(r[_COLUMNS[column]]) for r in rows}
    return {
        (kb, width): next(known[k, width] for k in _CAPACITIES if k >= kb and (k, width) in known)
        for kb in _CAPACITIES
        for width in _WIDTHS
    }


def _bracket(value: float, grid: tuple[int, ...]) -> tuple[int, int, float]:
    """Return the grid points around ``value`` and where it lies between them, on a log scale."""
    upper = min(max(bisect_right(grid, value), 1), len(grid) - 1)
    low, high = grid[upper - 1], grid[upper]
    return low, high, (log(value) - log(low)) / (log(high) - log(low))


def sram(node_nm: int, capacity_kb: Number, width_bits: Number, column: Column) -> Number:
    """Return one figure of an SRAM of any size, interpolated in the logarithm of everything.

    The table was generated with CACTI 7: RAM, one bank, one read/write port, low-standby-power
    cells and periphery, 300 K, organised for least leakage; 28 nm lies between its 22 and 32 nm.
    Expect ±30 to 50 % against a foundry's macros. Wider ports than 512 bit are built of several
    equal parts; capacities are held to 1 … 1024 kB per part, port widths to 32 … 512 bit.

    Args:
        node_nm: 28 or 45.
        capacity_kb: Capacity, in kB of 1024 bytes; a number or an array.
        width_bits: Bits per access; a number or an array.
        column: ``"read_pj"`` and ``"write_pj"`` per access, ``"leak_uw"``, or ``"area_mm2"``.

    Returns:
        The figure, in the unit that the column names.

    Example:
        >>> round(sram(28, 64, 512, "read_pj"), 1)   # one row of 64 weights of 8 bits
        34.0
    """
    if is_plain(capacity_kb, width_bits):
        return _interpolated(node_nm, capacity_kb, width_bits, column)
    import numpy as np

    # A grid of targets holds few different memories: each is interpolated once, by the same code.
    kb, width = np.broadcast_arrays(np.asarray(capacity_kb, float), np.asarray(width_bits, float))
    sizes, place = np.unique(np.stack([kb.ravel(), width.ravel()]), axis=1, return_inverse=True)
    values = [_interpolated(node_nm, k, w, column) for k, w in sizes.T.tolist()]
    return np.array(values)[place].reshape(kb.shape)


@lru_cache(maxsize=4096)  # a run prices the same few memories every epoch
def _interpolated(node_nm: int, capacity_kb: float, width_bits: float, column: Column) -> float:
    table = _table(node_nm, column)
    parts = max(1, ceil(width_bits / 512))
    width = min(max(width_bits / parts, 32.0), 512.0)
    capacity = min(max(capacity_kb / parts, 1.0), 1024.0)
    k0, k1, at_k = _bracket(capacity, _CAPACITIES)
    w0, w1, at_w = _bracket(width, _WIDTHS)
    value = (1 - at_k) * ((1 - at_w) * log(table[k0, w0]) + at_w * log(table[k0, w1])) + at_k * (
        (1 - at_w) * log(table[k1, w0]) + at_w * log(table[k1, w1])
    )
    return parts * exp(value)
