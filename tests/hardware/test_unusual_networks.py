"""Networks that a reader of hooks gets wrong: state from before, reuse, wrappers, compilers."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import snntorch as snn
import torch
from torch import Tensor, nn

import snnplug as sp
from snnplug.errors import MeasurementError
from snnplug.hardware import uncompiled
from snnplug.hardware.activity import Activity, ElementwiseLayer
from snnplug.hardware.counter_table import CounterTable
from snnplug.hardware.counting import measure
from snnplug.hardware.target import load_target
from snnplug.layers.sequential import SpikingSequential
from tests.hardware.test_networks import count, spikes

STEPS, BATCH = 4, 3


def charged(activity: Activity) -> dict[str, tuple[int, int]]:
    """Multiplications and additions on single values, by name."""
    layers = (la for la in activity.layers if isinstance(la, ElementwiseLayer))
    return {layer.name: (layer.multiplies, layer.adds) for layer in layers}


class Remembers(nn.Module):
    """Adds what its last spikes bring, if there are any."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.recurrent = nn.Linear(6, 5), nn.Linear(5, 5)
        self.neuron = snn.Leaky(beta=0.9, threshold=0.2, init_hidden=True)
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        cur = self.fc(x)
        if self.last is not None:
            cur = cur + self.recurrent(self.last)
        self.last = self.neuron(cur)
        return self.last


@pytest.mark.parametrize("num_steps", [STEPS, 1])
def test_functions_that_the_first_call_does_not_need_are_counted(num_steps: int) -> None:
    activity = count(
        Remembers(),
        *[spikes(BATCH, 6, seed=t) for t in range(STEPS)],
        batch_dim=0,
        num_steps=num_steps,
    )
    assert charged(activity) == {"Remembers.add": (0, (STEPS - 1) * BATCH * 5)}


@pytest.mark.parametrize(
    "use",
    [
        lambda net, cur, normed: normed + cur,
        lambda net, cur, normed: normed + cur.flatten(1).view_as(cur),
        lambda net, cur, normed: torch.stack([normed, cur]),
        lambda net, cur, normed: net.after(cur) + normed,
        lambda net, cur, normed: net.pool(cur) + net.pool(normed),
    ],
    ids=["add", "view", "stack", "layer", "pool"],
)
def test_weights_whose_output_is_used_without_its_normalisation_do_not_do_its_work(
    use: Any,
) -> None:
    class Skips(nn.Module):
        def __init__(self, use: Any) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2)
            self.after, self.pool, self.use = nn.Conv2d(2, 2, 1), nn.MaxPool2d(2), use

        def forward(self, x: Tensor) -> Any:
            cur = self.conv(x)
            return self.use(self, cur, self.norm(cur))

    size = BATCH * 2 * 5 * 5
    folded = Skips(lambda net, cur, normed: net.after(normed) + cur.shape[0]).eval()
    x = spikes(BATCH, 1, 5, 5)
    assert charged(count(folded, x, batch_dim=0))["norm"] == (0, 0)
    assert charged(count(Skips(use).eval(), x, batch_dim=0))["norm"] == (size, size)


def test_what_repeats_is_found_along_time_alone() -> None:
    layer = nn.Linear(6, 2)
    image = torch.rand(BATCH, 1, 6)

    def repeated(x: Tensor, **how: int) -> int:
        (found,) = count(nn.Sequential(layer), x, **how).synaptic
        assert found.events == x.numel()
        return found.repeated_events

    # Equal words of one sample, and the steps of a sample that lie in a row, are no steps.
    assert repeated(image[:1].expand(1, 5, 6), batch_dim=0) == 0
    assert repeated(image.expand(BATCH, STEPS, 6), batch_dim=0) == 0
    assert repeated(image.expand(BATCH, STEPS, 6).transpose(0, 1)) == (STEPS - 1) * BATCH * 6
    words = torch.rand(BATCH, 5, 6)
    loop = [words] * STEPS
    (found,) = count(nn.Sequential(layer), *loop, batch_dim=0, num_steps=STEPS).synaptic
    assert found.repeated_events == (STEPS - 1) * words.numel()
    turned = [*loop[:3], words.flip(1)]
    (found,) = count(nn.Sequential(layer), *turned, batch_dim=0, num_steps=STEPS).synaptic
    # In the last step only the word in the middle is where it was.
    assert found.repeated_events == 2 * words.numel() + BATCH * 6


