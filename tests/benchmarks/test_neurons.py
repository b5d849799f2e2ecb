"""The benchmark of the neurons, on tiny sizes: all of it runs, and compares the same work."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.benchmarks.neurons.__main__ import TASKS, chosen, main, measure
from tests.benchmarks.neurons.report import Result, markdown
from tests.benchmarks.neurons.task import OURS, Task
from tests.benchmarks.neurons.timing import medians_ms, peak_growth_mb


@pytest.mark.parametrize("key", TASKS)
def test_ours_does_what_the_loop_does(key: str) -> None:
    task = TASKS[key]()
    ours, loop = (task.build[name](True) for name in (OURS, task.loop))
    first = ours()
    assert first == pytest.approx(loop(), rel=1e-5)
    assert first > 0


def test_writes_a_table_and_a_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--quick", "--repeats", "1", "--peers", "--write", str(tmp_path)])
    table = (tmp_path / "neurons.md").read_text()
    for make in TASKS.values():
        task = make()
        assert f"### {task.title}" in table
        for name in chosen(task, [], compiled=False):
            assert name in table
    assert table.count(f"**{OURS}**") == len(TASKS)
    assert "python -m tests.benchmarks.neurons --quick" in table
    assert "spikingjelly" not in table
    assert (tmp_path / "neurons.svg").read_text().lstrip().startswith("<?xml")
    assert "| **snnplug** |" in capsys.readouterr().out


def test_what_is_not_installed_is_reported() -> None:
    def missing(quick: bool) -> None:
        raise ModuleNotFoundError("No module named 'other'")

    build = {OURS: lambda quick: lambda: None, "other": missing}
    task = Task("title", OURS, build)  # type: ignore[arg-type]
    result = measure("key", task, list(build), repeats=1, quick=True, memory=False)
    assert "| other | absent: No module named 'other' | | |" in markdown(
        {"key": result}, {"key": task}, []
    )


def test_peers_are_chosen_by_name() -> None:
    task = TASKS["mlp"]()
    names = chosen(task, ["norse"], compiled=False)
    assert "norse" in names
    assert "sinabs" not in names
    assert {OURS, task.loop, *task.floors} <= set(names)
    assert not set(task.compiled) & set(names)
    assert set(chosen(task, None, compiled=True)) == set(task.build)


def test_the_slow_are_timed_less_often() -> None:
    calls = {"quick": 0, "slow": 0}

    def count(name: str) -> None:
        calls[name] += 1

    steps = {name: lambda name=name: count(name) for name in calls}
    medians_ms(steps, repeats=9, budget_s=1.0)
    assert calls == {"quick": 10, "slow": 10}
    medians_ms(steps, repeats=9, budget_s=-1.0)
    assert calls == {"quick": 15, "slow": 15}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_peak_memory_is_that_of_a_known_array() -> None:
    def once() -> None:
        assert len(bytearray(b"\1") * 100_000_000)

    assert 97 < peak_growth_mb(once, lambda: None) < 125


def test_ratio_and_order() -> None:
    task = Task("title", "loop", {}, floors=("floor",))
    result = Result({OURS: 2.0, "loop": 8.0, "floor": 1.0}, {OURS: 12.4})
    rows = markdown({"key": result}, {"key": task}, []).splitlines()[5:8]
    assert rows == [
        "| *floor* | 1.00 | 0.50 |  |",
        "| **snnplug** | 2.00 | 1.00 | 12 MB |",
        "| loop | 8.00 | 4.00 |  |",
    ]
