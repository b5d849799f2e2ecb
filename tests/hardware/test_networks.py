"""Whole networks: what is folded, added, repeated and unseen, and the laws that counts obey."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import snntorch as snn
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack

import snnplug as sp
from snnplug.errors import ArgumentError, MeasurementError
from snnplug.hardware.activity import Activity, ElementwiseLayer, PoolLayer
from snnplug.hardware.counting import measure
from snnplug.hardware.target import load_target, packaged_targets
from snnplug.layers.sequential import SpikingSequential

STEPS, BATCH = 4, 5


def spikes(*shape: int, density: float = 0.3, seed: int = 0) -> Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < density).float()


def count(network: nn.Module, *x: Tensor, **how: int) -> Activity:
    with measure(network, **how) as meter, torch.no_grad():
        for part in x:
            network(part)
    return meter.activity()


class Everything(nn.Module):
    """A loop over time with one of each: residual blocks, pooling, recurrence, an LSTM, BNTT."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))
        self.lif1 = snn.Leaky(beta=0.9, threshold=0.3)
        self.block = nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular", groups=2)
        self.lif2 = sp.Leaky(beta=0.5, threshold=0.3)
        self.up = nn.ConvTranspose2d(4, 2, 2, stride=2)
        self.fc = nn.Linear(72, 8)
        self.norms = snn.BatchNormTT1d(8, STEPS)
        self.lif3 = snn.RLeaky(beta=0.9, linear_features=8, threshold=0.3)
        self.lstm = snn.SLSTM(8, 8, threshold=0.05)
        self.out = sp.RLeaky(beta=0.9, all_to_all=False, threshold=0.02)

    def forward(self, frames: Tensor) -> Tensor:
        mem1, mem2 = self.lif1.reset_mem(), None
        spk3, mem3 = self.lif3.reset_mem()
        syn4, mem4 = self.lstm.reset_mem()
        last: tuple[Any, ...] = (None, None)
        out = []
        for t, now in enumerate(frames):
            spk1, mem1 = self.lif1(F.max_pool2d(self.stem(now), 2), mem1)
            spk2, mem2 = self.lif2(self.block(spk1), mem2)
            both = spk1 + spk2
            cur = F.avg_pool2d(self.up(both), 2)
            spk3, mem3 = self.lif3(self.norms[t](self.fc(cur.flatten(1))), spk3, mem3)
            spk4, syn4, mem4 = self.lstm(spk3, syn4, mem4)
            last = self.out(spk4, *last)
            out.append(last[0])
        return torch.stack(out)


def everything() -> Everything:
    torch.manual_seed(0)
    return Everything().eval()


FRAMES = spikes(STEPS, BATCH, 1, 12, 12)


def test_everything_is_counted_and_nothing_unpriced() -> None:
    activity = count(everything(), FRAMES)
    assert activity.unpriced == ()
    found = {layer.name: layer for layer in activity.layers}
    assert list(found) == [
        *("stem.0", "stem.1", "Everything.max_pool2d", "lif1", "block", "lif2", "Everything.add"),
        *("up", "Everything.avg_pool2d", "fc", "norms.0", "lif3.recurrent", "lif3"),
        *("lstm.lstm_cell.input", "lstm.lstm_cell.hidden", "lstm", "out.V", "out"),
        *(f"norms.{t}" for t in range(1, STEPS)),
    ]
    kinds = {name: layer.operand.kind for name, layer in found.items() if hasattr(layer, "operand")}
    assert [kinds[name] for name in ("stem.0", "block", "up", "fc", "lstm.lstm_cell.input")] == [
        *("binary", "binary", "integer", "analog", "binary")
    ]
    # Spike + spike is 0, 1 or 2: two bits.
    assert found["up"].operand.bits == 2  # type: ignore[union-attr]
    added = found["Everything.add"]
    assert isinstance(added, ElementwiseLayer)
    assert added.adds == STEPS * BATCH * 4 * 6 * 6
    assert found["stem.1"].kind == "BatchNorm2d (folded)"
    assert (found["norms.0"].kind, found["norms.0"].multiplies) == ("BatchNorm1d", BATCH * 8)  # type: ignore[union-attr]