@pytest.mark.parametrize("wrap", [nn.DataParallel, nn.utils.parametrizations.weight_norm])
def test_a_layer_that_something_of_torchs_wraps_is_that_layer(wrap: Any) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(6, 3)
    x = spikes(BATCH, 6)
    (expected,) = count(plain, x, batch_dim=0).synaptic
    activity = count(wrap(plain), x, batch_dim=0)
    (found,) = activity.layers
    assert activity.unpriced == ()
    assert (found.kind, found.events, found.synops) == ("Linear", expected.events, expected.synops)  # type: ignore[union-attr]
    for name in ("yin2017-28nm", "rram-crossbar", "lemaire2022-45nm"):
        price = load_target(name).price(Activity(activity.samples, (expected,))).energy_nj
        assert load_target(name).price(activity).energy_nj == price


def test_weights_that_are_made_for_a_call_are_stored_with_no_other_record() -> None:
    """Python gives the number of a weight that is gone to the next one."""
    table = CounterTable(seeks_zeros=False)
    for k in range(20):
        assert not table.synaptic(str(k), nn.Linear(6, 3), (6,), (3,)).shares_weights
    layer = nn.Linear(6, 3)
    table.synaptic("one", layer, (6,), (3,))
    assert table.synaptic("two", layer, (6,), (3,)).shares_weights


def test_a_sparse_tensor_counts_as_the_values_it_stands_for() -> None:
    layer, x = nn.Linear(6, 3), spikes(BATCH, 6)
    assert count(layer, x.to_sparse(), batch_dim=0) == count(layer, x, batch_dim=0)


def test_a_layer_under_a_transform_is_named() -> None:
    class Maps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(6, 3), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.second(torch.vmap(self.first)(x))
            return out

    activity = count(Maps(), spikes(BATCH, 6), batch_dim=0)
    assert [layer.name for layer in activity.layers] == ["second"]
    assert activity.unpriced == ("first (Linear in a torch.func transform)",)


def test_a_network_of_torchscript_is_refused_and_no_hook_stays() -> None:
    class Holds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before = nn.Linear(6, 3)
            self.inside = torch.jit.trace(nn.Linear(3, 2), torch.ones(1, 3))

    network = Holds()
    with pytest.raises(MeasurementError, match=r"inside was made by torch\.jit"), measure(network):
        pass
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def chain() -> nn.Sequential:
    torch.manual_seed(0)
    return SpikingSequential(
        nn.Linear(6, 5), sp.ContinuousIF(threshold=0.2), nn.Linear(5, 4), sp.Leaky(0.9)
    ).eval()


@pytest.mark.parametrize("made", ["by function", "in place", "part"])
def test_a_compiled_network_has_the_bill_of_the_uncompiled_one(made: str) -> None:
    x = spikes(STEPS, BATCH, 6)
    expected = count(chain(), x)
    network: Any = chain()
    run = network
    if made == "in place":
        network.compile(backend="eager")
    elif made == "part":
        network[0] = torch.compile(network[0], backend="eager")
    else:
        run = torch.compile(network, backend="eager")
    with torch.no_grad():
        before = run(x)
    for _ in range(2):
        assert count(run, x) == expected
    if made == "by function":
        assert count(network, x) == expected  # the network inside, run through itself
        with measure(network) as meter, torch.no_grad():  # or through what was compiled
            run(x)
        assert meter.activity() == expected
    assert torch.equal(run(x), before)


def test_compiled_code_runs_again_when_the_last_meter_is_gone() -> None:
    compiled: list[int] = []

    def backend(graph: Any, example: Any) -> Any:
        def run(*args: Any) -> Any:
            compiled.append(1)
            return graph(*args)

        return run

    network = nn.Sequential(nn.Linear(6, 3))
    run, x = torch.compile(network, backend=backend), spikes(BATCH, 6)
    assert "torch._dynamo" in sys.modules
    first, second = measure(network, batch_dim=0), measure(network, batch_dim=0)
    run(x)
    assert len(compiled) == 1
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)  # first in, first out
    run(x)
    assert len(compiled) == 1
    second.__exit__(None, None, None)
    run(x)
    assert len(compiled) == 2
    assert uncompiled._asking == 0
