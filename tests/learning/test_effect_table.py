"""The Monte-Carlo table of effects: right, monotone, kept with a checksum."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from snnplug.errors import ArgumentError
from snnplug.kernels.spike_train import SpikeTrainDynamics
from snnplug.learning import effect_table as module
from snnplug.learning.effect_table import effect_table, mean_effects, random_trains
from tests.learning import stepwise


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SNNPLUG_CACHE", str(tmp_path))
    effect_table.cache_clear()


def test_random_trains_keep_count_and_refractory_time() -> None:
    trains = random_trains(np.random.default_rng(0), 12, 200, 60, 3)
    assert trains.shape == (60, 200)
    assert (trains.sum(0) == 12).all()
    assert not trains[0].any()
    gaps = [np.diff(np.flatnonzero(train)).min() for train in trains.T]
    assert min(gaps) == 4


def test_mean_effects_are_those_of_pairs_drawn_one_by_one() -> None:
    d = SpikeTrainDynamics(1.0, 20.0, 5.0)
    means = mean_effects(d, 50, 16, draws=2000)
    rng = np.random.default_rng(7)
    for sent, heard in ((5, 3), (12, 9)):
        senders, receivers = (
            torch.from_numpy(random_trains(rng, n, 400, 50, 2)).double() for n in (sent, heard)
        )
        drawn = np.array([stepwise.effect(senders[:, k], receivers[:, k], d) for k in range(400)])
        error = drawn.std() / 20
        assert abs(means[sent, heard] - drawn.mean()) < 4 * error


def test_table_grows_with_the_input_and_its_slope_is_its_own() -> None:
    table = effect_table(64.0, 8.0, 2, 400)
    assert table.most == 100
    inputs = torch.arange(101.0).double()
    for outputs in (5.0, 40.0, 90.0):
        effects = table.effect(inputs, torch.full((101,), outputs).double())
        assert (effects.diff() > 0).float().mean() > 0.95
    at = torch.linspace(1, 99, 50).double()
    step = 1e-4
    counts = torch.full((50,), 30.0).double()
    slope = (table.effect(counts, at + step) - table.effect(counts, at - step)) / (2 * step)
    torch.testing.assert_close(table.derivative(counts, at), slope, rtol=1e-6, atol=1e-8)
    assert table.effect(torch.tensor(500.0), torch.tensor(5.0)) == table.effect(
        torch.tensor(100.0), torch.tensor(5.0)
    )


def test_a_kept_table_is_read_and_a_damaged_one_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = effect_table(20.0, 5.0, 2, 50).coefficients
    (path,) = tmp_path.glob("effects-*.npy")
    content = path.read_bytes()
    calls = []
    make = module.mean_effects
    monkeypatch.setattr(module, "mean_effects", lambda *a: calls.append(a) or make(*a))
    effect_table.cache_clear()
    assert torch.equal(effect_table(20.0, 5.0, 2, 50).coefficients, first)
    assert calls == []
    for damaged in (content[:100], content[:60] + b"x" + content[61:], b""):
        path.write_bytes(damaged)
        effect_table.cache_clear()
        assert torch.equal(effect_table(20.0, 5.0, 2, 50).coefficients, first)
    assert len(calls) == 3
    assert path.read_bytes() == content


def test_it_does_without_a_cache_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SNNPLUG_CACHE", str(tmp_path / "file"))
    assert effect_table(20.0, 5.0, 2, 50).most == 16


def test_one_step_is_too_few() -> None:
    with pytest.raises(ArgumentError, match="cannot spike"):
        effect_table(20.0, 5.0, 2, 1)
