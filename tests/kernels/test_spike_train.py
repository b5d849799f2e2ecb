"""The spike-train operator: native equals reference, in parts as in one piece."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from snnplug.errors import ArgumentError
from snnplug.kernels import native
from snnplug.kernels.spike_train import (
    SpikeTrainDynamics,
    State,
    adjoint,
    adjoint_reference,
    advance,
    advance_reference,
)
from snnplug.kernels.trains import SpikeTrains

STEPS, BATCH = 70, 3


@pytest.fixture(autouse=True)
def _library() -> None:
    assert native.library() is not None, native.available()[1]


def currents(features: int) -> Tensor:
    """Return currents whose sums are exact in any order."""
    generator = torch.Generator().manual_seed(features)
    return torch.randint(-8, 24, (STEPS, BATCH, features), generator=generator) / 8.0


@pytest.mark.parametrize(
    ("features", "recurs"),
    [
        (n, recurs)
        for n in (1, 31, 64, 70, 1100)
        for recurs in (False, True)
        if n < 100 or not recurs
    ],
)
@pytest.mark.parametrize("refractory", [0, 2, 5])
@pytest.mark.parametrize("inhibition", [0.0, 0.5])
def test_native_spikes_are_those_of_the_reference(
    features: int, refractory: int, inhibition: float, recurs: bool
) -> None:
    d = SpikeTrainDynamics(3.0, 64.0, 8.0, refractory, inhibition)
    cur, generator = currents(features), torch.Generator().manual_seed(1)
    weight = torch.randint(-3, 4, (features, features), generator=generator) / 8.0
    given = weight if recurs else None
    runs = []
    for run, parts in ((advance, (0, 40, 70)), (advance_reference, (0, 70))):
        state, spk = State.at_rest(cur[0]), torch.empty_like(cur)
        for start, stop in pairwise(parts):
            run(cur[start:stop], state, d, given, spk[start:stop])
        runs.append([*state, spk])
    for a, b in zip(*runs, strict=True):
        assert torch.equal(a, b)
    assert 0 < runs[0][-1].mean() < 0.6


@pytest.mark.parametrize("features", [1, 31, 64, 70, 200])
@pytest.mark.parametrize("refractory", [0, 2, 5])
def test_native_adjoint_is_that_of_the_reference(features: int, refractory: int) -> None:
    d = SpikeTrainDynamics(3.0, 20.0, 5.0, refractory)
    cur = currents(features)
    state, spk = State.at_rest(cur[0]), torch.empty_like(cur)
    advance(cur, state, d, None, spk)
    trains = SpikeTrains(spk)
    assert trains.words is not None
    after = torch.zeros(BATCH, features), torch.zeros(BATCH, features)
    late = adjoint(trains, range(41, STEPS), after, d)
    early = adjoint(trains, range(41), after, d)
    again = torch.zeros(BATCH, features), torch.zeros(BATCH, features)
    expected = adjoint_reference(spk.bool(), range(STEPS), again, d)
    assert torch.equal(torch.cat([early, late]), expected)
    assert torch.equal(after[0], again[0])
    assert torch.equal(after[1], again[1])
    assert expected.abs().max() > 0


def test_adjoint_is_the_gradient_of_the_membrane_at_the_spikes() -> None:
    """Through torch's own graph of the recursion, with the resets held where they were."""
    d = SpikeTrainDynamics(3.0, 20.0, 5.0)
    cur = currents(9).double().requires_grad_()
    state, spk = State.at_rest(cur[0].detach()), torch.empty_like(cur)
    advance(cur.detach()[:-1], state, d, None, spk[1:])
    spk[0] = 0
    p = u = torch.zeros(BATCH, 9, dtype=torch.float64)
    total, rest = torch.zeros(()).double(), torch.zeros(BATCH, 9)
    for t in range(1, STEPS):
        p = p * d.decay_syn + cur[t - 1]
        u = torch.where(rest > 0, 0.0, u * d.decay_mem + p / d.tau_syn_steps)
        total = total + (u * spk[t]).sum()
        u = torch.where(spk[t] > 0, 0.0, u)
        rest = torch.where(spk[t] > 0, 2, (rest - 1).clamp(min=0))
    (expected,) = torch.autograd.grad(total, cur)
    zero = torch.zeros(BATCH, 9, dtype=torch.float64)
    found = adjoint(SpikeTrains(spk.detach()), range(STEPS), (zero.clone(), zero.clone()), d)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def dense(shape: tuple[int, ...], density: float) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return (torch.rand(shape, generator=generator) < density).float()


@pytest.mark.parametrize("features", [5, 64, 150])
@pytest.mark.parametrize("density", [0.02, 0.6])
@pytest.mark.parametrize("kind", ["bits", "bytes", "values"])
def test_trains_do_what_dense_tensors_do(features: int, density: float, kind: str) -> None:
    steps, batch = 90, 100  # more than one part
    x = dense((steps, batch, features), density)
    x = x.double() if kind == "bytes" else x * 2 if kind == "values" else x
    trains = SpikeTrains(x)
    parts = trains.parts()
    assert len(parts) == 3
    assert (trains.words is not None) == (kind == "bits")
    assert torch.equal(trains.counts(), x.sum(0))
    y, weight = dense((steps * batch, features), 0.5).to(x), dense((7, features), 0.5).to(x)
    grad = dense((steps * batch, 7), 0.5).to(x)
    for part in parts:
        rows = slice(part.start * batch, part.stop * batch)
        here = x.flatten(0, 1)[rows]
        assert torch.equal(trains.rows(part), here)
        assert torch.equal(trains.times(weight, part), here @ weight.t())
        assert torch.equal(
            trains.weight_gradient(grad[rows].contiguous(), part), grad[rows].t() @ here
        )
        shape = (len(part), batch, -1)
        expected = (y[rows] * here).view(*shape[:2], features).sum(0)
        assert torch.equal(trains.sum_at_spikes(y[rows], part), expected)
        expected = (grad[rows] @ weight * here).view(*shape[:2], features).sum(0)
        assert torch.equal(trains.product_at_spikes(grad[rows], weight, part), expected)
        pairs = torch.einsum("tbm,tbn->bmn", grad[rows].view(shape), here.view(shape))
        assert torch.equal(trains.pairwise(grad[rows], part), pairs)


def test_a_revived_train_is_regular() -> None:
    x = dense((80, 2, 70), 0.1)
    x[:, 1, 66] = 0
    where = torch.zeros(2, 70, dtype=torch.bool)
    where[1, 66] = True
    revived = torch.cat([t.rows(p) for t in [SpikeTrains(x).revived(where, 8)] for p in t])
    revived = revived.view_as(x)
    assert revived[:, 1, 66].nonzero().flatten().tolist() == list(range(10, 80, 10))
    revived[:, 1, 66] = 0
    assert torch.equal(revived, x)


@pytest.mark.parametrize(
    "wrong", [{"threshold": 0.0}, {"tau_syn_steps": 0.5}, {"refractory_steps": -1}]
)
def test_dynamics_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ArgumentError, match="have to be positive"):
        SpikeTrainDynamics(**{"threshold": 1.0, **wrong})  # type: ignore[arg-type]
