"""A converted network is the network: its spikes, gradients and parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import snntorch as snn
import torch
from snntorch import surrogate
from torch import Tensor, nn

from snnplug.errors import ArgumentError
from snnplug.layers.convert import convert
from snnplug.layers.sequential import SpikingSequential
from snnplug.neurons.base import SequenceNeuron, reset
from snnplug.neurons.continuous_if import ContinuousIF
from snnplug.neurons.leaky import Leaky
from snnplug.surrogate import Atan, FastSigmoid, StraightThrough

T, B, N = 8, 4, 6


def frames(seed: int = 0, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 5, (T, B, *(shape or (N,))), generator=generator) / 4


def grid(net: nn.Module) -> nn.Module:
    """Weights in multiples of 1/64: every order of summation gives the same sum."""
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                for p in module.parameters():
                    p.copy_((torch.randn_like(p) * 32).round() / 64)
    return net


class Loop(nn.Module):
    """The network of snnTorch's tutorials; a subclass changes what its name says."""

    static = False

    def __init__(self, neuron: Callable[[], Any] = lambda: snn.Leaky(beta=0.9)) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(N, 5), neuron()
        self.fc2, self.lif2 = nn.Linear(5, 5), neuron()

    def between(self, spk: Tensor) -> Tensor:
        return spk

    def first(self, x: Tensor, step: int) -> Tensor:
        return x if self.static else x[step]

    def carry(self, state: list[Tensor], step: int) -> list[Tensor]:
        return state

    def forward(self, x: Tensor) -> Any:
        state1, state2 = rest(self.lif1), rest(self.lif2)
        spk_rec, mem_rec = [], []
        for step in range(T):
            spk1, *after = self.lif1(self.fc1(self.first(x, step)), *state1)
            state1 = self.carry(handed(self.lif1, spk1, after), step)
            spk2, *after = self.lif2(self.fc2(self.between(spk1)), *state2)
            state2 = handed(self.lif2, spk2, after)
            spk_rec.append(spk2)
            mem_rec.append(state2[-1])
        return torch.stack(spk_rec), torch.stack(mem_rec)


def rest(neuron: Any) -> list[Tensor]:
    state = neuron.reset_mem()
    return list(state) if isinstance(state, tuple) else [state]


def handed(neuron: Any, spk: Tensor, after: list[Tensor]) -> list[Tensor]:
    return [spk, *after] if len(after) < len(rest_names(neuron)) else after


def rest_names(neuron: Any) -> list[str]:
    return [name for name in ("spk", "syn", "mem") if name in neuron._buffers]


def loop_over(net: nn.Module) -> Callable[[Tensor], Tensor]:
    def run(x: Tensor) -> Tensor:
        reset(net)
        return torch.stack([net(now) for now in x])

    return run


def assert_same(run: Callable[[Tensor], Tensor], fast: SpikingSequential, x: Tensor) -> None:
    """The same bits and, of the very same parameters, the same gradients."""
    parameters = [p for p in fast.parameters() if p.requires_grad]
    y, z = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected, found = run(y), fast(z)
    assert 0 < expected.mean() < 1
    assert torch.equal(found, expected)
    wanted = torch.autograd.grad(expected.sum(), [y, *parameters], allow_unused=True)
    grads = torch.autograd.grad(found.sum(), [z, *parameters], allow_unused=True)
    assert any(g is not None and bool(g.any()) for g in wanted)
    for a, b in zip(grads, wanted, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * float(b.abs().max()))


