"""Counting the events in a tensor."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snnplug.hardware.operand import operand_of_spikes
from snnplug.hardware.tally import spikes_of, tally
from snnplug.hardware.value_range import operand_of
from snnplug.kernels import native


@pytest.fixture(params=["native", "torch"], autouse=True)
def _with_and_without_the_library(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if request.param == "torch":
        monkeypatch.setattr(native, "library", lambda: None)
    elif native.library() is None:
        pytest.fail(f"the native library is not there: {native.available()[1]}")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
def test_counts_spikes_per_feature(dtype: torch.dtype, density: float) -> None:
    torch.manual_seed(0)
    x = (torch.rand(7, 5, 3, 4) < density).to(dtype)
    seen = tally(x, keep=2)
    expected = [[int((x[:, :, i, j] != 0).sum()) for j in range(4)] for i in range(3)]
    assert seen.counts.tolist() == expected
    assert seen.counts.dtype == torch.int64
    assert bool(seen.is_binary)


def test_counts_values_that_are_no_spikes() -> None:
    seen = tally(torch.tensor([[0.0, -0.5], [2.0, 0.5]]), keep=1)
    assert seen.counts.tolist() == [1, 2]
    assert not bool(seen.is_binary)


@pytest.mark.parametrize(
    "value", [1e-38, 1e-7, 0.5, 1 - 2**-24, 1 + 2**-23, 2.0, -1.0, float("nan"), float("inf")]
)
def test_one_graded_value_among_many_spikes_is_seen(value: float) -> None:
    x = (torch.rand(1000, 700) < 0.1).float()
    assert spikes_of(x) is not None
    x[999, 699] = value
    assert spikes_of(x) is None
    assert tally(x, 1).counts[699] == (x[:, 699] != 0).sum()
    assert tally(x).counts == (x != 0).sum()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from([0.0, 1.0, 0.25]), min_size=3, max_size=3), min_size=1))
def test_agrees_with_python(rows: list[list[float]]) -> None:
    seen = tally(torch.tensor(rows), keep=1)
    assert seen.counts.tolist() == [
        sum(v != 0 for v in column) for column in zip(*rows, strict=True)
    ]
    assert bool(seen.is_binary) == all(v in (0.0, 1.0) for row in rows for v in row)


@pytest.mark.parametrize("size", [0.5, 1.25, 1 / 0.9])
def test_spikes_of_another_size_are_known_by_it(size: float) -> None:
    x = (torch.rand(100, 700, generator=torch.Generator().manual_seed(0)) < 0.1) * size
    x[:50] = 0  # a silent beginning
    seen = tally(x, 1)
    assert seen.counts.tolist() == (x != 0).sum(0).tolist()
    known = None if native.library() is None else x.max().item()
    assert (seen.spike, seen.is_binary) == (known, False)
    assert operand_of_spikes(seen.events, x.max().item()) == operand_of(x)
    x[99, 699] = 2 * size
    assert tally(x).spike is None
    assert tally(x, 1).counts.tolist() == (x != 0).sum(0).tolist()


def test_many_spikes_are_counted_exactly() -> None:
    x = torch.ones(2**24 + 3)
    x[7] = 0
    assert tally(x).counts == 2**24 + 2
    assert tally(x.view(1, -1), keep=1).counts.sum() == 2**24 + 2


def test_half_of_the_values_graded_is_seen_however_their_bits_add_up() -> None:
    assert spikes_of(torch.full((1024,), 0.5)) is None
    assert spikes_of(torch.full((4096,), 0.25)) is None
    assert spikes_of(torch.tensor([-0.0, 1.0])) is not None


def test_empty_batch_counts_nothing() -> None:
    assert tally(torch.zeros(0, 3), 1).counts.tolist() == [0, 0, 0]
