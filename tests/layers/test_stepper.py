"""One step at a time equals the whole sequence, whatever the layers and however the input comes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import Tensor, nn

from snnplug.errors import ArgumentError
from snnplug.kernels import native
from snnplug.layers.sequential import SpikingSequential
from snnplug.layers.spike_linear import SpikeLinear
from snnplug.layers.step_pieces import NativePiece
from snnplug.layers.stepper import Stepper
from snnplug.networks.conv import ConvSNN
from snnplug.networks.dense import DenseSNN
from snnplug.neurons.base import SequenceNeuron
from snnplug.neurons.continuous_if import ContinuousIF
from snnplug.neurons.discontinuous_if import DiscontinuousIF
from snnplug.neurons.leaky import Leaky
from snnplug.neurons.rleaky import RLeaky
from snnplug.neurons.rsynaptic import RSynaptic
from snnplug.neurons.synaptic import Synaptic
from snnplug.surrogate import HardFire

IN, WIDTH, OUT, STEPS = 37, 21, 10, 24
Maker = Callable[[], SequenceNeuron]


def exact(module: nn.Module, seed: int = 0) -> Any:
    """Put weights on a coarse grid, so that every sum is exact in any order."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Linear):
                for p in layer.parameters():
                    p.copy_(torch.randint(-24, 40, p.shape, generator=generator) / 64)
    return module


def spikes(steps: int = STEPS, features: int = IN, density: float = 0.2, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(steps, features, generator=generator) < density).float()


def whole(net: nn.Sequential, frames: Tensor, state: Any = None) -> tuple[Tensor, tuple[Any, ...]]:
    """The sequence through each layer's ``run``, and the states after it."""
    x, after = frames.unsqueeze(1), []
    given = iter(state or ())
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, SequenceNeuron):
                x, last = layer.run(x, next(given, None))
                after.append(last)
            else:
                x = layer(x)
    return x, tuple(after)


def stepped(stepper: Stepper, frames: Tensor) -> Tensor:
    return torch.stack([stepper(frame) for frame in frames])


def assert_same_states(some: Any, others: Any) -> None:
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        assert len(one) == len(other)
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def is_native(stepper: Stepper) -> bool:
    return all(isinstance(piece, NativePiece) for piece in stepper._pieces)


PER_NEURON = torch.linspace(0.3, 1.2, WIDTH)
RESETS = list(product(("subtract", "zero", "none"), (True, False)))
NEURONS: dict[str, Maker] = {
    "continuous": ContinuousIF,
    "continuous-leak": lambda: ContinuousIF(beta=0.9, threshold=PER_NEURON),
    "continuous-none": lambda: ContinuousIF(reset_mechanism="none"),
    "discontinuous": DiscontinuousIF,
    "inclusive": lambda: DiscontinuousIF(threshold=0.5, spike_grad=HardFire(inclusive=True)),
    "continuous-inclusive": lambda: ContinuousIF(spike_grad=HardFire(inclusive=True)),
    "graded": lambda: Leaky(beta=0.9, graded_spikes_factor=0.75),
    "per-neuron": lambda: Leaky(beta=PER_NEURON, threshold=PER_NEURON),
    "disabled": lambda: Leaky(beta=0.9, surrogate_disable=True),
}
for _reset, _delay in RESETS:
    _how: dict[str, Any] = {"reset_mechanism": _reset, "reset_delay": _delay}
    _name = f"{_reset}-{'late' if _delay else 'at-once'}"
    NEURONS |= {
        f"leaky-{_name}": lambda how=_how: Leaky(beta=0.9, **how),
        f"synaptic-{_name}": lambda how=_how: Synaptic(alpha=0.7, beta=0.9, **how),
        f"rleaky-{_name}": lambda how=_how: RLeaky(beta=0.9, linear_features=WIDTH, **how),
        f"rleaky-one-{_name}": lambda how=_how: RLeaky(
            beta=0.9, V=PER_NEURON - 0.8, all_to_all=False, **how
        ),
        f"rsynaptic-{_name}": lambda how=_how: RSynaptic(
            alpha=0.7, beta=0.9, linear_features=WIDTH, **how
        ),
        f"rsynaptic-one-{_name}": lambda how=_how: RSynaptic(
            alpha=0.7, beta=0.9, V=-0.3, all_to_all=False, **how
        ),
    }
