"""Counts against those of NeuroBench and spikingjelly, and the trace of the simulator SANA-FE."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import snntorch as snn
import torch
from torch import Tensor, nn

from snnplug.backends.export import write_sana_fe
from snnplug.hardware.activity import Activity
from snnplug.hardware.counting import measure
from snnplug.layers.sequential import SpikingSequential
from snnplug.neurons.leaky import Leaky
from tests.support import sana_fe
from tests.support.peers import peer


@pytest.fixture(autouse=True)
def neurons_of_this_test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """NeuroBench resets every neuron that snnTorch knows, half-built ones of other tests too."""
    monkeypatch.setattr(snn.SpikingNeuron, "instances", [])


def leaky(output: bool = False) -> Any:
    return snn.Leaky(beta=0.9, init_hidden=True, output=output)


def mlp() -> list[nn.Module]:
    return [
        nn.Flatten(),
        nn.Linear(200, 30),
        leaky(),
        nn.Linear(30, 10, bias=False),
        leaky(output=True),
    ]


def strided() -> list[nn.Module]:
    return [
        nn.Conv2d(2, 4, 3, padding=1),
        leaky(),
        nn.Conv2d(4, 6, 3, padding=1, stride=2, groups=2),
        leaky(),
        nn.Flatten(),
        nn.Linear(150, 10),
        leaky(output=True),
    ]


def recurrent() -> list[nn.Module]:
    first = snn.RLeaky(beta=0.9, linear_features=30, init_hidden=True)
    return [nn.Flatten(), nn.Linear(200, 30), first, nn.Linear(30, 10), leaky(output=True)]


def pooled() -> list[nn.Module]:
    return [
        nn.Conv2d(2, 4, 3),
        leaky(),
        nn.AvgPool2d(2),
        nn.Conv2d(4, 6, 3, dilation=1),
        nn.MaxPool2d(2),
        leaky(),
        nn.Flatten(),
        nn.Linear(6, 10),
        leaky(output=True),
    ]


def pruned() -> list[nn.Module]:
    layers = strided()
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.data[torch.rand_like(layer.weight) < 0.5] = 0
    return layers


def spiking(layers: list[nn.Module]) -> list[nn.Module]:
    """Raise the weights until every layer spikes, without changing which are zero."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.data *= 4
    return layers


def frames(analog: bool = False) -> Tensor:
    x = (torch.rand(8, 3, 2, 10, 10, generator=torch.Generator().manual_seed(1)) < 0.3).float()
    return x * torch.rand(x.shape, generator=torch.Generator().manual_seed(2)) if analog else x


def counted(layers: list[nn.Module], x: Tensor) -> Activity:
    network = SpikingSequential(*layers)
    with measure(network) as meter, torch.no_grad():
        network(x)
    return meter.activity()


def weighted(layers: list[nn.Module]) -> list[nn.Module]:
    """Return the layers with weights, those inside neurons as well."""
    return [m for layer in layers for m in layer.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


@pytest.mark.parametrize("analog", [False, True])
@pytest.mark.parametrize("build", [mlp, strided, recurrent, pooled, pruned])
def test_equals_neurobench(build: Any, analog: bool) -> None:
    workload = peer("neurobench.metrics.workload")
    hooks = peer("neurobench.hooks.layer")
    torch.manual_seed(0)
    layers, x = spiking(build()), frames(analog)
    activity = counted(layers, x)

    model = peer("neurobench.models").SNNTorchModel(nn.Sequential(*layers))
    model.connection_hooks = [hooks.LayerHook(layer) for layer in weighted(layers)]
    data = x.transpose(0, 1).contiguous()  # (B, T, …)
    with torch.no_grad():
        theirs = workload.SynapticOperations()(model, model(data), (data, torch.zeros(3)))
    accumulates = activity.per_sample(s.nonzero_synops for s in activity.synaptic if s.operand.adds)
    multiplies = activity.per_sample(
        s.nonzero_synops for s in activity.synaptic if not s.operand.adds
    )
    assert all(layer.events > 0 for layer in activity.synaptic)
    assert accumulates == theirs["Effective_ACs"] > 0
    assert multiplies == theirs["Effective_MACs"]
    assert (multiplies > 0) == (analog or build is pooled)
    assert activity.per_sample(s.dense_synops for s in activity.synaptic) == theirs["Dense"]


def groups_and_transposes() -> list[nn.Module]:
    return [
        nn.Conv2d(2, 4, (3, 2), stride=(1, 2), padding=(2, 1), dilation=(2, 1), groups=2),
        leaky(),
        nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1),
        leaky(),
        nn.Flatten(),
        nn.LazyLinear(10),
        leaky(output=True),
    ]


@pytest.mark.parametrize("build", [mlp, strided, recurrent, groups_and_transposes])
def test_synops_equal_spikingjellys_on_binary_networks(build: Any) -> None:
    counters = peer("spikingjelly.activation_based.op_counter")
    torch.manual_seed(0)
    layers, x = build(), frames()
    with torch.no_grad():
        SpikingSequential(*layers)(x)  # gives lazy layers their size
    spiking(layers)
    activity = counted(layers, x)
    assert all(s.operand.kind == "binary" and s.events > 0 for s in activity.synaptic)
    counter = counters.SynOpCounter()
    with counters.DispatchCounterMode([counter]), torch.no_grad():
        SpikingSequential(*layers)(x)
    assert sum(layer.synops for layer in activity.synaptic) == counter.get_total()


def test_synapse_events_and_spikes_equal_the_trace_of_sana_fe(tmp_path: Path) -> None:
    peer("sanafe")
    sizes, generator = (64, 32, 10), torch.Generator().manual_seed(0)
    weights = [torch.randint(-32, 44, (b, a), generator=generator) / 64 for a, b in pairwise(sizes)]
    layers: list[nn.Module] = []
    for weight in weights:
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        linear.weight.data.copy_(weight)
        layers += [linear, Leaky(beta=1.0, reset_mechanism="subtract")]
    network = SpikingSequential(*layers)
    for k in range(8):
        x = torch.zeros(100, sizes[0])
        x[:12] = (torch.rand(12, sizes[0], generator=generator) < 0.2).float()
        with measure(network) as meter, torch.no_grad():
            out = network(x.unsqueeze(1)).squeeze(1)
        with torch.no_grad():
            hidden = network[:2](x.unsqueeze(1)).squeeze(1)
        activity = meter.activity()
        write_sana_fe(tmp_path / str(k), network, x.unsqueeze(1))
        theirs = sana_fe.run(tmp_path / str(k), ["1", "3"], [32, 10], len(x))
        assert hidden.sum() > 0
        assert hidden[-1].sum() == 0  # nothing is left that the machine would still send
        assert torch.equal(theirs["spikes"][0], hidden)
        assert torch.equal(theirs["spikes"][1], out)
        assert activity.synops == theirs["synapse_events"]