def test_a_network_of_everything_is_priced_by_every_target() -> None:
    activity = count(everything(), FRAMES)
    for name in packaged_targets():
        report = load_target(name).price(activity)
        if report.energy_nj is None:  # a target with a latency only
            continue
        assert report.dense_nj is not None
        assert 0 < report.energy_nj <= report.dense_nj
        assert sum(report.parts_nj.values()) == pytest.approx(report.energy_nj, rel=1e-12)


def test_counts_are_those_of_any_split_into_batches_and_ranks() -> None:
    network = everything()
    whole = count(network, FRAMES)
    parts = [FRAMES[:, i:j] for i, j in ((0, 1), (1, 3), (3, 5))]
    assert count(network, *parts) == whole
    ranks = [count(network, part) for part in parts]
    assert ranks[0] + ranks[1] + ranks[2] == whole
    texts = [activity.to_json() for activity in ranks]
    assert ranks[1].over_processes(lambda mine: texts) == whole
    assert Activity.from_json(whole.to_json()) == whole


def test_twice_the_steps_of_a_network_without_memory_are_twice_the_counts() -> None:
    torch.manual_seed(0)
    network = SpikingSequential(
        nn.Conv2d(1, 3, 3),
        nn.AvgPool2d(2),
        sp.DiscontinuousIF(threshold=0.05),
        nn.Flatten(),
        nn.Linear(75, 4),
        sp.DiscontinuousIF(threshold=0.05),
    )
    once, twice = count(network, FRAMES), count(network, torch.cat((FRAMES, FRAMES)))
    assert twice == Activity(once.samples, (once + once).layers)
    assert once.synaptic[1].events > 0


def test_silence_counts_nothing_but_neurons_and_dense_work() -> None:
    network = SpikingSequential(nn.Linear(6, 5, bias=False), sp.ContinuousIF(), nn.Linear(5, 4))
    activity = count(network, torch.zeros(3, 2, 6))
    assert [(s.events, s.synops, s.dense_synops) for s in activity.synaptic] == [
        (0, 0, 180),
        (0, 0, 120),
    ]
    assert (activity.neuronal[0].spikes, activity.neuronal[0].presentations) == (0, 6)
    assert all(s.operand.kind == "binary" for s in activity.synaptic)


def trap(network: Everything) -> None:
    """Make the network raise in the middle of a step."""

    def fail(*_: Any) -> None:
        raise RuntimeError("in the middle")

    network.lstm.lstm_cell.register_forward_pre_hook(fail)


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_the_network_is_left_as_it_was(raises: bool, training: bool) -> None:
    network = everything().train(training)
    mine = [module.register_forward_hook(lambda *_: None) for module in network.modules()]
    if raises:
        trap(network)
    hooks = [
        (list(m._forward_hooks), list(m._forward_pre_hooks), list(m._forward_hooks_always_called))
        for m in network.modules()
    ]
    plain = everything().train(training)
    if raises:
        trap(plain)

    def run(net: nn.Module) -> None:
        with torch.no_grad():
            if raises:
                with pytest.raises(RuntimeError, match="in the middle"):
                    net(FRAMES)
            else:
                net(FRAMES)

    torch.manual_seed(7)
    run(plain)
    random_state = torch.get_rng_state()
    torch.manual_seed(7)
    with measure(network):
        run(network)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert [
        (list(m._forward_hooks), list(m._forward_pre_hooks), list(m._forward_hooks_always_called))
        for m in network.modules()
    ] == hooks
    assert len(mine) == len(list(network.modules()))
    assert _get_current_function_mode_stack() == []
    assert network.training == training
    # Buffers hold the states, and of batch normalisation the statistics.
    theirs = dict(plain.named_buffers())
    for name, value in network.named_buffers():
        assert torch.equal(value, theirs[name]), name
    assert not any(p.grad is not None for p in network.parameters())


