"""The rules in product form: equal to themselves written out pair by pair, and by hand."""

from __future__ import annotations

from math import exp
from typing import Any

import pytest
import torch
from torch import Tensor

from snnplug.kernels.spike_train import SpikeTrainDynamics, State, adjoint, advance
from snnplug.kernels.trains import SpikeTrains
from snnplug.learning.effect_table import effect_table
from snnplug.learning.function import Backward, Layer, spike_train
from snnplug.learning.rules import HM2BP, STRSBP, Counts, Rule
from snnplug.learning.synapses import Dense
from tests.learning import stepwise

DYNAMICS = SpikeTrainDynamics(1.5, tau_mem_steps=20.0, tau_syn_steps=5.0)


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("SNNPLUG_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def case(
    seed: int, steps: int = 60, batch: int = 3, inputs: int = 8, size: int = 5
) -> list[Tensor]:
    """Return trains with silent inputs, weights with silent neurons, and errors."""
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(steps, batch, inputs, generator=generator) < 0.15).double()
    x[:, :, 0] = 0
    weight = torch.randn(size, inputs, generator=generator).double() + 0.6
    weight[0] = -1
    error = torch.randn(batch, size, generator=generator).double()
    return [x, weight, error]


def gradients(
    x: Tensor, weight: Tensor, error: Tensor, layer: Layer, recurrent: Tensor | None = None
) -> list[Tensor]:
    """Return spikes and the gradients of the counts of x, the weight and the recurrent one."""
    leaves = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
    if recurrent is not None:
        leaves.append(recurrent.clone().requires_grad_())
    spk = spike_train(leaves[0], leaves[1], leaves[2] if recurrent is not None else None, layer)
    grads = torch.autograd.grad((spk.sum(0) * error).sum(), leaves)
    return [spk.detach(), grads[0][0], *grads[1:]]


