"""Metrics against loops over single values, against NeuroBench, and as torchmetrics treats them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import snntorch as snn
import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

import snnplug.metrics
from snnplug.errors import ArgumentError, MeasurementError, TargetError
from snnplug.hardware.activity import Activity
from snnplug.hardware.counting import measure
from snnplug.hardware.target import load_target
from snnplug.layers.sequential import SpikingSequential
from snnplug.metrics import (
    ActivationSparsity,
    DeadNeurons,
    Energy,
    FiringRate,
    LatencyToDecision,
    SaturatedNeurons,
    SpikesPerSynapse,
    SynapticOperations,
    functional,
)
from snnplug.neurons.continuous_if import ContinuousIF
from snnplug.training.decoding import decode
from tests.support.peers import peer

CASES = [(4, 3, 5), (1, 1, 2), (6, 2, 2, 3, 3)]


def spikes(shape: tuple[int, ...], rate: float = 0.3, seed: int = 0) -> Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < rate).float()


def with_extremes(shape: tuple[int, ...]) -> Tensor:
    """Spikes of which the first neuron has none and the last one all."""
    spk = spikes(shape)
    flat = spk.flatten(2)
    flat[:, :, 0], flat[:, :, -1] = 0, 1
    return flat.reshape(shape)


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("shape", CASES)
def test_shares_equal_a_loop_over_neurons(shape: tuple[int, ...], graded: bool) -> None:
    spk = with_extremes(shape) * (2.5 if graded else 1)
    values = spk.flatten().tolist()
    rate = sum(v != 0 for v in values) / len(values)
    trains = [spk.flatten(2)[:, :, n].flatten().tolist() for n in range(math.prod(shape[2:]))]
    assert functional.firing_rate(spk).item() == rate
    assert functional.activation_sparsity(spk).item() == sum(v == 0 for v in values) / len(values)
    dead = sum(not any(train) for train in trains) / len(trains)
    saturated = sum(all(train) for train in trains) / len(trains)
    assert functional.dead_neurons(spk).item() == dead > 0
    assert functional.saturated_neurons(spk).item() == saturated > 0


def latency_by_loop(out: Tensor, decoding: Any) -> list[int]:
    steps, batch, _ = out.shape
    found = []
    for b in range(batch):
        decided: list[int | None] = []
        for t in range(1, steps + 1):
            heard = out[:t, b : b + 1]
            any_spike = bool((heard > 0).any())
            now = int(decode(heard, heard, decoding)[0])
            decided.append(now if any_spike or decoding == "current" else None)
        first = next(t for t in range(steps) if len(set(decided[t:])) == 1)
        found.append(first + 1 if decided[-1] is not None else steps)
    return found


@pytest.mark.parametrize("decoding", ["count", "first", "current"])
@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_latency_equals_decoding_every_prefix(decoding: Any, rate: float) -> None:
    out = spikes((7, 60, 4), rate)
    if decoding == "current":
        out = torch.randn(7, 60, 4, generator=torch.Generator().manual_seed(1))
    latency = functional.latency_to_decision(out, decoding)
    assert latency.tolist() == latency_by_loop(out, decoding)
    assert latency.unique().numel() > 3
    metric = LatencyToDecision(decoding)
    for part in out.split(17, 1):
        metric.update(part)
    assert metric.compute().item() == sum(latency.tolist()) / 60


def test_a_silent_sample_takes_all_steps_also_for_class_0() -> None:
    assert functional.latency_to_decision(torch.zeros(5, 2, 3)).tolist() == [5, 5]
    late = torch.zeros(5, 1, 3)
    late[3, 0, 0] = 1
    assert functional.latency_to_decision(late).tolist() == [4]


def network() -> SpikingSequential:
    torch.manual_seed(0)
    layers = [nn.Linear(20, 12), ContinuousIF(), nn.Linear(12, 4), ContinuousIF()]
    layers[0].weight.data *= 4  # type: ignore[operator,union-attr]
    return SpikingSequential(*layers)


def activity(x: Tensor) -> Activity:
    net = network()
    with measure(net) as meter, torch.no_grad():
        net(x)
    return meter.activity()


def test_activity_metrics_are_those_of_the_whole() -> None:
    x = spikes((5, 9, 20))
    whole = activity(x)
    metrics: list[Any] = [Energy("yin2017-28nm"), SynapticOperations(), SpikesPerSynapse()]
    for part in x.split([4, 4, 1], 1):
        for metric in metrics:
            metric.update(activity(part))
    assert metrics[0].activity() == whole
    assert metrics[0].compute().item() == load_target("yin2017-28nm").price(whole).energy_nj
    assert metrics[1].compute()["Effective_ACs"].item() == whole.synops
    assert metrics[1].compute()["Effective_MACs"].item() == 0
    assert metrics[1].compute()["Dense"].item() == 5 * (20 * 12 + 12 * 4)
    assert metrics[2].compute().item() == whole.synops / (20 * 12 + 12 * 4)


def test_equals_neurobench() -> None:
    workload = peer("neurobench.metrics.workload")
    hooks = peer("neurobench.hooks.layer")
    neuron_hooks = peer("neurobench.hooks.neuron")
    torch.manual_seed(0)
    layers: list[nn.Module] = [
        nn.Linear(20, 12),
        snn.Leaky(beta=0.9, init_hidden=True),
        nn.Linear(12, 4),
        snn.Leaky(beta=0.9, init_hidden=True, output=True),
    ]
    layers[0].weight.data *= 4  # type: ignore[operator,union-attr]
    x = spikes((8, 3, 20))
    sparsity, synops = ActivationSparsity(), SynapticOperations()
    net = SpikingSequential(*layers)

    def see(module: nn.Module, args: Any, out: Any) -> None:
        sparsity.update(out[0] if isinstance(out, tuple) else out)

    handles = [layer.register_forward_hook(see) for layer in layers[1::2]]
    with measure(net) as meter, torch.no_grad():
        net(x)
    for handle in handles:
        handle.remove()
    synops.update(meter.activity())

    model = peer("neurobench.models").SNNTorchModel(nn.Sequential(*layers))
    model.connection_hooks = [hooks.LayerHook(layer) for layer in layers[::2]]
    model.activation_hooks = [neuron_hooks.NeuronHook(layer) for layer in layers[1::2]]
    data = x.transpose(0, 1).contiguous()
    with torch.no_grad():
        preds = model(data)
        theirs = workload.SynapticOperations()(model, preds, (data, torch.zeros(3)))
    ours = {name: value.item() for name, value in synops.compute().items()}
    assert ours == theirs
    assert ours["Effective_ACs"] > 0
    expected = workload.ActivationSparsity()(model, preds, (data, torch.zeros(3)))
    assert sparsity.compute().item() == expected
    assert 0 < expected < 1


ALL = [
    FiringRate(),
    ActivationSparsity(),
    DeadNeurons((5,)),
    SaturatedNeurons(5),
    LatencyToDecision(),
    Energy(),
    SynapticOperations(),
    SpikesPerSynapse(),
]


def given(metric: Metric, seed: int = 0) -> Any:
    spk = spikes((4, 3, 5), seed=seed)
    return spk if not hasattr(metric, "text") else activity(spikes((4, 3, 20), seed=seed))


@pytest.mark.parametrize("metric", ALL, ids=lambda m: type(m).__name__)
def test_behaves_as_torchmetrics_expects(metric: Any) -> None:
    metric = metric.clone()
    first = metric(given(metric))  # forward: the batch's own value
    metric(given(metric, 1))
    both = metric.compute()
    metric.reset()
    metric.update(given(metric))
    assert metric.compute() == first
    metric.update(given(metric, 1))
    assert metric.compute() == both
    metric.half()
    assert metric.compute() == both
    metric.reset()
    with pytest.warns(UserWarning, match="before the ``update``"), pytest.raises(MeasurementError):
        metric.compute()


@pytest.mark.parametrize("metric", ALL[:5], ids=lambda m: type(m).__name__)
def test_counts_are_int64(metric: Metric) -> None:
    assert {s.dtype for s in metric.metric_state.values()} == {torch.int64}  # type: ignore[union-attr]


def test_collections_share_one_state() -> None:
    both = MetricCollection([FiringRate(), ActivationSparsity()])
    both.update(spikes((4, 3, 5)))
    assert sum(value.item() for value in both.compute().values()) == 1


def test_every_class_has_its_function_and_the_test() -> None:
    classes = {name for name in vars(snnplug.metrics) if name[0].isupper()}
    assert classes == {type(metric).__name__ for metric in ALL}
    functions = {name for name in vars(functional) if not name.startswith("_")}
    assert functions == {
        "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_") for name in classes
    }


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: functional.firing_rate(torch.tensor([math.nan])), ArgumentError, "NaN"),
        (lambda: functional.firing_rate(torch.zeros(0, 3)), MeasurementError, "0 values"),
        (lambda: functional.dead_neurons(torch.zeros(0, 3, 4)), MeasurementError, "0 steps"),
        (lambda: functional.dead_neurons(torch.zeros(3, 4)), ArgumentError, "at least one neuron"),
        (lambda: DeadNeurons(4).update(torch.zeros(2, 3)), ArgumentError, r"end in .* \(4,\)"),
        (lambda: functional.latency_to_decision(torch.zeros(3, 4)), ArgumentError, "(T, B, C)"),
        (lambda: LatencyToDecision("frist"), ArgumentError, "Did you mean first"),  # type: ignore[arg-type]
        (lambda: Energy("yin2017"), TargetError, "Did you mean"),
        (lambda: functional.energy(Activity(0, ())), MeasurementError, "0 samples"),
        (lambda: functional.spikes_per_synapse(Activity(0, ())), MeasurementError, "0 samples"),
    ],
)
def test_mistakes_are_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message.replace("(T, B, C)", r"\(T, B, C\)")):
        call()