HIDDEN: dict[str, Callable[..., Any]] = {
    "leaky": lambda **k: snn.Leaky(beta=0.9, learn_beta=True, learn_threshold=True, **k),
    "zero": lambda **k: snn.Leaky(beta=torch.rand(5), reset_mechanism="zero", **k),
    "none": lambda **k: snn.Leaky(beta=0.5, reset_mechanism="none", threshold=0.75, **k),
    "now": lambda **k: snn.Leaky(beta=0.9, reset_delay=False, **k),
    "graded": lambda **k: snn.Leaky(
        beta=0.9, graded_spikes_factor=0.5, learn_graded_spikes_factor=True, **k
    ),
    "fast_sigmoid": lambda **k: snn.Leaky(beta=0.9, spike_grad=surrogate.fast_sigmoid(10), **k),
    "integers": lambda **k: snn.Leaky(beta=torch.tensor(1), threshold=1, **k),
    "synaptic": lambda **k: snn.Synaptic(alpha=0.7, beta=0.9, learn_alpha=True, **k),
    "rleaky": lambda **k: snn.RLeaky(beta=0.9, linear_features=5, **k),
    "rleaky-one": lambda **k: snn.RLeaky(beta=0.9, all_to_all=False, V=0.25, **k),
    "rleaky-fixed": lambda **k: snn.RLeaky(
        beta=0.9, all_to_all=False, V=torch.rand(5), learn_recurrent=False, **k
    ),
    "rsynaptic": lambda **k: snn.RSynaptic(alpha=0.7, beta=0.9, linear_features=5, **k),
    "ours": lambda **k: ContinuousIF(learn_threshold=True, **k),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_sequential_gives_the_same(name: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(N, 5), HIDDEN[name](init_hidden=True), nn.Linear(5, 5), nn.ReLU(),
        HIDDEN[name](init_hidden=True),
    )  # fmt: skip
    grid(net)
    fast = convert(net, frames())
    assert all(isinstance(fast[k], SequenceNeuron) for k in (1, 4))
    assert_same(loop_over(net), fast, frames(1))


@pytest.mark.parametrize("name", HIDDEN)
def test_a_loop_gives_the_same(name: str) -> None:
    torch.manual_seed(0)
    net = grid(Loop(HIDDEN[name]))
    fast = convert(net, frames())
    assert_same(lambda x: net(x)[0], fast, frames(1))


def test_parameters_are_the_very_same_and_keep_their_keys() -> None:
    torch.manual_seed(0)
    net: Any = grid(Loop(lambda: snn.RLeaky(beta=0.9, linear_features=5, learn_beta=True)))
    fast = convert(net, frames())
    theirs, ours = dict(net.named_parameters()), dict(fast.named_parameters())
    assert theirs.keys() == ours.keys()
    assert all(ours[name] is theirs[name] for name in ours)
    assert fast.state_dict().keys() == net.state_dict().keys()
    optimizer = torch.optim.SGD(net.parameters(), lr=2**-10)
    before = net.fc1.weight.clone()
    fast(frames(2)).sum().backward()
    optimizer.step()
    assert not torch.equal(net.fc1.weight, before)
    assert_same(lambda x: net(x)[0], fast, frames(3))


def test_warns_of_a_neuron_that_never_fires() -> None:
    net = nn.Sequential(nn.Linear(N, 5), snn.Leaky(beta=0.9, threshold=99.0, init_hidden=True))
    with pytest.warns(UserWarning, match="never fired in the example.*: 1;"):
        convert(net, frames())


def test_nested_and_convolutional() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 3, 3), snn.Leaky(beta=0.9, init_hidden=True)),
        nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5)),
        nn.Linear(12, 5),
        snn.Leaky(beta=0.9, init_hidden=True, output=True),
    )
    grid(net).eval()
    fast = convert(net, frames(0, 2, 6, 6))
    assert [name for name, _ in fast.named_children()] == [
        "0_0", "0_1", "1_0", "1_1", "1_2", "2", "3",
    ]  # fmt: skip

    def run(x: Tensor) -> Tensor:
        reset(net)
        return torch.stack([net(now)[0] for now in x])

    assert_same(run, fast, frames(1, 2, 6, 6))
    assert not fast.training
    assert all(not module.training for module in fast)


class Static(Loop):
    static = True


class Flattening(Loop):
    def first(self, x: Tensor, step: int) -> Tensor:
        return x[step].view(x.shape[1], -1)

    def between(self, spk: Tensor) -> Tensor:
        return spk.flatten(1).view(len(spk), -1)


def test_a_static_input_is_repeated() -> None:
    torch.manual_seed(1)
    net = grid(Static())
    fast = convert(net, frames()[0])
    x = frames(2)[0]
    expected = net(x)[0]
    assert expected.any()
    assert torch.equal(fast(x.expand(T, *x.shape)), expected)


