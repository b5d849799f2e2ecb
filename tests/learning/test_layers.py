"""The layers: shapes, precision, errors, and the same as their parts."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from snnplug import SpikingSequential
from snnplug.errors import ArgumentError
from snnplug.learning.function import Layer, spike_train
from snnplug.learning.rules import HM2BP
from snnplug.learning.spike_train_conv2d import SpikeTrainConv2d, SpikeTrainPool2d
from snnplug.learning.spike_train_linear import SpikeTrainLinear
from snnplug.learning.spike_train_recurrent import SpikeTrainRecurrent
from snnplug.learning.synapses import Dense


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("SNNPLUG_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def trains(*shape: int, seed: int = 0, density: float = 0.15) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator) < density).float()


def learned(net: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    net.zero_grad()
    spk = net(x)
    (spk.sum(0) - 5).square().sum().backward()
    return spk.detach(), [p.grad.clone() for p in net.parameters() if p.grad is not None]


@pytest.mark.parametrize("rule", ["hm2bp", "st_rsbp"])
def test_native_gradients_are_those_of_float64(rule: Any) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        SpikeTrainLinear(40, 30, 3.0, rule),
        SpikeTrainRecurrent(30, 30, 3.0, rule),
        SpikeTrainLinear(30, 5, 1.0, rule, inhibition=1.0, revived_spikes=10),
    )
    for p in net.parameters():  # sums of eighths are exact: both have the same spikes
        p.data.mul_(8).round_().div_(8)
    x = trains(90, 64, 40)
    spk, grads = learned(net, x)
    exact, expected = learned(copy.deepcopy(net).double(), x.double())
    assert (spk.double() == exact).float().mean() > 0.999
    assert spk.mean() > 0.01
    for a, b in zip(grads, expected, strict=True):
        assert (a.double() - b).norm() < 0.02 * b.norm()


@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_is_the_linear_layer_of_its_matrix(stride: int, padding: int) -> None:
    torch.manual_seed(0)
    conv = SpikeTrainConv2d(2, 3, 3, 1.5, stride=stride, padding=padding).double()
    x = trains(40, 2, 2, 7, 7, density=0.3).double()
    x[:, 0, 0, 0, 0] = 0
    spk = conv(x)
    unit = torch.eye(98, dtype=torch.float64).view(98, 2, 7, 7)
    with torch.no_grad():
        matrix = nn.functional.conv2d(unit, conv.weight, None, stride, padding).flatten(1).t()
    matrix = matrix.contiguous().requires_grad_()
    x_conv, x_dense = x.clone().requires_grad_(), x.flatten(2).requires_grad_()
    error = torch.randn(spk[0].shape, dtype=torch.float64)
    (conv(x_conv).sum(0) * error).sum().backward()
    dense = spike_train(x_dense, matrix, None, Layer(Dense(), conv.dynamics, HM2BP()))
    assert torch.equal(dense, spk.flatten(2).detach())
    assert spk.any()
    (dense.sum(0) * error.flatten(1)).sum().backward()
    torch.testing.assert_close(x_conv.grad.flatten(2), x_dense.grad)
    # The gradient of a shared weight is the sum of those of its copies in the matrix.
    with torch.enable_grad():
        kernel = conv.weight.detach().clone().requires_grad_()
        shared = nn.functional.conv2d(unit, kernel, None, stride, padding).flatten(1).t()
        (expected,) = torch.autograd.grad(shared, kernel, matrix.grad)
    torch.testing.assert_close(conv.weight.grad, expected)


def test_pooling_passes_the_gradient_of_counts_on_as_torch_does() -> None:
    x = trains(20, 2, 3, 6, 7).double()
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    pooled = SpikeTrainPool2d(2)(ours)
    expected = nn.functional.avg_pool2d(theirs.flatten(0, 1), 2).unflatten(0, (20, 2))
    assert torch.equal(pooled, expected)
    error = torch.randn(2, 3, 3, 3).double()
    (pooled.sum(0) * error).sum().backward()
    (expected.sum(0) * error).sum().backward()
    assert torch.equal(ours.grad, theirs.grad)


@pytest.mark.parametrize("rule", ["hm2bp", "st_rsbp"])
def test_direction_of_the_mean_counts_behind_a_convolution_and_pooling(rule: Any) -> None:
    """Against finite differences of the mean over many drawn images; 400 steps, as the authors."""
    generator = torch.Generator().manual_seed(0)
    rates = torch.rand(2, 6, 6, generator=generator).square() * 0.25 + 0.005
    rates[1] *= 0.3
    x = (torch.rand(400, 100, 2, 6, 6, generator=generator) < rates).float()
    conv = SpikeTrainConv2d(2, 2, 3, 4.0, rule)
    with torch.no_grad():
        conv.weight.copy_(torch.rand(2, 2, 3, 3, generator=generator) * 1.2 - 0.2)
    net = SpikingSequential(conv, SpikeTrainPool2d(2))
    # Of one sign: the sites that share a weight would cancel, and leave the noise.
    error = torch.rand(8, generator=generator) + 0.2

    def loss() -> Tensor:
        return net(x).sum(0).flatten(1).mean(0) @ error

    loss().backward()
    differences = torch.zeros_like(conv.weight)
    with torch.no_grad():
        for weight, difference in zip(
            conv.weight.view(-1).split(1), differences.view(-1).split(1), strict=True
        ):
            weight += 0.1
            more = loss()
            weight -= 0.2
            difference.copy_((more - loss()) / 0.2)
            weight += 0.1
    both = torch.stack([conv.weight.grad.flatten(), differences.flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.98
    assert 1.0 < (both[0] @ both[1]) / both[1].square().sum() < 3.5


def test_pooled_trains_go_through_the_rules() -> None:
    torch.manual_seed(0)
    net = SpikingSequential(
        SpikeTrainConv2d(1, 4, 5, 2.0), SpikeTrainPool2d(2), SpikeTrainLinear(64, 5, 1.0)
    )
    spk, grads = learned(net, trains(60, 3, 1, 12, 12))
    assert spk.shape == (60, 3, 5)
    assert all(g.abs().sum() > 0 for g in grads)


def test_gradients_passed_on_take_no_memory_over_time() -> None:
    seen: list[Tensor] = []
    layer = SpikeTrainLinear(10, 4, 1.0)
    x = trains(50, 2, 10).requires_grad_()
    x.register_hook(seen.append)
    layer(x).sum().backward()
    assert seen[0].stride(0) == 0


def test_nothing_is_kept_without_gradients() -> None:
    layer = SpikeTrainLinear(10, 4, 1.0)
    with torch.no_grad():
        assert not layer(trains(50, 2, 10)).requires_grad


@pytest.mark.parametrize("graded", [False, True])
def test_what_is_kept_goes_through_the_hooks_of_autograd(graded: bool) -> None:
    torch.manual_seed(0)
    net = SpikingSequential(
        SpikeTrainRecurrent(70, 30, 1.0), SpikeTrainLinear(30, 5, 1.0, revived_spikes=5)
    )
    x = trains(50, 4, 70, density=0.3) * (0.75 if graded else 1.0)
    _, expected = learned(net, x)
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.nbytes)
        return tensor.clone()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        _, grads = learned(net, x)
    assert all(torch.equal(a, b) for a, b in zip(grads, expected, strict=True))
    # 30 neurons twice and 5 as a word of 64 bits each, and the input: two words, or its values.
    spikes = 50 * 4 * 8 * (1 + 1 + 1 + (0 if graded else 2)) + (x.nbytes if graded else 0)
    weights = 4 * (30 * 70 + 3 * 30 * 30 + 5 * 30)
    assert spikes <= sum(kept) <= spikes + weights + 4 * 4 * (30 + 5)


def test_a_grid_connects_near_neurons_and_none_to_itself() -> None:
    torch.manual_seed(0)
    layer = SpikeTrainRecurrent(10, 500, 2.0, grid=(5, 10, 10))
    mask = layer.recurrent_mask
    assert mask.diagonal().sum() == 0
    near, far = mask[0, 1] + mask[1, 0], mask[0, 499]
    assert far == 0
    assert near >= 0
    places = torch.cartesian_prod(*(torch.arange(float(n)) for n in (5, 10, 10)))
    distance = torch.cdist(places, places)
    at = [mask[(distance - d).abs() < 1e-3].mean().item() for d in (1.0, 2.0)]
    # On average over kinds 1.5 * C * exp(-d^2/4), C = .64 * .3 + .16 * (.2 + .4) + .04 * .1 = .292.
    for found, d in zip(at, (1.0, 2.0), strict=True):
        expected = 1.5 * 0.292 * torch.tensor(-(d**2) / 4).exp().item()
        assert found == pytest.approx(expected, rel=0.15)
    with pytest.raises(ArgumentError, match="500 places"):
        SpikeTrainRecurrent(10, 100, 2.0, grid=(5, 10, 10))


def test_masked_recurrent_weights_neither_count_nor_learn() -> None:
    torch.manual_seed(0)
    layer = SpikeTrainRecurrent(10, 8, 1.0)
    x = trains(60, 2, 10)
    before, grads = learned(layer, x)
    assert layer.recurrent_weight is not None
    with torch.no_grad():
        layer.recurrent_weight.fill_diagonal_(1e3)
    assert torch.equal(layer(x), before)
    assert (grads[1].diagonal() == 0).all()


def test_copies_and_states_keep_everything() -> None:
    layer = SpikeTrainRecurrent(10, 8, 1.0, grid=(2, 2, 2))
    x = trains(60, 2, 10)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other = SpikeTrainRecurrent(10, 8, 1.0, grid=(2, 2, 2))
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(x), layer(x))
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))


@pytest.mark.parametrize("steps", [1, 2])
def test_short_sequences(steps: int) -> None:
    layer = SpikeTrainLinear(10, 4, 1.0)
    x = trains(steps, 2, 10).requires_grad_()
    spk = layer(x)
    spk.sum().backward()
    assert spk.shape == (steps, 2, 4)
    assert not spk[0].any()


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: SpikeTrainLinear(10, 4, 1.0), (5, 2, 11)),
        (lambda: SpikeTrainLinear(10, 4, 1.0), (0, 2, 10)),
        (lambda: SpikeTrainLinear(10, 4, 1.0), (5, 10)),
        (lambda: SpikeTrainConv2d(1, 2, 3, 1.0), (5, 2, 2, 8, 8)),
        (lambda: SpikeTrainConv2d(1, 2, 9, 1.0), (5, 2, 1, 8, 8)),
        (lambda: SpikeTrainPool2d(2), (5, 2, 8, 8)),
        (lambda: SpikeTrainPool2d(2), (5, 2, 1, 1, 8)),
    ],
)
def test_inputs_of_the_wrong_shape_are_refused(make: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match=r"takes|smaller"):
        make()(torch.zeros(shape))


@pytest.mark.parametrize(
    "wrong",
    [{"rule": "hm2pb"}, {"revived_spikes": -1}, {"init_range": -1.0}, {"threshold": -1.0}],
)
def test_arguments_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        SpikeTrainLinear(**{"in_features": 3, "out_features": 2, "threshold": 1.0, **wrong})
