"""Ten thousand damaged target files: refused clearly, or priced sanely."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

from snnplug.errors import TargetError
from snnplug.hardware.activity import Activity, PoolLayer
from snnplug.hardware.operand import BINARY
from snnplug.hardware.target import load_target, packaged_targets, parse_target, tomllib
from tests.hardware.test_per_event import FC, NEURONS

CONV = replace(FC, name="c", kind="Conv2d", inputs=72, outputs=192, weights=54, fan_out=1536)
ACTIVITY = Activity(2, (CONV, PoolLayer("p", "MaxPool2d", 192, 6, BINARY), NEURONS, FC, NEURONS))
#: Extends a packaged target and changes one number.
CHILD = {
    "schema": 1,
    "extends": "yin2017-28nm",
    "name": "child",
    "summary": "s",
    "datapath": {"lanes": 32},
    "provenance": {"datapath.lanes": {"source": "s", "evidence": "assumed"}},
}
JUNK = [0, -1, 1e308, float("nan"), float("inf"), 5e-324, True, "", "x", [], {}, 10**400, 0.5]


def mutate(content: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Change, rename or remove one key anywhere."""
    content = copy.deepcopy(content)
    table = content
    while True:
        key = rng.choice(list(table))
        if not (isinstance(table[key], dict) and table[key] and rng.random() < 0.8):
            break
        table = table[key]
    value = table.pop(key)
    match rng.randrange(3):
        case 0:
            table[key] = rng.choice([*JUNK, value])
        case 1:
            table[key + "x"] = value
    return content


def test_ten_thousand_mutated_files_are_refused_clearly_or_price_sanely() -> None:
    rng = random.Random(0)
    contents = [tomllib.loads(p.read_text(encoding="utf-8")) for p in packaged_targets().values()]
    contents.append(CHILD)
    families = {parse_target(content).family for content in contents}
    priced: set[str] = set()
    valid = 0
    for _ in range(10_000):
        try:
            target = parse_target(mutate(rng.choice(contents), rng))
        except TargetError:
            continue
        valid += 1
        priced.add(target.family)
        report = target.price(ACTIVITY)
        figures = [*report.scalars().values(), *report.parts_nj.values()]
        assert all(isfinite(v) and v >= 0 for v in figures), (target, report)
        assert report.energy_nj is not None or report.latency_us is not None
        assert valid % 50 or str(report)
    assert priced == families
    assert 100 < valid < 9_900


def test_damaged_bytes_of_a_file_are_refused_clearly_or_price_sanely(tmp_path: Path) -> None:
    rng, path, valid = random.Random(0), tmp_path / "damaged.toml", 0
    files = [p.read_bytes() for p in packaged_targets().values()]
    for _ in range(200):
        text = bytearray(rng.choice(files))
        place = rng.randrange(len(text))
        match rng.randrange(4):
            case 0:
                text[place] = rng.randrange(256)
            case 1:
                del text[place : place + rng.randint(1, 40)]
            case 2:
                text[place:place] = text[place : place + rng.randint(1, 80)]
            case 3:  # a digit of a number becomes something else
                digit = rng.choice([i for i, byte in enumerate(text) if chr(byte).isdigit()])
                text[digit] = rng.choice(b"0123456789-e.")
        path.write_bytes(bytes(text))
        try:
            report = load_target(path).price(ACTIVITY)
        except TargetError:
            continue
        valid += 1
        assert all(isfinite(v) and v >= 0 for v in report.scalars().values())
    assert 20 < valid < 180