def test_outputs_are_the_same_while_it_is_watched() -> None:
    with torch.no_grad():
        plain = everything()(FRAMES)
        network = everything()
        with measure(network):
            assert torch.equal(network(FRAMES), plain)


def test_counting_goes_on_after_an_exception_inside_the_block() -> None:
    network = everything()
    with measure(network) as meter, torch.no_grad():
        network(FRAMES)
        with pytest.raises(RuntimeError):
            network(spikes(STEPS, BATCH, 3, 12, 12))
        with pytest.raises(ArgumentError):
            network(torch.zeros(3))
        before = meter.activity()
        network(FRAMES)
    after = meter.activity()
    added = {layer.name: layer.adds for layer in after.layers if layer.name == "Everything.add"}
    assert added == {"Everything.add": 2 * STEPS * BATCH * 4 * 6 * 6}
    assert before.samples == 2 * BATCH


def test_a_still_image_repeats_its_work_from_the_second_step_on() -> None:
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 2, 3), sp.ContinuousIF(), nn.Flatten(), nn.Linear(32, 3)
    image, moving = torch.rand(2, 1, 6, 6), torch.rand(STEPS, 1, 1, 6, 6)
    still = image.expand(STEPS, *image.shape)

    class Direct(nn.Module):
        """Direct coding: the same image at every step, in a loop inside."""

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.neuron, self.flat, self.fc = layers

        def forward(self, x: Tensor) -> Tensor:
            mem, out = None, []
            for _ in range(STEPS):
                spk, mem = self.neuron(self.conv(x), mem)
                out.append(self.fc(self.flat(spk)))
            return torch.stack(out)

    chain = SpikingSequential(*layers)
    mixed = torch.cat((still, moving), dim=1)  # two still samples and one that moves
    for activity, share in (
        (count(Direct(), image, batch_dim=0), 2),
        (count(chain, still), 2),
        (count(chain, mixed), 2),
        (count(chain, mixed[:, :1], mixed[:, 1:]), 2),
        (count(chain, moving), 0),
    ):
        first, second = activity.synaptic
        assert first.operand.kind == "analog"
        assert first.repeated_events == share * 36 * (STEPS - 1)
        assert first.repeated_synops == share * first.fan_out * (STEPS - 1)
        assert second.repeated_events == 0
        once = activity.reusing_static_input()
        assert once.synaptic[0].synops == first.synops - first.repeated_synops
        assert once.synaptic[1] == second
        assert once.reusing_static_input() == once


def test_weights_of_zero_are_skipped_together_with_static_input() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 2, 3)
    conv.weight.data[torch.rand_like(conv.weight) < 0.5] = 0
    image = torch.rand(2, 1, 6, 6)
    still = count(SpikingSequential(conv), image.expand(STEPS, *image.shape))
    # What is left of both is what one step of it has.
    (expected,) = (
        count(SpikingSequential(conv), image.unsqueeze(0)).skipping_zero_weights().synaptic
    )
    for both in (
        still.skipping_zero_weights().reusing_static_input(),
        still.reusing_static_input().skipping_zero_weights(),
    ):
        (layer,) = both.synaptic
        assert (layer.synops, layer.events) == (expected.synops, expected.events)
    assert 0 < expected.synops < still.synaptic[0].synops / STEPS


def kept(network: nn.Module, *x: Tensor) -> int:
    """Return how many values a meter holds on to after a run."""
    with measure(network) as meter, torch.no_grad():
        for part in x:
            network(part)
        held = [
            value for counter in meter._ledger.counters.values() for value in vars(counter).values()
        ]
        held += [meter._ledger._pending, meter._ledger._currents]
        held += [value._last for value in held if hasattr(value, "_last")]
    return sum(value.numel() for value in held if isinstance(value, Tensor))


