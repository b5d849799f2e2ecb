"""Classes of values, and that they do not depend on how the values come."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from snnplug.hardware.operand import ANALOG, BINARY, SILENT, TERNARY, Operand
from snnplug.hardware.value_range import operand_of


@pytest.mark.parametrize(
    ("values", "kind", "bits"),
    [
        ([0.0, 0.0], "binary", 1),
        ([0.0, 1.0], "binary", 1),
        ([0.0, 0.7], "binary", 1),
        ([-0.3], "binary", 1),
        ([0.0, 0.7, -0.7], "ternary", 2),
        ([0.0, 1.0, 2.0], "integer", 2),
        ([0.0, 2.0, 4.0], "integer", 2),
        ([-3.0, 1.0], "integer", 3),
        ([k / 4 for k in range(5)], "integer", 3),
        ([k / 9 for k in range(10)], "integer", 4),
        ([k / 255 for k in range(256)], "integer", 8),
        ([0.731 * k for k in range(-3, 4)], "integer", 3),
        ([1 / 2**12, *(k / 2**12 for k in range(0, 2**12, 5))], "integer", 12),
        ([k / 1023 for k in range(1024)], "analog", None),
        ([0.1234567, 0.7654321, 0.333], "analog", None),
        ([1.0, float("inf")], "analog", None),
        ([1.0, float("nan")], "analog", None),
    ],
)
def test_class_and_bits(values: list[float], kind: str, bits: int | None) -> None:
    for dtype in (torch.float32, torch.float64):
        found = operand_of(torch.tensor(values, dtype=dtype))
        assert (found.kind, found.bits) == (kind, bits), dtype


@pytest.mark.parametrize("scale", [1.0, 1 / 4, 1 / 9, 1 / 255, 0.731058578, 3.7e-5])
def test_whole_equals_the_join_of_its_parts_in_any_order(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        low, high = sorted(torch.randint(-9, 200, (2,), generator=generator).tolist())
        x = torch.randint(low, high + 1, (40,), generator=generator) * torch.tensor(scale)
        whole = operand_of(x)
        parts = [operand_of(x[i:j]) for i, j in ((0, 3), (3, 4), (4, 17), (17, 40))]
        for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
            joined = SILENT
            for k in order:
                joined = joined.join(parts[k])
            assert joined == whole
        streamed = SILENT
        for part in x.split(7):
            streamed = operand_of(part, streamed)
        assert streamed == whole


@settings(max_examples=200)
@given(st.lists(st.integers(-20, 20), min_size=1, max_size=8), st.sampled_from([1.0, 0.25, 1 / 3]))
def test_levels_are_the_integers_less_their_common_part(numbers: list[int], scale: float) -> None:
    common = int(torch.tensor(numbers).abs().numpy().astype(int).tolist() and _gcd(numbers))
    found = operand_of(torch.tensor([n * scale for n in numbers], dtype=torch.float64))
    if common == 0:
        assert found == SILENT
        return
    assert found.levels == (min(0, *numbers) // common, max(0, *numbers) // common)
    assert found.step == pytest.approx(scale * common, rel=1e-6)


def _gcd(numbers: list[int]) -> int:
    common = 0
    for n in numbers:
        a, b = common, abs(n)
        while b:
            a, b = b, a % b
        common = a
    return common


def test_one_odd_value_in_a_large_tensor_is_seen() -> None:
    x = (torch.rand(600, 1000) < 0.3).float() * 2
    x[1, 2] = 1
    assert operand_of(x).levels == (0, 2)
    x[599, 999] = 0.123456
    assert operand_of(x) == ANALOG


def test_random_values_are_analog() -> None:
    torch.manual_seed(0)
    draws: list[Tensor] = [torch.randn(6), torch.rand(6), torch.rand(4000), torch.randn(3).double()]
    assert all(operand_of(x) == ANALOG for x in draws for _ in range(50))


def test_joins_by_hand() -> None:
    assert SILENT.join(BINARY) == BINARY.join(SILENT) == BINARY
    assert BINARY.join(ANALOG) == ANALOG.join(SILENT) == ANALOG
    assert BINARY.join(Operand((-1, 0))) == TERNARY
    assert Operand((0, 1), 0.5).join(Operand((0, 1), 0.3)).levels == (0, 5)
    assert Operand((0, 2), 1.0).join(Operand((0, 1), 0.5)).levels == (0, 4)
    assert all(
        Operand.from_dict({"levels": list(o.levels or ()) or None, "step": o.step}) == o
        for o in (BINARY, TERNARY, ANALOG)
    )