def test_flattening_between_layers_becomes_a_layer() -> None:
    torch.manual_seed(0)
    net = grid(Flattening())
    fast = convert(net, frames(0, 2, 3))
    assert [name for name, _ in fast.named_children()][:2] == ["flatten", "fc1"]
    assert_same(lambda x: net(x)[0], fast, frames(1, 2, 3))


def test_surrogates_become_ours() -> None:
    for theirs, ours in (
        (None, Atan()),
        (surrogate.atan(3.0), Atan(3.0)),
        (surrogate.fast_sigmoid(7), FastSigmoid(7.0)),
        (surrogate.straight_through_estimator(), StraightThrough()),
    ):
        net = nn.Sequential(nn.Linear(N, 5), snn.Leaky(0.9, spike_grad=theirs, init_hidden=True))
        assert convert(net, frames())[1].spike_grad == ours
    custom = surrogate.SFS()
    net = nn.Sequential(nn.Linear(N, 5), snn.Leaky(0.9, spike_grad=custom, init_hidden=True))
    assert convert(net, frames())[1].spike_grad is custom


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(training: bool) -> None:
    net = nn.Sequential(nn.Linear(N, 5), nn.Dropout(0.5), HIDDEN["rsynaptic"](init_hidden=True))
    net.train(training)
    net[1].eval()
    net(frames()[0])
    before = {name: value.clone() for name, value in net.named_buffers()}
    random = torch.get_rng_state()
    fast = convert(net, frames(2))
    assert torch.equal(torch.get_rng_state(), random)
    assert [m.training for m in net] == [training, False, training]
    assert fast.training is training
    assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())
    assert not any(m._forward_hooks for m in net.modules())
    assert all(p.grad is None for p in net.parameters())
    with pytest.raises(ArgumentError):
        convert(nn.Sequential(net, nn.BatchNorm1d(5)), frames(2))
    assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())
    assert not any(m._forward_hooks for m in net.modules())


class Pooling(Loop):
    def between(self, spk: Tensor) -> Tensor:
        return spk.relu()


class Skip(Loop):
    def between(self, spk: Tensor) -> Tensor:
        return spk + 1


class CutGradient(Loop):
    def between(self, spk: Tensor) -> Tensor:
        return spk.detach()


class CutState(Loop):
    def carry(self, state: list[Tensor], step: int) -> list[Tensor]:
        return [s.detach() for s in state]


class Forgets(Loop):
    def carry(self, state: list[Tensor], step: int) -> list[Tensor]:
        return [s * 0 for s in state]


class Sometimes(Loop):
    def first(self, x: Tensor, step: int) -> Tensor:
        if step == 3:
            self.fc1(x[step])
        return x[step]


class Scales(Loop):
    def first(self, x: Tensor, step: int) -> Tensor:
        return x[step] * 0.5


class BatchFirst(Loop):
    def first(self, x: Tensor, step: int) -> Tensor:
        return x[:, step]


class Sums(Loop):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x)[0].sum(0)