def test_memory_depends_neither_on_steps_nor_on_samples() -> None:
    torch.manual_seed(0)
    network = SpikingSequential(
        nn.Conv2d(1, 2, 3), nn.AvgPool2d(2), sp.ContinuousIF(), nn.Flatten(), nn.Linear(50, 3)
    )
    few, many = torch.rand(2, 3, 1, 12, 12), torch.rand(40, 3, 1, 12, 12)
    assert kept(network, few) == kept(network, many) == kept(network, *[few] * 7) > 0


def test_a_loop_outside_the_network_counts_as_one_inside() -> None:
    network = SpikingSequential(nn.Linear(6, 5), sp.ContinuousIF(), nn.Linear(5, 4))
    step = nn.Sequential(network[0], sp.ContinuousIF(init_hidden=True), network[2])
    x = spikes(STEPS, BATCH, 6)
    expected = count(network, x)
    with measure(step, batch_dim=0, num_steps=STEPS) as meter, torch.no_grad():
        for half in x.split(3, dim=1):
            sp.reset(step)
            for now in half:
                step(now)
    assert meter.activity() == expected
    with measure(step) as meter, torch.no_grad():  # a loop that calls the layers itself
        sp.reset(step)
        meter.add_samples(BATCH)
        for now in x:
            step[2](step[1](step[0](now)))
    assert meter.activity() == expected
    with measure(step, batch_dim=0, num_steps=STEPS) as meter, torch.no_grad():
        step(x[0])
    with pytest.raises(MeasurementError, match="no whole number of samples"):
        meter.activity()
    with pytest.raises(ArgumentError, match="num_steps is 0"):
        measure(step, num_steps=0)


def functional(compute: Callable[[Tensor], Tensor]) -> tuple[str, ...]:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return compute(self.fc(x))

    return count(Functional(), spikes(STEPS, BATCH, 6)).unpriced


WEIGHT = torch.ones(6, 6)


@pytest.mark.parametrize(
    ("compute", "name"),
    [
        (lambda x: F.linear(x, WEIGHT), "linear"),
        (lambda x: x @ WEIGHT, "matmul"),
        (lambda x: F.conv1d(x, torch.ones(BATCH, BATCH, 1)), "conv1d"),
        (lambda x: torch.einsum("tbn,nm->tbm", x, WEIGHT), "einsum"),
        (lambda x: x * 0.5, "mul"),
        (lambda x: (x > 1).float(), "gt"),
        (lambda x: x + torch.rand_like(x), "rand_like"),
        (lambda x: torch.bernoulli(torch.sigmoid(x)), "sigmoid"),
        (lambda x: F.layer_norm(x, (6,)), "layer_norm"),
        (lambda x: x.softmax(-1), "softmax"),
        (lambda x: F.interpolate(x, scale_factor=2), "interpolate"),
        (lambda x: torch.where(x > 0, x, 0.0), "where"),
        (lambda x: x.cumsum(0), "cumsum"),
        (torch.relu, "relu"),
        (torch.ops.aten.relu, "relu"),
    ],
)
def test_functions_without_a_count_are_named(
    compute: Callable[[Tensor], Tensor], name: str
) -> None:
    assert f"Functional ({name})" in functional(compute)


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: x.flatten(1).unflatten(1, (BATCH, 6)).transpose(0, 1).contiguous()[1:],
        lambda x: torch.stack([x[0], x[-1]]),
        lambda x: torch.cat((x, torch.zeros_like(x)), dim=-1).detach().clone(),
        lambda x: F.dropout(F.pad(x, (1, 1)), training=False).to(torch.float64),
        lambda x: x + x - 1,
        lambda x: x.sum(0) / 1 if x.shape[0] < 0 else x.mean(0),
    ],
)
def test_moving_and_adding_values_is_not(compute: Callable[[Tensor], Tensor]) -> None:
    assert functional(compute) == ()