MAKERS = pytest.mark.parametrize("make", NEURONS.values(), ids=NEURONS)


def chain(make: Maker) -> Any:
    return exact(
        SpikingSequential(
            SpikeLinear(IN, WIDTH), make(), nn.Linear(WIDTH, OUT, bias=False), Leaky(beta=0.8)
        )
    )


@pytest.fixture(params=[0, 1, 2])
def isa(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each instruction set that the processor has."""
    lib = native.library()
    assert lib is not None, native.available()[1]
    best = ("portable", "avx2", "avx512").index(native.available()[1])
    if not lib.snp_use_isa(request.param):
        pytest.skip("not on this processor")
    yield
    lib.snp_use_isa(best)


@MAKERS
def test_equals_the_whole_sequence_bit_for_bit_where_sums_are_exact(make: Maker, isa: None) -> None:
    net, frames = chain(make), spikes()
    stepper = Stepper(net)
    assert is_native(stepper)
    expected, state = whole(net, frames)
    assert 0 < expected.count_nonzero() < expected.numel()
    assert torch.equal(stepped(stepper, frames), expected)
    assert_same_states(stepper.state, state)


@MAKERS
@pytest.mark.parametrize("native_library", [True, False])
def test_hands_its_state_over_both_ways(
    make: Maker, native_library: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not native_library:
        monkeypatch.setattr(native, "_LIBRARY", None)
    net, frames = chain(make), spikes()
    expected, last = whole(net, frames)
    _, middle = whole(net, frames[:10])
    stepper = Stepper(net)
    assert is_native(stepper) is native_library
    stepper.load_state(middle)
    assert torch.equal(stepped(stepper, frames[10:]), expected[10:])
    assert_same_states(stepper.state, last)
    stepper.reset()
    assert torch.equal(stepped(stepper, frames[:10]), expected[:10])
    out, after = whole(net, frames[10:], stepper.state)
    assert torch.equal(out, expected[10:])
    assert_same_states(after, last)


@pytest.mark.parametrize("seed", range(5))
def test_random_weights_differ_by_rounding_only(seed: int, isa: None) -> None:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(IN, 300), Leaky(beta=0.9), nn.Linear(300, 130))
    frames = spikes(seed=seed, density=0.1 + 0.2 * seed)
    expected, _ = whole(net, frames)
    torch.testing.assert_close(stepped(Stepper(net), frames), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("native_library", [True, False])
def test_events_are_the_frame(native_library: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not native_library:
        monkeypatch.setattr(native, "_LIBRARY", None)
    torch.manual_seed(0)
    net, frames = chain(lambda: RLeaky(beta=0.9, linear_features=WIDTH)), spikes()
    frames[4] = 0
    by_frame, by_events = Stepper(net), Stepper(net)
    for frame in frames:
        addresses = frame.nonzero().flatten()
        forms = [addresses, addresses.numpy().astype(np.uint16), addresses.tolist()]
        given: Any = forms[int(frame.sum()) % 3]
        given = given.astype(np.int32) if isinstance(given, np.ndarray) else given
        assert torch.equal(by_events.events(given), by_frame(frame))
    counts = torch.zeros(IN)
    counts[[2, 5]] = torch.tensor([3.0, 1.0])
    assert torch.equal(by_events.events([2, 5, 2, 2]), by_frame(counts))
    assert_same_states(by_events.state, by_frame.state)


def test_graded_and_dense_inputs() -> None:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(-8, 9, (STEPS, IN), generator=generator) / 8
    net = chain(ContinuousIF)
    assert torch.equal(stepped(Stepper(net), frames), whole(net, frames)[0])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_propagates(value: float) -> None:
    frames = spikes(6)
    frames[2, 5] = value
    net = chain(lambda: Synaptic(alpha=0.7, beta=0.9, reset_mechanism="none"))
    stepper = Stepper(net)
    expected, state = whole(net, frames)
    assert torch.equal(stepped(stepper, frames), expected)
    for ours, theirs in zip(stepper.state, state, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    assert not all(s.isfinite().all() for s in stepper.state[0])


@pytest.mark.parametrize(
    "convert",
    [
        lambda f: f.unsqueeze(0),
        lambda f: f.numpy(),
        lambda f: f.bool(),
        lambda f: f.double(),
        lambda f: f.to(torch.uint8),
        lambda f: torch.stack([f, f], 1)[:, 0],
        lambda f: nn.Parameter(f),
    ],
)
def test_takes_a_frame_in_any_form(convert: Callable[[Tensor], Any]) -> None:
    net, frames = chain(ContinuousIF), spikes()
    one, other = Stepper(net), Stepper(net)
    for frame in frames:
        assert torch.equal(one(convert(frame)), other(frame))


def test_outputs_are_copies_unless_told() -> None:
    net, frames = chain(ContinuousIF), spikes()
    first, second = Stepper(net), Stepper(net, copy=False)
    kept = [first(f) for f in frames]
    views = [second(f) for f in frames]
    assert len({t.data_ptr() for t in views}) == 1
    assert len({t.data_ptr() for t in kept}) == len(kept)
    assert torch.equal(kept[-1], views[-1])
    assert not torch.equal(torch.stack(kept), torch.stack(views))


def test_follows_its_parameters() -> None:
    net, frames = chain(lambda: RLeaky(beta=0.9, linear_features=WIDTH)), spikes()
    stepper = Stepper(net)
    stepped(stepper, frames[:5])
    for parameter in (net[0].weight, net[1].recurrent.bias, net[1].beta, net[3].threshold):
        state = stepper.state
        with torch.no_grad():
            parameter.mul_(0.5)
        expected, _ = whole(net, frames[:5], state)
        assert torch.equal(stepped(stepper, frames[:5]), expected)
    net[0].weight = nn.Parameter(torch.zeros_like(net[0].weight))
    net[0].bias.data.zero_()
    stepper.refresh()
    state = stepper.state
    assert torch.equal(stepped(stepper, frames), whole(net, frames, state)[0])


@pytest.mark.parametrize(
    "clone", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))], ids=["deepcopy", "pickle"]
)
def test_copies_go_on_alone_from_where_it_is(clone: Callable[[Stepper], Stepper]) -> None:
    net, frames = chain(lambda: RSynaptic(0.7, 0.9, linear_features=WIDTH)), spikes()
    expected, _ = whole(net, frames)
    stepper = Stepper(net)
    stepped(stepper, frames[:9])
    other = clone(stepper)
    for one in (stepper, other):
        assert torch.equal(stepped(one, frames[9:]), expected[9:])


@pytest.mark.parametrize("neuron", ["continuous", "discontinuous"])
def test_packaged_networks(neuron: Any) -> None:
    torch.manual_seed(0)
    dense = exact(DenseSNN((2, 5, 5), 10, hidden=(20, 15), neuron=neuron, dropout_hidden=0.5))
    conv = exact(ConvSNN((2, 12, 12), 10, channels=(4,), hidden=(16,), neuron=neuron))
    for net, shape in ((dense, (2, 5, 5)), (conv, (2, 12, 12))):
        frames = (torch.rand(8, *shape) < 0.3).float()
        stepper = Stepper(net)
        assert is_native(stepper) is (net is dense)
        assert isinstance(stepper._pieces[-1], NativePiece)
        got = stepped(stepper, frames)
        with torch.no_grad():
            expected, _ = net.eval()(frames.unsqueeze(1))
        assert torch.equal(got, expected)
        stepper.reset()
        assert torch.equal(stepped(stepper, frames.unsqueeze(1)), expected)


FALLBACKS: dict[str, Callable[[], nn.Module]] = {
    "snntorch": lambda: snn.Leaky(beta=0.9),
    "snntorch-hidden": lambda: snn.Leaky(beta=0.9, init_hidden=True),
    "snntorch-synaptic": lambda: snn.Synaptic(alpha=0.7, beta=0.9),
    "inhibition": lambda: Leaky(beta=0.9, inhibition=True),
    "quantised": lambda: Leaky(beta=0.9, state_quant=lambda s: (s * 8).round() / 8),
    "foreign-surrogate": lambda: Leaky(beta=0.9, spike_grad=snn.surrogate.atan()),
    "batch-norm": lambda: nn.BatchNorm1d(WIDTH),
    "relu": lambda: nn.ReLU(),
}


@pytest.mark.parametrize("make", FALLBACKS.values(), ids=FALLBACKS)
def test_what_is_not_native_runs_in_torch(make: Callable[[], nn.Module]) -> None:
    layers = (nn.Linear(IN, WIDTH), make(), nn.Linear(WIDTH, OUT), ContinuousIF())
    net = exact(SpikingSequential(*layers)).eval()
    frames = spikes()
    stepper = Stepper(net)
    assert not is_native(stepper)
    with torch.no_grad():
        expected = net(frames.unsqueeze(1))
    got = stepped(stepper, frames)
    assert torch.equal(got, expected)
    state = Stepper(net)
    stepped(state, frames[:7])
    other = Stepper(net)
    other.load_state(state.state)
    assert torch.equal(stepped(other, frames[7:]), expected[7:])


def test_recurrent_neurons_of_snntorch_hear_their_spikes() -> None:
    linear, neuron = exact(nn.Linear(IN, WIDTH)), snn.RLeaky(beta=0.9, V=0.5, all_to_all=False)
    stepper = Stepper(nn.Sequential(linear, neuron))
    spk, mem = torch.zeros(1, WIDTH), torch.zeros(1, WIDTH)
    for frame in spikes():
        with torch.no_grad():
            spk, mem = neuron(linear(frame.unsqueeze(0)), spk, mem)
        assert torch.equal(stepper(frame), spk)
        assert_same_states(stepper.state, [(spk, mem)])


def test_double_precision_runs_in_torch() -> None:
    net = chain(lambda: Leaky(beta=0.9)).double()
    frames = spikes().double()
    got = stepped(Stepper(net), frames)
    assert got.dtype == torch.float64
    assert torch.equal(got, whole(net, frames)[0])


def test_hidden_state_of_the_network_is_left_alone() -> None:
    theirs = snn.Leaky(beta=0.9, init_hidden=True)
    ours = Leaky(beta=0.9, init_hidden=True)
    net = nn.Sequential(nn.Linear(IN, WIDTH), theirs, nn.Linear(WIDTH, OUT), ours)
    net(spikes(1))
    before = [theirs.mem.clone(), ours.mem.clone()]
    stepped(Stepper(net), spikes())
    assert torch.equal(theirs.mem, before[0])
    assert torch.equal(ours.mem, before[1])


def test_nests_and_flattens() -> None:
    net = exact(
        SpikingSequential(
            nn.Sequential(nn.Flatten(), nn.Dropout(0.9)),
            SpikingSequential(nn.Linear(IN * 2, WIDTH), ContinuousIF()),
            nn.Identity(),
            nn.Flatten(),
            nn.Linear(WIDTH, OUT),
        )
    )
    frames = spikes(features=IN * 2).reshape(STEPS, 2, IN)
    stepper = Stepper(net)
    assert is_native(stepper)
    with torch.no_grad():
        expected = net.eval()(frames.unsqueeze(1))
    assert torch.equal(stepped(stepper, frames), expected)


@pytest.mark.parametrize("native_library", [True, False])
@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        ([nn.Linear(4, 3)], (5,), r"shape \(5,\); the first layer takes torch.Size\(\[4\]\)"),
        ([nn.Linear(4, 3)], (2, 4), r"shape \(2, 4\)"),
        ([nn.Linear(4, 3)], (2, 2), r"shape \(2, 2\)"),
        ([nn.Flatten(), nn.Linear(4, 3)], (2, 4), r"\(2, 4\); the first layer takes 4 values"),
        ([nn.Conv2d(2, 3, 3)], (2, 2, 5, 5), r"\(2, 2, 5, 5\); the first layer takes 2 channels"),
        ([nn.Conv2d(2, 3, 3)], (3, 5, 5), r"\(3, 5, 5\)"),
        ([ContinuousIF()], (5,), r"\(5,\); this network takes \(1, \*features\)"),
    ],
)
def test_refuses_a_frame_that_does_not_fit(
    native_library: bool,
    layers: list[nn.Module],
    shape: tuple[int, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not native_library:
        monkeypatch.setattr(native, "_LIBRARY", None)
    with pytest.raises(ArgumentError, match=message):
        Stepper(nn.Sequential(*layers))(torch.zeros(shape))


@pytest.mark.parametrize("native_library", [True, False])
@pytest.mark.parametrize(
    ("addresses", "message"),
    [
        ([0, IN], rf"address {IN} at position 1; the frame has {IN} values"),
        ([-1], "address -1 at position 0"),
        ([0.5], "dtype torch.float32; events takes integers"),
        ([[1, 2]], r"shape \(1, 2\)"),
        ([True], "torch.bool"),
    ],
)
def test_refuses_wrong_addresses_and_changes_nothing(
    native_library: bool, addresses: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not native_library:
        monkeypatch.setattr(native, "_LIBRARY", None)
    stepper = Stepper(chain(ContinuousIF))
    stepped(stepper, spikes(5))
    state = stepper.state
    with pytest.raises(ArgumentError, match=message):
        stepper.events(addresses)
    assert_same_states(stepper.state, state)


def test_refuses_what_it_cannot_step() -> None:
    with pytest.raises(ArgumentError, match="Linear is no chain"):
        Stepper(nn.Linear(3, 2))
    nested = nn.ModuleList([ContinuousIF()])
    with pytest.raises(ArgumentError, match="ModuleList holds spiking neurons"):
        Stepper(nn.Sequential(nn.Linear(3, 2), nested))
    with pytest.raises(ArgumentError, match="real numbers"):
        Stepper(chain(ContinuousIF))(torch.zeros(IN, dtype=torch.complex64))
    with pytest.raises(ArgumentError, match="give frames"):
        Stepper(nn.Sequential(nn.Conv2d(2, 3, 3))).events([1])
    with pytest.raises(ArgumentError, match="BatchNorm1d is in training mode"):
        Stepper(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)))(torch.zeros(3))


def test_refuses_a_state_that_does_not_fit_and_changes_nothing() -> None:
    stepper = Stepper(chain(lambda: Synaptic(alpha=0.7, beta=0.9)))
    stepped(stepper, spikes(5))
    state = stepper.state
    with pytest.raises(ArgumentError, match="1 layers of neurons; the network has 2"):
        stepper.load_state(state[:1])
    for wrong in (state[0][:1], tuple(s[0] for s in state[0])):
        with pytest.raises(ArgumentError, match=r"take \('syn', 'mem'\), each \(1, 21\)"):
            stepper.load_state([wrong, state[1]])
    with pytest.raises(ArgumentError, match="state of shapes"):
        stepper.load_state([(), state[0]])
    assert_same_states(stepper.state, state)


def test_says_how_much_memory_it_keeps() -> None:
    net = nn.Sequential(nn.Linear(784, 1000), ContinuousIF(), nn.Linear(1000, 10))
    weights = sum(p.nbytes for p in net.parameters())
    assert weights < Stepper(net).memory_bytes < 1.05 * weights
