"""The squared hinge, and the cross entropy and squared error of spike counts."""

from __future__ import annotations

import pytest
import torch

from snnplug.errors import ArgumentError
from snnplug.training.losses import (
    CountCrossEntropy,
    CountSquaredError,
    SquaredHinge,
    count_cross_entropy,
    count_squared_error,
    squared_hinge,
)


def test_value_and_gradient_are_the_formula() -> None:
    torch.manual_seed(0)
    cur = torch.randn(4, 3, 5, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 4, 2])
    loss = squared_hinge(cur, targets)
    loss.backward()
    sign = -torch.ones(3, 5, dtype=torch.float64)
    for sample, target in enumerate(targets.tolist()):
        sign[sample, target] = 1
    gap = (1 - sign * cur.detach()).clamp(min=0)
    assert loss.item() == pytest.approx((gap**2).mean().item())
    assert cur.grad is not None
    torch.testing.assert_close(cur.grad, -2 * sign * gap / cur.numel())
    assert torch.autograd.gradcheck(lambda c: squared_hinge(c, targets), (cur,))


def test_is_zero_beyond_the_margin_and_shifts() -> None:
    cur = torch.tensor([[[3.0, 0.0]]])
    assert SquaredHinge(shift=1.0)(cur, torch.tensor([0])).item() == 0.0
    assert SquaredHinge()(cur, torch.tensor([0])).item() == pytest.approx(0.5)


@pytest.mark.parametrize("shapes", [((2, 3), (2,)), ((1, 2, 3), (3,)), ((1, 2, 3), (2, 1))])
def test_refuses_shapes_that_do_not_go_together(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ArgumentError, match=r"squared_hinge takes \(T, B, C\) and \(B,\)"):
        squared_hinge(torch.zeros(shapes[0]), torch.zeros(shapes[1], dtype=torch.int64))


def test_cross_entropy_of_counts_is_snntorchs() -> None:
    from snntorch.functional import ce_count_loss

    torch.manual_seed(0)
    spk = (torch.rand(6, 4, 5) < 0.5).float()
    targets = torch.tensor([0, 4, 2, 2])
    torch.testing.assert_close(CountCrossEntropy()(spk, targets), ce_count_loss()(spk, targets))
    counts = 0.5 * spk.sum(0)
    expected = (counts.exp().sum(1).log() - counts[torch.arange(4), targets]).mean()
    torch.testing.assert_close(count_cross_entropy(spk, targets, scale=0.5), expected)
    with pytest.raises(ArgumentError, match=r"\(T, B, C\)"):
        count_cross_entropy(spk[0], targets)


def test_squared_error_of_counts_by_hand() -> None:
    spk = torch.zeros(50, 2, 3, dtype=torch.float64)
    spk[:20, 0, 0] = 1  # its class: 15 short of 35
    spk[:9, 0, 1] = 1  # 4 more than 5: within the margin
    spk[:33, 1, 2] = 1  # its class: within the margin
    spk[:11, 1, 0] = 1  # 6 too many
    spk.requires_grad_()
    loss = CountSquaredError()(spk, torch.tensor([0, 2]))
    # Neurons that are 5 short of 5 are within the margin, too.
    assert loss.item() == pytest.approx(0.5 * (15**2 + 6**2) / 2)
    loss.backward()
    assert spk.grad is not None
    expected = torch.tensor([[-15.0, 0.0, 0.0], [6.0, 0.0, 0.0]], dtype=torch.float64) / 2
    torch.testing.assert_close(spk.grad, expected.expand(50, 2, 3))
    wide = count_squared_error(spk, torch.tensor([0, 2]), desired=20, undesired=0, margin=0)
    assert wide.item() == pytest.approx(0.5 * (9**2 + 13**2 + 11**2) / 2)


def test_squared_error_of_counts_refuses_what_it_cannot_take() -> None:
    with pytest.raises(ArgumentError, match=r"\(T, B, C\)"):
        count_squared_error(torch.zeros(4, 3), torch.tensor([0]))
    with pytest.raises(ArgumentError, match="0 or more"):
        count_squared_error(torch.zeros(4, 1, 3), torch.tensor([0]), margin=-1)
