"""The benchmark of the backends, on tiny sizes: all of it runs, and compares the same work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import compile_time
from tests.benchmarks.backends import NEURONS, PRECISIONS, SNNTORCH, implementations, main, step


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("neuron", NEURONS)
def test_every_backend_does_the_same_work(neuron: str, precision: str) -> None:
    names = implementations(["eager", "fused"], neuron)
    losses = {name: step(neuron, name, precision, 6, quick=True)() for name in names}
    assert losses[SNNTORCH] > 0
    for name in names:
        assert losses[name] == pytest.approx(
            losses[SNNTORCH], rel=2e-2 if "bf16" in precision else 1e-5
        )


def test_what_is_not_there_is_left_out() -> None:
    assert implementations(["eager", "mps", "ipu"], "Leaky") == [SNNTORCH, "eager"]
    assert implementations(["eager", "fused"], "Alpha") == [SNNTORCH]


def test_writes_a_table_of_what_ran(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--quick", "--repeats", "1", "--steps", "4", "--backends", "fused", "cuda"]
    main([*arguments, "--neurons", "Leaky", "SLSTM", "--write", str(tmp_path / "b.md")])
    text = (tmp_path / "b.md").read_text()
    assert text.count("| ms per step | snnTorch | fused |") == len(PRECISIONS)
    assert "### bf16-mixed, 4 time steps" in text
    assert "| SLSTM | " in text
    assert "python -m tests.benchmarks.backends --quick" in text
    assert "| Leaky | " in capsys.readouterr().out


def test_says_what_compiling_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Compiling is what takes long, and is compared elsewhere; each kind is asked for twice."""
    asked: list[str] = []

    def process(kind: str, root: Path) -> list[float]:
        assert root.is_dir()
        asked.append(kind)
        return [3.0, 4.25] if len(asked) % 2 else [2.0, 0.5]

    monkeypatch.setattr(compile_time, "_in_new_process", process)
    main(["--compile"])
    assert asked == ["kernels", "kernels", "scan", "scan"]
    assert "| scan | 7.2 | 4.2 | 2.5 |" in capsys.readouterr().out
