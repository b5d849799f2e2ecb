"""What a page says that a terminal shows, and whether a terminal does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


def dialogue(page: Path) -> list[tuple[str, list[str]]]:
    """Return each command of the ``console`` blocks, and the lines that the page shows after it."""
    said: list[tuple[str, list[str]]] = []
    for block in re.findall(
        r"^```console\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S
    ):
        for line in block.splitlines():
            if line.startswith("$ "):
                said.append((line[2:], []))
            elif said[-1][0].endswith("\\"):
                said[-1] = (said[-1][0][:-1] + line.strip(), [])
            else:
                said[-1][1].append(line)
    return said


def assert_shows(shown: list[str], lines: list[str], rel: float = 0.1) -> None:
    """Check that lines come in this order; a line of ``…`` stands for any number of others.

    Names of runs and spaces do not count, and numbers may differ by the part ``rel``: another
    processor rounds otherwise.
    """
    at = 0
    may_skip = False
    for line in lines:
        if line.strip() == "…":
            may_skip = True
            continue
        while may_skip and at < len(shown) and _shape(shown[at]) != _shape(line):
            at += 1
        assert at < len(shown), f"{line!r} is not shown in {shown}"
        assert _shape(shown[at]) == _shape(line)
        assert _numbers(shown[at]) == pytest.approx(_numbers(line), rel=rel)
        at, may_skip = at + 1, False
    assert may_skip or at == len(shown), shown[at:]


_RUN = r"\d{8}-\d{6}-[0-9a-f]{4}"


def _shape(line: str) -> str:
    return " ".join(re.sub(r"\d[\d,.]*", "0", re.sub(_RUN, "RUN", line)).split())


def _numbers(line: str) -> list[float]:
    found = re.findall(r"\d[\d,.]*", re.sub(_RUN, "", line))
    return [float(text.replace(",", "").rstrip(".")) for text in found if text.count(".") < 2]