class Membranes(Loop):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x)[1]


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (Pooling, "input of fc2.*not the output of lif1"),
        (Skip, "input of fc2.*not the output of lif1"),
        (CutGradient, "gradient is cut between lif1 and fc2"),
        (CutState, r"lif1 \(Leaky\) has other gradients"),
        (Forgets, r"lif1 \(Leaky\) gives another output"),
        (Sometimes, "fc1 does not run in the same place"),
        (Scales, "fc1, the first layer, gets"),
        (Sums, "returns .* not the output of its last layer, lif2"),
        (Membranes, "returns .* not the output of its last layer, lif2"),
    ],
)
def test_refuses_what_is_no_chain(net: Callable[[], nn.Module], message: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(ArgumentError, match=message):
        convert(net(), frames() * 2)


def test_refuses_a_batch_first_example() -> None:
    with pytest.raises(ArgumentError, match="time is the first axis"):
        convert(BatchFirst(), torch.rand(B, T, N))


class Remembers(nn.Module):
    """A neuron of one's own, with a state that no one else knows of."""

    def __init__(self) -> None:
        super().__init__()
        self.mem = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        self.mem = 0.5 * self.mem + x
        return self.mem


class OfTheBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / len(x)


class WrongBackward(nn.Module):
    """Its gradient depends on how many samples come at once; its output does not."""

    def forward(self, x: Tensor) -> Tensor:
        factor = float(len(x))
        return x.detach() + factor * (x - x.detach())


class Mine(snn.Leaky):  # type: ignore[misc]
    pass


def changed() -> Any:
    neuron = snn.Leaky(beta=0.9, init_hidden=True)
    neuron.reset_mechanism = "zero"  # which snnTorch then does not do
    return neuron


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: snn.Alpha(alpha=0.9, beta=0.8, init_hidden=True), "1 is a .*Alpha"),
        (lambda: snn.Lapicque(beta=0.9, init_hidden=True), "1 is a .*Lapicque"),
        (lambda: snn.SLSTM(5, 5, init_hidden=True), "1 is a .*SLSTM"),
        (lambda: Mine(beta=0.9, init_hidden=True), "1 is a .*Mine"),
        (lambda: nn.BatchNorm1d(5), "1 is a BatchNorm1d"),
        (Remembers, r"1 \(Remembers\) cannot run over all time steps"),
        (OfTheBatch, r"1 \(OfTheBatch\) gives another output"),
        (WrongBackward, r"1 \(WrongBackward\) has other gradients"),
        (changed, r"1 \(Leaky\) gives another output"),
        (lambda: nn.ReLU(inplace=True), r"1 \(ReLU\) works in place"),
        (lambda: nn.GRU(5, 5), r"1 \(GRU\) does not return one tensor"),
    ],
)
def test_names_the_layer_that_cannot_be_converted(
    make: Callable[[], nn.Module], message: str
) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(N, 5), make(), snn.Leaky(beta=0.9, init_hidden=True))
    with pytest.raises(ArgumentError, match=message):
        convert(net, frames() * 3)


def test_refuses_networks_and_examples_without_time() -> None:
    step = nn.Sequential(nn.Linear(N, 5), snn.Leaky(beta=0.9, init_hidden=True))
    with pytest.raises(ArgumentError, match="ran 1 time step"):
        convert(step, frames()[:1])
    with pytest.raises(ArgumentError, match="T >= 2"):
        convert(step, torch.zeros(3))
    with pytest.raises(ArgumentError, match="no spiking neuron"):
        convert(nn.Sequential(nn.Linear(N, 5)), frames())
    neuron = snn.Leaky(beta=0.9, init_hidden=True)
    with pytest.raises(ArgumentError, match="runs twice"):
        convert(nn.Sequential(nn.Linear(N, 5), neuron, nn.Linear(5, 5), neuron), frames())


def test_layers_used_twice_and_frozen_ones() -> None:
    torch.manual_seed(0)
    fc = nn.Linear(N, N)
    net = nn.Sequential(
        fc, snn.Leaky(beta=0.9, init_hidden=True), fc, snn.Leaky(beta=0.9, init_hidden=True)
    )
    grid(net)
    fast = convert(net, frames())
    assert list(fast._modules) == ["0", "1", "0_2", "3"]
    assert_same(loop_over(net), fast, frames(1))
    fc.requires_grad_(False)
    assert isinstance(convert(net, frames())[1], Leaky)


@pytest.mark.filterwarnings("ignore:.* output spikes of the example differ")
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(N, 5), snn.Leaky(beta=0.9, spike_grad=Atan(), init_hidden=True)
    ).to(dtype)
    fast = convert(net, frames().to(dtype))
    assert fast(frames(1).to(dtype)).dtype == dtype


def test_reports_output_spikes_that_rounding_decides() -> None:
    class Nudged(nn.Linear):
        """Sums in another order if more samples come at once: here, one epsilon more."""

        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) * (1 + 2e-7 * (len(input) > B))

    neuron = snn.Leaky(beta=0.0, reset_mechanism="none", init_hidden=True)
    net = nn.Sequential(Nudged(1, 1, bias=False), neuron)
    with torch.no_grad():
        net[0].weight.fill_(1.0)
    with pytest.warns(UserWarning, match="4 of 8 output spikes"):
        convert(net, torch.tensor([1.0, 2.0]).reshape(2, 1, 1).expand(2, B, 1))