def test_modules_that_compute_unseen_are_named() -> None:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return torch.from_numpy(2 * x.numpy())

    class Unseen(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return Double.apply(x)

    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return WEIGHT

    class Passes(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    class Learned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Parameter(torch.ones(6))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.shift

    network = nn.Sequential(
        nn.Linear(6, 6), Passes(), Unseen(), Learned(), nn.Softmax(-1), Constant()
    )
    activity = count(network, spikes(STEPS, BATCH, 6))
    assert activity.unpriced == ("2 (numpy)", "4 (Softmax)", "5 (Constant)")
    (added,) = (layer for layer in activity.layers if isinstance(layer, ElementwiseLayer))
    assert (added.name, added.adds) == ("3.add", STEPS * BATCH * 6)


@pytest.mark.parametrize("others", [1, 2])
def test_meters_on_one_network_do_not_see_each_other(others: int) -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.neuron = nn.Linear(6, 6), sp.ContinuousIF()
            self.after = nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            spk, _ = self.neuron.run(self.before(x))
            return self.after(spk + x)

    network, x = Residual(), spikes(STEPS, BATCH, 6)

    def counts(several: int) -> list[Activity]:
        meters = [measure(network) for _ in range(several)]
        with torch.no_grad():
            for meter in meters:
                meter.__enter__()
            for _ in range(2):
                torch.sigmoid(network(x)) + 1  # outside of the network, as a loss is
            for meter in meters:  # first in, first out, as callbacks are
                meter.__exit__(None, None, None)
        assert not _get_current_function_mode_stack()
        return [meter.activity() for meter in meters]

    (alone,) = counts(1)
    assert [la.adds for la in alone.layers if isinstance(la, ElementwiseLayer)] == [
        2 * STEPS * BATCH * 6
    ]
    assert counts(1 + others) == [alone] * (1 + others)


def test_a_module_that_only_moves_values_is_free_in_every_call() -> None:
    class Cut(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[..., :2]

    network = SpikingSequential(nn.Linear(6, 3), Cut(), sp.ContinuousIF(), nn.Linear(2, 1))
    with measure(network) as meter, torch.no_grad():
        for _ in range(3):  # functions are watched in the first call only
            network(spikes(STEPS, BATCH, 6))
    assert meter.activity().unpriced == ()


def test_normalisation_is_folded_only_into_weights_that_it_has_for_itself() -> None:
    conv, norms = nn.Conv2d(1, 2, 3), [nn.BatchNorm2d(2) for _ in range(2)]
    x = spikes(3, 2, 1, 6, 6)
    size = 3 * 2 * 2 * 4 * 4

    def charged(network: nn.Module) -> list[tuple[int, int]]:
        layers = [la for la in count(network.eval(), x).layers if isinstance(la, ElementwiseLayer)]
        return [(layer.multiplies, layer.adds) for layer in layers]

    assert charged(SpikingSequential(conv, norms[0])) == [(0, 0)]
    assert charged(SpikingSequential(conv, nn.Dropout(), norms[0])) == [(0, 0)]
    assert charged(SpikingSequential(conv, nn.ReLU(), norms[0])) == [(size, size)]
    assert charged(SpikingSequential(conv, norms[0], norms[1])) == [(0, 0), (size, size)]
    assert charged(SpikingSequential(nn.BatchNorm2d(1), conv)) == [(216, 216)]
    unfrozen = SpikingSequential(conv, nn.BatchNorm2d(2, track_running_stats=False))
    assert charged(unfrozen) == [(size, size)]

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norms = conv, nn.ModuleList(norms)

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack(
                [norm(self.conv(now)) for norm, now in zip(self.norms, x[:2], strict=True)]
            )

    assert charged(Shared()) == [(64, 64), (64, 64)]


def test_nested_shared_and_tied_modules() -> None:
    block = nn.Sequential(nn.Linear(6, 6), nn.Sequential(snn.Leaky(beta=0.9, init_hidden=True)))
    tied = nn.Linear(6, 6)
    tied.weight = block[0].weight
    network = nn.Sequential(block, nn.Sequential(nn.Identity(), block), tied)
    first, last = count(network, spikes(BATCH, 6), batch_dim=0).synaptic
    assert (first.name, first.presentations, first.shares_weights) == ("0.0", 2 * BATCH, False)
    assert (last.name, last.presentations, last.shares_weights) == ("2", BATCH, True)


def test_graded_spikes_scale_each_value() -> None:
    network = nn.Sequential(nn.Linear(6, 5), snn.GradedSpikes(BATCH, 0.5))
    activity = count(network, spikes(BATCH, 6), batch_dim=0)
    layer = activity.layers[1]
    assert isinstance(layer, ElementwiseLayer)
    assert (layer.kind, layer.multiplies, layer.parameters) == ("GradedSpikes", BATCH * 5, BATCH)
    assert activity.unpriced == ()


def test_arguments_by_name_and_functional_pooling_at_two_sizes() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(1, 1, 3, padding=1), nn.Linear(9, 2)

        def forward(self, frames: Tensor) -> Tensor:
            half = F.max_pool2d(self.conv(input=frames), kernel_size=2)
            return self.fc(input=F.max_pool2d(half, 2).flatten(1))

    network = Named()
    with measure(network, batch_dim=0) as meter, torch.no_grad():
        network(frames=spikes(2, 1, 12, 12))
    pools = [layer for layer in meter.activity().layers if isinstance(layer, PoolLayer)]
    assert [(p.name, p.compares) for p in pools] == [
        ("Named.max_pool2d", 288),
        ("Named.max_pool2d[1x6x6]", 72),
    ]


def test_a_convolution_that_pools_in_one_pass_counts_as_the_two_modules() -> None:
    torch.manual_seed(0)
    fused = SpikingSequential(sp.SpikeConv2d(1, 3, 3, padding=1, stride=2), nn.MaxPool2d(2))
    plain = SpikingSequential(nn.Conv2d(1, 3, 3, padding=1, stride=2), nn.MaxPool2d(2))
    plain.load_state_dict(fused.state_dict())
    seen: list[Any] = []
    shown = fused[0].max_pooled
    fused[0].max_pooled = lambda *given: seen.append(given) or shown(*given)  # type: ignore[func-returns-value]
    expected = count(plain, FRAMES)
    assert count(fused, FRAMES, FRAMES) == Activity(2 * BATCH, (expected + expected).layers)
    assert len(seen) == 2  # being counted does not keep it from that
    fused[1].register_forward_hook(lambda *_: None)
    assert count(fused, FRAMES) == expected
    assert len(seen) == 2


def test_half_precision_and_double_count_the_same() -> None:
    torch.manual_seed(0)
    network = SpikingSequential(nn.Linear(6, 5), sp.ContinuousIF(), nn.Linear(5, 4))
    expected = count(network, spikes(STEPS, BATCH, 6))
    for dtype in (torch.float64, torch.bfloat16):
        found = count(network.to(dtype), spikes(STEPS, BATCH, 6).to(dtype))
        assert found.synaptic[0] == expected.synaptic[0]
        assert found.samples == expected.samples


def test_counters_beyond_64_bits_do_not_overflow() -> None:
    network = nn.Conv1d(1, 4, 3)
    with measure(network, batch_dim=0) as meter, torch.no_grad():
        network(torch.ones(1, 1, 8))
        (counter,) = meter._ledger.counters.values()
        counter.counts = torch.full((8,), 2**62)  # type: ignore[union-attr]
        network(torch.ones(1, 1, 8))
    (layer,) = meter.activity().synaptic
    assert layer.events == 8 * (2**62 + 1)
    assert layer.synops == layer.fan_out * (2**62 + 1)