@pytest.mark.parametrize("inhibition", [0.0, 0.7])
@pytest.mark.parametrize("revived", [0, 6])
@pytest.mark.parametrize("seed", range(3))
def test_hm2bp_is_the_rule_pair_by_pair(seed: int, revived: int, inhibition: float) -> None:
    d = SpikeTrainDynamics(1.5, 20.0, 5.0, inhibition=inhibition)
    x, weight, error = case(seed)
    spk, to_x, to_weight = gradients(x, weight, error, Layer(Dense(), d, HM2BP(), revived))
    assert (spk.sum(0) == 0).any()
    assert (spk.sum(0) > 2).any()
    samples = range(x.shape[1])
    expected = [stepwise.hm2bp(x[:, b], weight, error[b], d, revived) for b in samples]
    for b in samples:
        torch.testing.assert_close(spk[:, b], stepwise.run(x[:, b], weight, d).spk)
    torch.testing.assert_close(
        to_weight, torch.stack([e.weight for e in expected]).sum(0), rtol=1e-10, atol=1e-10
    )
    torch.testing.assert_close(
        to_x, torch.stack([e.inputs for e in expected]), rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize(("effect", "ratio"), [(0.0, 0.0), (0.3, 0.2)])
def test_constants_of_silent_pairs_are_those_that_are_given(effect: float, ratio: float) -> None:
    x, weight, error = case(1)
    rule = HM2BP(silent_effect=effect, silent_ratio=ratio)
    spk, to_x, to_weight = gradients(x, weight, error, Layer(Dense(), DYNAMICS, rule))
    pairs = [
        stepwise.hm2bp(x[:, b], weight, error[b], DYNAMICS, 0, effect, ratio)
        for b in range(x.shape[1])
    ]
    torch.testing.assert_close(to_weight, sum(p.weight for p in pairs), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(to_x, torch.stack([p.inputs for p in pairs]), rtol=1e-10, atol=1e-10)
    assert (spk[..., 0] == 0).all()
    assert bool(to_weight[0].any()) == (effect > 0)  # of the silent neuron
    assert bool(to_x[:, 0].any()) == (ratio > 0)  # of the silent input


@pytest.mark.parametrize("refractory", [0, 1, 2, 5])
def test_effects_are_the_potentials_of_unit_synapses(refractory: int) -> None:
    """The adjoint, the sparse coefficients on free responses, and the step form agree to 1e-10."""
    d = SpikeTrainDynamics(1.5, 20.0, 5.0, refractory)
    x, weight, _ = case(5, steps=120, batch=1)
    x = x[:, 0]
    spk = stepwise.run(x, weight, d).spk
    expected = stepwise.effects(x, spk, d)
    zero = torch.zeros(1, len(weight), dtype=torch.float64)
    whole = range(len(x))
    back = adjoint(SpikeTrains(spk.unsqueeze(1)), whole, (zero.clone(), zero.clone()), d)
    torch.testing.assert_close(back[:, 0].t() @ x, expected, rtol=1e-10, atol=1e-10)
    # Free responses of unit synapses; what each spike and the step it resumes from take of them.
    free, p, u = torch.zeros_like(x), torch.zeros_like(x[0]), torch.zeros_like(x[0])
    for t in range(1, len(x)):
        p = p * d.decay_syn + x[t - 1]
        u = u * d.decay_mem + p / d.tau_syn_steps
        free[t] = u
    coefficients = torch.zeros_like(spk)
    for i in range(len(weight)):
        resumed = None
        for t in spk[:, i].nonzero().flatten().tolist():
            coefficients[t, i] += 1
            if resumed is not None:
                coefficients[resumed, i] -= d.decay_mem ** (t - resumed)
            resumed = t + refractory
    torch.testing.assert_close(coefficients.t() @ free, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("recurs", [False, True])
def test_effects_sum_to_the_membrane_at_the_spikes(recurs: bool) -> None:
    x, weight, _ = case(7, steps=200, batch=1)
    generator = torch.Generator().manual_seed(1)
    recurrent = torch.randn(5, 5, generator=generator).double() * 0.3 if recurs else None
    ran = stepwise.run(x[:, 0], weight, DYNAMICS, recurrent)
    at_spikes = (ran.mem * ran.spk).sum(0)
    total = (weight * stepwise.effects(x[:, 0], ran.spk, DYNAMICS)).sum(1)
    if recurrent is not None:
        total += (recurrent * stepwise.effects(ran.spk, ran.spk, DYNAMICS)).sum(1)
    assert at_spikes.max() > 5
    torch.testing.assert_close(total, at_spikes, rtol=1e-10, atol=1e-10)
    state = State.at_rest(torch.zeros(1, 5, dtype=torch.float64))
    spk = torch.zeros(200, 1, 5, dtype=torch.float64)
    advance((x @ weight.t())[:-1], state, DYNAMICS, recurrent, spk[1:])
    torch.testing.assert_close(state.potential[0], at_spikes, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(spk[:, 0], ran.spk)


def test_closed_form_of_the_effect() -> None:
    """The sum of kernels that HM2-BP is stated with: within 2 %, correlated by 0.998."""
    d = SpikeTrainDynamics(8.0)
    rng = torch.Generator().manual_seed(3)
    pairs = []
    for _ in range(150):
        rates = torch.rand(2, generator=rng) * 0.11 + 0.01
        x = (torch.rand(400, generator=rng) < rates[0]).double()
        spk = torch.zeros(400, dtype=torch.float64)
        last = -9
        for t in range(1, 400):
            if t > last + 2 and torch.rand((), generator=rng) < rates[1]:
                spk[t], last = 1, t
        closed, free_from = 0.0, 1
        for t_i in spk.nonzero().flatten().tolist():
            for t_j in x.nonzero().flatten().tolist():
                if not t_i - 4 * 64 < t_j < t_i or t_i < t_j + 2:
                    continue
                t, s = t_i - t_j - 2, t_i - free_from
                near = min(s, t)
                decay = exp(-max(t - s, 0) / 8) / (1 - 8 / 64)
                closed += decay * (exp(-near / 64) - exp(-near / 8))
            free_from = t_i + 2
        pairs.append((closed, stepwise.effect(x, spk, d)))
    both = torch.tensor(pairs, dtype=torch.float64)
    means = both.mean(0)
    assert 0.98 < means[0] / means[1] < 1.0
    assert torch.corrcoef(both.t())[0, 1] > 0.998


def test_one_input_and_one_neuron_by_hand() -> None:
    """Spikes at 0 and 1; decays 1/2; the neuron fires once, at step 2."""
    d = SpikeTrainDynamics(1.0, 2.0, 2.0)
    x = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0, 0.0]).double().view(-1, 1, 1)
    weight = torch.tensor([[1.0]]).double()
    # p = 1, 1.5; u = .5, .25 + .75 = 1 at step 2: fires (1 > 1 - 1e-6); silent in 3 and 4; at
    # step 5 p = .1875, u = .09375.
    spk, to_x, to_weight = gradients(
        x, weight, torch.tensor([[3.0]]).double(), Layer(Dense(), d, HM2BP())
    )
    assert spk.flatten().tolist() == [0, 0, 1, 0, 0, 0]
    # delta = 3, e = 1, factor 1 + 1 * 1/1 = 2; e/o_in = 1/2.
    assert to_weight.item() == pytest.approx(6.0)
    assert to_x.item() == pytest.approx(1.5)


def test_two_inputs_two_hidden_one_output_by_hand() -> None:
    d = SpikeTrainDynamics(1.0, 2.0, 2.0)
    x = torch.zeros(8, 1, 2, dtype=torch.float64)
    x[0, 0, 0] = x[1, 0, 0] = x[3, 0, 1] = 1
    first = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64, requires_grad=True)
    second = torch.tensor([[4.0, 0.0]], dtype=torch.float64, requires_grad=True)
    layer = Layer(Dense(), d, HM2BP())
    hidden = spike_train(x, first, None, layer)
    out = spike_train(hidden, second, None, layer)
    # Hidden 0 fires at 2 (as above), hidden 1 at 4 with u = 2/2 = 1; output at 3 with u = 4/2 = 2,
    # where only hidden 0 was heard: e = 1/2 and 0.
    assert hidden[:, 0].t().tolist() == [[0, 0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0, 0]]
    assert out.flatten().tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
    (out.sum(0) - 5).square().sum().mul(0.5).backward()
    # Output: delta = 1 - 5 = -4; factor 1 + 4 * (1/2) / 1 = 3; gradient -4 * (1/2, 0) * 3.
    assert second.grad is not None
    assert first.grad is not None
    assert second.grad.tolist() == [[pytest.approx(-6.0), pytest.approx(0.0)]]
    # Hidden: delta_0 = -4 * 4 * (1/2) / 1 = -8, delta_1 = 0; e_00 = 1, e_01 = 0, factor 1 + 1 = 2.
    expected = [[pytest.approx(-16.0), pytest.approx(0.0)], [pytest.approx(0.0)] * 2]
    assert first.grad.tolist() == expected


def st_rsbp_by_pairs(
    x: Tensor, weight: Tensor, recurrent: Tensor, error: Tensor, d: SpikeTrainDynamics
) -> list[Tensor]:
    """Return the gradients of one sample, with loops over pairs and a solve of its own."""
    spk = stepwise.run(x, weight, d, recurrent).spk
    e, own = stepwise.effects(x, spk, d), stepwise.effects(spk, spk, d)
    o_in, o = x.sum(0), spk.sum(0)
    table = effect_table(d.tau_mem_steps, d.tau_syn_steps, d.refractory_steps, len(x))
    size, inputs = weight.shape
    s = torch.zeros(size).double()
    for i in range(size):
        s[i] = sum(weight[i, j] * table.derivative(o_in[j], o[i]) for j in range(inputs))
        s[i] += sum(recurrent[i, p] * table.derivative(o[p], o[i]) for p in range(size))
    left = 1 - s / d.threshold
    delta = error / d.threshold
    omega, theta = torch.diag(left), torch.zeros_like(weight)
    for i in range(size):
        for p in range(size):
            if p != i:
                ratio = own[i, p] / o[p] if o[i] and o[p] else 0.5
                omega[i, p] = -recurrent[i, p] * ratio / d.threshold
        for j in range(inputs):
            theta[i, j] = weight[i, j] * (e[i, j] / o_in[j] if o[i] and o_in[j] else 0.5)
    for i in range(size):
        if o[i] == 0:
            e[i], own[i] = 0.1 * (o_in > 0).double(), 0.1 * (o > 0).double()
    scaled = (delta / left).unsqueeze(1)
    return [delta @ torch.linalg.inv(omega) @ theta, scaled * e, scaled * own]


@pytest.mark.parametrize("seed", range(3))
def test_st_rsbp_is_the_rule_pair_by_pair(seed: int) -> None:
    x, weight, error = case(seed)
    generator = torch.Generator().manual_seed(seed)
    recurrent = torch.randn(5, 5, generator=generator).double() * 0.3
    recurrent.fill_diagonal_(0)
    spk, *found = gradients(x, weight, error, Layer(Dense(), DYNAMICS, STRSBP()), recurrent)
    samples = [st_rsbp_by_pairs(x[:, b], weight, recurrent, error[b], DYNAMICS) for b in range(3)]
    assert (spk.sum(0) == 0).any()
    expected = [
        torch.stack([s[0] for s in samples]),
        *(torch.stack([s[k] for s in samples]).sum(0) for k in (1, 2)),
    ]
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


def test_recurrence_of_two_neurons_solved_by_hand() -> None:
    """Cramer's rule on two unknowns."""
    x, weight, error = case(11, batch=1, inputs=3, size=2)
    weight = weight.abs()
    recurrent = torch.tensor([[0.0, 0.4], [-0.3, 0.0]], dtype=torch.float64)
    spk, to_x, *_ = gradients(x, weight, error, Layer(Dense(), DYNAMICS, STRSBP()), recurrent)
    o, o_in = spk[:, 0].sum(0), x[:, 0].sum(0)
    assert o.min() > 0
    e, own = (stepwise.effects(y[:, 0], spk[:, 0], DYNAMICS) for y in (x, spk))
    table = effect_table(20.0, 5.0, 2, len(x))
    s = [
        sum(weight[i, j] * table.derivative(o_in[j], o[i]) for j in range(3))
        + recurrent[i, 1 - i] * table.derivative(o[1 - i], o[i])
        for i in range(2)
    ]
    a, b = 1 - s[0] / 1.5, -recurrent[0, 1] * own[0, 1] / o[1] / 1.5
    c, d = -recurrent[1, 0] * own[1, 0] / o[0] / 1.5, 1 - s[1] / 1.5
    delta = error[0] / 1.5
    back = torch.stack([d * delta[0] - c * delta[1], a * delta[1] - b * delta[0]]) / (a * d - b * c)
    ratio = torch.where(o_in > 0, e / o_in.clamp(min=1), 0.5)
    torch.testing.assert_close(to_x[0], back @ (weight * ratio), rtol=1e-10, atol=1e-10)


class _FixedPoint(torch.autograd.Function):
    r"""Counts :math:`o = (W e(x, o) + V e(o, o)) / \theta`, :math:`e_{i|j} = o_j r_{ij} f(o_i)`.

    Smooth, with :math:`f(o) = 1 / (1 + o)`; backward by the solve of the recurrent rule.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, *known: Tensor) -> Tensor:
        weight, recurrent, from_x, within = known
        o = torch.zeros(len(x), len(weight), dtype=x.dtype)
        for _ in range(200):
            drive = x @ (weight * from_x).t() + o @ (recurrent * within).t()
            o = drive / (1 + o) / DYNAMICS.threshold
        ctx.save_for_backward(x, o, *known)
        return o

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, o, weight, recurrent, from_x, within = ctx.saved_tensors
        f = 1 / (1 + o)
        pairs = within * o.unsqueeze(1) * f.unsqueeze(2)
        drive = x @ (weight * from_x).t() + o @ (recurrent * within).t()
        left = 1 + drive * f.square() / DYNAMICS.threshold  # 1 - S: f' is -f^2
        counts = Counts(x, o, o, 1)
        unused = SpikeTrains(o.unsqueeze(0))
        layer = Layer(Dense(), DYNAMICS, STRSBP())
        backward = Backward(layer, unused, unused, weight, recurrent)
        solved = backward._solved(grad / DYNAMICS.threshold, pairs, counts, left)
        return (solved * f) @ (weight * from_x), None, None, None, None


def test_the_solve_is_the_gradient_through_a_smooth_fixed_point() -> None:
    generator = torch.Generator().manual_seed(3)
    x, weight, from_x, within = (
        torch.rand(shape, generator=generator, dtype=torch.float64) + 0.2
        for shape in ((2, 4), (5, 4), (5, 4), (5, 5))
    )
    recurrent = torch.randn(5, 5, generator=generator, dtype=torch.float64) * 0.3
    recurrent.fill_diagonal_(0)
    known = (weight, recurrent, from_x, within)
    o = _FixedPoint.apply(x, *known)
    assert o.min() > 0.1
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: _FixedPoint.apply(x, *known), (x,))


@pytest.mark.parametrize("rule", [HM2BP(), STRSBP()])
def test_without_recurrent_weights_it_is_the_feed_forward_rule(rule: Rule) -> None:
    x, weight, error = case(2)
    zero = torch.zeros(5, 5, dtype=torch.float64)
    layer = Layer(Dense(), DYNAMICS, rule)
    alone, among = gradients(x, weight, error, layer), gradients(x, weight, error, layer, zero)
    for a, b in zip(alone, among, strict=False):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_the_factor_is_that_of_hm2bp_to_first_order() -> None:
    """1/(1 - S) is 1 + S up to the square of S, and 1 for weights that do nothing."""
    x, weight, _ = case(4)
    inputs = x.sum(0)
    outputs = torch.full((3, 5), 4.0, dtype=torch.float64)
    table = effect_table(20.0, 5.0, 2, len(x))
    slopes = torch.stack([table.derivative(inputs[b], outputs[b, :1]) for b in range(3)])
    counts = Counts(inputs, outputs, outputs, len(x))
    for scale in (1e-1, 1e-2, 0.0):
        gain = STRSBP().gain(counts, DYNAMICS, Dense(), scale * weight, None)
        s = slopes @ (scale * weight).t() / DYNAMICS.threshold
        assert ((gain - 1 - s).abs() <= 1.5 * s.square() + 1e-12).all()
        assert bool((s != 0).any()) == (scale > 0)


def test_direction_of_the_mean_count() -> None:
    """Against finite differences of the mean count over many drawn inputs, as no single one has."""
    generator = torch.Generator().manual_seed(0)
    d = SpikeTrainDynamics(8.0)
    rates = torch.rand(40, generator=generator) * 0.11 + 0.01
    weight = torch.randn(1, 40, generator=generator) * 0.5 + 0.25
    x = (torch.rand(400, 600, 40, generator=generator) < rates).float()
    cur, differences = x @ weight.t(), torch.zeros(40)

    def count(cur: Tensor) -> float:
        state, spk = State.at_rest(cur[0]), torch.empty_like(cur)
        advance(cur, state, d, None, spk)
        return float(state.counts.double().mean())

    for j in range(40):
        shift = 0.15 * x[:, :, j : j + 1]
        differences[j] = (count(cur + shift) - count(cur - shift)) / 0.3
    for rule, scale in ((HM2BP(), (1.0, 3.5)), (STRSBP(), (1.0, 2.0))):
        error = torch.full((600, 1), 1 / 600)
        _, _, found = gradients(x, weight, error, Layer(Dense(), d, rule))
        both = torch.stack([found[0], differences])
        assert torch.corrcoef(both)[0, 1] > 0.98
        assert scale[0] < (found[0] @ differences) / (differences @ differences) < scale[1]


def test_a_gradient_that_differs_over_time_counts_as_its_mean() -> None:
    x, weight, error = case(6)
    layer = Layer(Dense(), DYNAMICS, HM2BP())
    expected = gradients(x, weight, error, layer)[2]
    leaf = weight.clone().requires_grad_()
    ramp = torch.linspace(0, 2, len(x), dtype=torch.float64).view(-1, 1, 1)
    (spike_train(x, leaf, None, layer) * ramp * error).sum().backward()
    torch.testing.assert_close(leaf.grad, expected)
