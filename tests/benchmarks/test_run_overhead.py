"""What the bill and the log add to an epoch of the recipe whose epochs are shortest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.run_overhead import measure_recipe


@pytest.mark.slow
def test_bill_and_log_take_less_than_five_percent_of_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    overheads = []
    for _ in range(3):  # two processes on two cores disturb each other
        found = measure_recipe("quickstart", 12, ["--trainer.enable_progress_bar=false"])
        overheads.append(found["logged"] / found["plain"] - 1)
        if overheads[-1] < 0.05:
            break
    assert min(overheads) < 0.05, overheads
