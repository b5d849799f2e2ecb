"""Ours beside snnTorch's: the same bits out, the same gradients back."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import snntorch as snn
import torch
from snntorch import surrogate
from torch import Tensor

from snnplug.surrogate import (
    Atan,
    FastSigmoid,
    Gaussian,
    HardFire,
    MultiGaussian,
    Rectangular,
    Sigmoid,
    SparseFastSigmoid,
    StraightThrough,
    Triangular,
)
from tests.neurons.pairs import (
    FLAT,
    KINDS,
    LEAKY,
    RLEAKY,
    RLEAKY_ONE,
    RSYNAPTIC,
    RSYNAPTIC_ONE,
    SYNAPTIC,
    Kind,
    assert_near,
    drive,
    gradients,
    names,
    stepped,
)

RESETS = ["subtract", "zero", "none"]
SURROGATES = {"atan": None, "fast_sigmoid": surrogate.fast_sigmoid(), "HardFire": HardFire()}
#: snnTorch's own give float32 spikes for float64, so there it gets ours.
DOUBLE = {"atan": Atan(), "fast_sigmoid": FastSigmoid(), "HardFire": HardFire()}

MATRIX = [
    pytest.param(kind, reset, delay, spike, form, graded, id="-".join(map(str, rest)))
    for kind, reset, delay, spike, form, graded in product(
        FLAT, RESETS, [True, False], SURROGATES, ["scalar", "vector"], [False, True]
    )
    if kind is LEAKY or not graded
    for rest in [(kind.name, reset, "delay" if delay else "now", spike, form)]
    for rest in [(*rest, "graded") if graded else rest]
]
#: Those that snnTorch has not, or wrong: its neurons get ours, and autograd differentiates them.
OURS = [
    StraightThrough(),
    Sigmoid(4.0),
    SparseFastSigmoid(5.0, 0.6),
    Triangular(),
    Rectangular(),
    Gaussian(),
    MultiGaussian(),
]
SURROGATES |= {str(spike): spike for spike in OURS}
DOUBLE |= {str(spike): spike for spike in OURS}
MATRIX += [
    pytest.param(kind, reset, delay, str(spike), "vector", False, id=f"{kind.name}-{spike}-{reset}")
    for kind, spike in product(FLAT, OURS)
    for reset, delay in [("subtract", True), ("zero", True)]
]


def parameters(kind: Kind, form: str, factor: float) -> dict[str, Any]:
    """Everything learned, with decays on both sides of their bounds where there are several."""
    values: dict[str, Any] = {"threshold": 0.9, "learn_threshold": True}
    values |= {f"learn_{name}": True for name in kind.decays()}
    if kind is LEAKY:
        values |= {"graded_spikes_factor": factor, "learn_graded_spikes_factor": True}
    if form == "vector":
        values["threshold"] = torch.tensor([0.5, 0.7, 0.9, 1.1, 1.3])
        values["beta"] = torch.tensor([-0.2, 0.4, 0.8, 1.0, 1.3])
        if "alpha" in kind.decays():
            values["alpha"] = torch.tensor([1.2, 0.6, 0.3, 0.0, -0.1])
        if kind in (RLEAKY_ONE, RSYNAPTIC_ONE):
            values["V"] = torch.tensor([-0.4, -0.1, 0.2, 0.3, 0.5])
    return values


def compare(kind: Kind, ours: Any, theirs: Any, cur: Tensor, tolerance: float) -> None:
    """One drive, by steps and as a run: equal bits, and gradients of everything that is learned."""
    learned = {name: p for name, p in ours.named_parameters() if p.requires_grad}
    counterpart = dict(theirs.named_parameters(remove_duplicate=False))
    x, y = cur.clone().requires_grad_(), cur.clone().requires_grad_()
    found, expected = stepped(ours, x, kind), stepped(theirs, y, kind)
    assert_equal(found, expected)
    assert 0.02 < (expected[0] != 0).float().mean() < 0.98
    grads = gradients(found, [x, *learned.values()])
    wanted = gradients(expected, [y, *(counterpart[name] for name in learned)])
    for name, a, b in zip(["input", *learned], grads, wanted, strict=True):
        # A delayed reset to zero wipes out what a neuron's own last spike brings: V does nothing.
        idle = name == "V" and kind is RLEAKY_ONE and ours.reset_mechanism == "zero"
        assert bool(b.any()) is not (idle and ours.reset_delay), name
        assert_near(a, b, tolerance)
    spk, state = ours.run(x)
    assert_equal([spk, *state], [expected[0], *(s[-1] for s in expected[-len(state) :])])
    # In the spikes alone the terms of a parameter's gradient cancel: float32 is too short for it.
    exact = list(learned) if cur.dtype == torch.float64 else []
    grads = gradients([spk], [x, *(learned[name] for name in exact)])
    wanted = gradients(expected[:1], [y, *(counterpart[name] for name in exact)])
    for a, b in zip(grads, wanted, strict=True):
        assert_near(a, b, tolerance)


def assert_equal(found: list[Tensor], expected: list[Tensor]) -> None:
    """The same bits and dtypes."""
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


@pytest.mark.parametrize(("kind", "reset", "delay", "spike", "form", "graded"), MATRIX)
def test_spikes_states_and_gradients_are_snntorchs(
    kind: Kind, reset: str, delay: bool, spike: str, form: str, graded: bool
) -> None:
    torch.manual_seed(0)
    # With reset_delay=False snnTorch multiplies and divides by the factor: in float32 that rounds
    # the gradient of the threshold, unless the factor is a power of 2.
    arguments = parameters(kind, form, 0.5 if graded else 1.0)
    arguments |= {"reset_mechanism": reset, "reset_delay": delay}
    ours, theirs = kind.pair(spike_grad=SURROGATES[spike], **arguments)
    compare(kind, ours, theirs, drive(kind, 0, samples=50), 1e-6)


@pytest.mark.parametrize(("kind", "reset", "delay", "spike", "form", "graded"), MATRIX)
def test_gradients_are_snntorchs_to_the_last_digits_in_float64(
    kind: Kind, reset: str, delay: bool, spike: str, form: str, graded: bool
) -> None:
    torch.manual_seed(0)
    arguments = parameters(kind, form, 0.7 if graded else 1.0)
    arguments |= {"reset_mechanism": reset, "reset_delay": delay}
    ours, theirs = kind.pair(torch.float64, spike_grad=DOUBLE[spike], **arguments)
    compare(kind, ours, theirs, drive(kind, 7, dtype=torch.float64, samples=50), 1e-12)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("kind", FLAT, ids=names)
def test_what_is_not_finite_propagates_as_in_snntorch(kind: Kind, reset: str, bad: float) -> None:
    torch.manual_seed(0)
    ours, theirs = kind.pair(reset_mechanism=reset)
    cur = drive(kind, 0)
    cur[4, 1, 2] = bad
    with torch.no_grad():
        expected = stepped(theirs, cur, kind)
        spk, state = ours.run(cur)
    found = [spk, *state]
    wanted = [expected[0], *(s[-1] for s in expected[-len(state) :])]
    assert not expected[-1].isfinite().all()
    # With gradients on, and step by step, too.
    leaf = cur.requires_grad_()
    spk, state = ours.run(leaf)
    found += [spk, *state, *stepped(ours, leaf, kind)]
    wanted += [*wanted, *expected]
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("kind", KINDS, ids=names)
def test_with_fixed_parameters_too(kind: Kind, reset: str, delay: bool) -> None:
    torch.manual_seed(0)
    fixed = {"learn_recurrent": False} if "spk" in kind.ours.state_names else {}
    ours, theirs = kind.pair(reset_mechanism=reset, reset_delay=delay, **fixed)
    assert not any(p.requires_grad for p in ours.parameters())
    for seed in range(2):
        compare(kind, ours, theirs, drive(kind, seed), 1e-6)


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("kind", [k for k in KINDS if k not in FLAT], ids=names)
def test_convolutional_recurrence(kind: Kind, reset: str) -> None:
    torch.manual_seed(0)
    ours, theirs = kind.pair(reset_mechanism=reset, learn_beta=True)
    assert ours.recurrent.weight.requires_grad
    for seed in range(3):
        compare(kind, ours, theirs, drive(kind, seed), 1e-6)


@pytest.mark.parametrize("kernel_size", [1, (3, 1), 5])
@pytest.mark.parametrize("kind", [k for k in KINDS if k not in FLAT], ids=names)
def test_kernels_of_any_odd_size(kind: Kind, kernel_size: int | tuple[int, int]) -> None:
    torch.manual_seed(0)
    ours, theirs = kind.pair(kernel_size=kernel_size)
    compare(kind, ours, theirs, drive(kind, 0), 1e-6)


@pytest.mark.filterwarnings("ignore:Inhibition is an unstable feature")
@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("kind", FLAT, ids=names)
def test_inhibition(kind: Kind, reset: str, delay: bool) -> None:
    torch.manual_seed(0)
    ours, theirs = kind.pair(
        inhibition=True, reset_mechanism=reset, reset_delay=delay, learn_beta=True
    )
    cur = drive(kind, 0)
    compare(kind, ours, theirs, cur, 1e-6)
    assert stepped(ours, cur, kind)[0].sum(-1).max() == 1


class Rounding:
    """Rounds to sixteenths, with the gradient of the identity."""

    def __call__(self, x: Tensor) -> Tensor:
        return x + ((x * 16).round() / 16 - x).detach()


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("kind", FLAT, ids=names)
def test_quantised_state(kind: Kind, reset: str) -> None:
    torch.manual_seed(0)
    ours, theirs = kind.pair(state_quant=Rounding(), reset_mechanism=reset, learn_beta=True)
    cur = drive(kind, 0)
    compare(kind, ours, theirs, cur, 1e-6)
    _, *states = stepped(ours, cur, kind)
    assert all(torch.equal(s * 16, (s * 16).round()) for s in states)


@pytest.mark.parametrize("kind", FLAT, ids=names)
def test_without_a_surrogate_no_gradient_passes_a_spike(kind: Kind) -> None:
    torch.manual_seed(0)
    ours, theirs = kind.pair(surrogate_disable=True, spike_grad=HardFire())
    cur = drive(kind, 0)
    for a, b in zip(stepped(ours, cur, kind), stepped(theirs, cur, kind), strict=True):
        assert torch.equal(a, b)
    x = cur.clone().requires_grad_()
    spk = stepped(ours, x, kind)[0]
    assert not spk.requires_grad or gradients([spk], [x])[0].abs().max() == 0


@pytest.mark.parametrize("output", [False, True])
@pytest.mark.parametrize("kind", KINDS, ids=names)
def test_hidden_state_and_its_arity_are_snntorchs(kind: Kind, output: bool) -> None:
    torch.manual_seed(0)
    ours, theirs = kind.pair(init_hidden=True, output=output)
    if kind.ours.state_names == ("spk", "syn", "mem"):
        theirs = snn.RSynaptic(
            **{"alpha": 0.7, "beta": 0.9} | dict(kind.arguments), init_hidden=True, output=output
        )
        ours.load_state_dict(theirs.state_dict())
    for now in drive(kind, 1):
        found, expected = ours(now), theirs(now)
        assert isinstance(found, tuple) is output
        if not output:
            found, expected = (found,), (expected,)
        assert len(found) == len(expected)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    for name in kind.ours.state_names:
        assert torch.equal(getattr(ours, name), getattr(theirs, name))
    rest, their_rest = ours.reset_mem(), theirs.reset_mem()
    assert isinstance(rest, tuple) is isinstance(their_rest, tuple)
    assert len(rest) == len(their_rest)


@pytest.mark.parametrize("kind", KINDS, ids=names)
def test_checkpoints_are_exchanged_with_snntorch(kind: Kind) -> None:
    torch.manual_seed(0)
    ours = kind.make(beta=0.37, threshold=1.7, learn_beta=True)
    theirs = kind.theirs(**dict.fromkeys(kind.decays(), 0.2) | dict(kind.arguments))
    saved = ours.state_dict()
    missing, unexpected = theirs.load_state_dict(saved, strict=False)
    assert set(missing) <= {"recurrent.V"}
    assert not unexpected
    assert theirs.beta == saved["beta"]
    assert theirs.threshold == saved["threshold"]
    fresh = kind.make()
    fresh.load_state_dict(theirs.state_dict())
    assert fresh.beta == saved["beta"]


@pytest.mark.parametrize("kind", FLAT, ids=names)
def test_a_checkpoint_brings_its_reset_along(kind: Kind) -> None:
    torch.manual_seed(0)
    zero, other = kind.make(reset_mechanism="zero"), kind.make()
    other.load_state_dict(zero.state_dict())
    assert other.reset_mechanism == "zero"
    cur = drive(kind, 0)
    assert torch.equal(other.run(cur)[0], zero.run(cur)[0])
    assert not torch.equal(kind.make().run(cur)[1][-1], zero.run(cur)[1][-1])


@pytest.mark.parametrize("kind", FLAT, ids=names)
def test_the_reset_can_be_changed_later(kind: Kind) -> None:
    torch.manual_seed(0)
    changed, zero = kind.make(), kind.make(reset_mechanism="zero")
    zero.load_state_dict(changed.state_dict() | {"reset_mechanism_val": torch.tensor(1)})
    changed.reset_mechanism = "zero"
    cur = drive(kind, 0)
    assert torch.equal(changed.run(cur)[0], zero.run(cur)[0])
    with pytest.raises(ValueError, match="'subtract' or 'zero' or 'none'"):
        changed.reset_mechanism = "half"


@pytest.mark.parametrize("kind", [SYNAPTIC, RSYNAPTIC], ids=names)
def test_state_by_name(kind: Kind) -> None:
    torch.manual_seed(0)
    ours, theirs = kind.pair()
    now, *rest = drive(kind, 0, 1 + len(kind.ours.state_names))
    state = dict(zip(kind.ours.state_names, rest, strict=True))
    by_position = ours(now, *state.values())
    for a, b, c in zip(
        by_position,
        ours(now, **state),
        ours(now, rest[0], **{k: state[k] for k in list(state)[1:]}),
        strict=True,
    ):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
    expected = theirs(now, *state.values())
    assert all(torch.equal(a, b) for a, b in zip(by_position, expected, strict=True))


@pytest.mark.parametrize("kind", [LEAKY, SYNAPTIC, RLEAKY, RSYNAPTIC], ids=names)
def test_constructors_take_snntorchs_arguments(kind: Kind) -> None:
    from inspect import signature

    theirs = signature(getattr(snn, kind.ours.__name__)).parameters
    ours = dict(signature(kind.ours).parameters)
    added = ours.pop("detach_reset")
    assert added.default is True
    assert list(ours) == list(theirs)
    assert [p.default for p in ours.values()] == [p.default for p in theirs.values()]
