"""What a compiler captures of the spike-train layers: the numbers of the autograd function."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from snnplug import backends
from snnplug.backends.compiled import Compiled
from snnplug.errors import BackendError
from snnplug.kernels.spike_train import SpikeTrainDynamics
from snnplug.layers.sequential import SpikingSequential
from snnplug.learning.function import Layer
from snnplug.learning.operators import (
    layer_of,
    numbers_of,
    spike_train,
    spike_train_backward,
)
from snnplug.learning.rules import HM2BP, STRSBP
from snnplug.learning.spike_train_conv2d import SpikeTrainConv2d, SpikeTrainPool2d
from snnplug.learning.spike_train_linear import SpikeTrainLinear
from snnplug.learning.spike_train_recurrent import SpikeTrainRecurrent
from snnplug.learning.synapses import Convolution, Dense


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("SNNPLUG_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def images(batch: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(batch)
    return (torch.rand(25, batch, 1, 8, 8, generator=generator) < 0.4).float()


NETWORKS: dict[str, Callable[[], list[nn.Module]]] = {
    "hm2bp": lambda: [
        SpikeTrainConv2d(1, 3, 3, 1.0, stride=2, padding=1),
        SpikeTrainPool2d(2),
        SpikeTrainLinear(12, 4, 0.3, inhibition=0.1, revived_spikes=5),
    ],
    "st_rsbp": lambda: [
        SpikeTrainLinear(64, 8, 2.0, STRSBP(0.2, 0.4)),
        SpikeTrainRecurrent(8, 6, 0.5, recurrent_init_range=0.2),
        SpikeTrainRecurrent(6, 4, 0.3, HM2BP(0.2, 0.9, 0.4)),
    ],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["kernels", "torch"])
@pytest.mark.parametrize("name", NETWORKS)
def test_captured_layers_give_what_eager_gives(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    torch._dynamo.reset()
    network = SpikingSequential(*NETWORKS[name]()).to(dtype)
    captured = Compiled("aot_eager").prepare(network)
    torch._dynamo.utils.counters.clear()
    for batch in (3, 5):
        x = images(batch).to(dtype)
        found = []
        for run in (backends.get("eager").prepare(network), captured):
            leaf = x.clone().requires_grad_()
            spk = run(leaf)
            loss = (spk.sum(0) - 2 * torch.arange(4)).square().sum()
            found.append([spk, *torch.autograd.grad(loss, [leaf, *network.parameters()])])
        assert 0 < found[0][0].mean() < 1
        assert torch.equal(found[0][0], found[1][0])
        for expected, ours in zip(found[0][1:], found[1][1:], strict=True):
            assert expected.any()
            largest = expected.abs().max().item()
            rounding = 1e-5 if dtype is torch.float32 else 1e-12
            torch.testing.assert_close(ours, expected, rtol=rounding, atol=rounding * largest)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_a_layer_comes_back_from_its_numbers() -> None:
    dynamics = SpikeTrainDynamics(0.7, 20.0, 5.0, 3, 0.25)
    layers = [
        Layer(
            Convolution((1, 2, 3), (4, 5, 6), (7, 8), (9, 10)), dynamics, HM2BP(0.3, 0.2, 0.1), 4
        ),
        Layer(Dense(), dynamics, STRSBP(0.3, 0.2)),
    ]
    for layer in layers:
        again = layer_of(numbers_of(layer))
        assert (again.dynamics, again.rule) == (layer.dynamics, layer.rule)
        assert again.revived_spikes == layer.revived_spikes
    assert layer_of(numbers_of(layers[0])).synapses == layers[0].synapses


@pytest.mark.filterwarnings("ignore:Inductor:UserWarning")
def test_torch_finds_the_operators_sound() -> None:
    x = images().flatten(2)
    weight, recurrent = torch.rand(5, 64), torch.rand(5, 5) / 8
    numbers = numbers_of(Layer(Dense(), SpikeTrainDynamics(8.0), STRSBP()))
    leaves = (x, weight.requires_grad_(), recurrent.requires_grad_(), numbers)
    torch.library.opcheck(spike_train.registered, leaves)
    with torch.no_grad():
        spk, potential = spike_train(*leaves)
    assert spk.any()
    known = (torch.rand(3, 5), potential, x, spk, weight.detach(), recurrent.detach(), numbers)
    for wanted in ([True, True, True], [False, True, False]):
        torch.library.opcheck(spike_train_backward.registered, (*known, wanted))


def test_a_rule_of_ones_own_is_refused() -> None:
    class Half(HM2BP):
        pass

    network = SpikingSequential(SpikeTrainLinear(64, 4, 1.0, Half()))
    with pytest.raises(BackendError, match=r"a rule of your own.*; use backend fused"):
        Compiled("aot_eager").prepare(network)
