"""Counts of every kind of layer against brute force, as integers, over random configurations."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from snnplug.hardware.activity import Activity, PoolLayer, SynapticLayer
from snnplug.hardware.counting import measure
from tests.support.brute_force import events_times, impulse_fan_out

#: Per kind of layer; seven kinds make 1,400.
CONFIGURATIONS = 200
KINDS = [
    nn.Linear,
    *(getattr(nn, f"Conv{n}d") for n in (1, 2, 3)),
    *(getattr(nn, f"ConvTranspose{n}d") for n in (1, 2, 3)),
]
MODES = ["zeros", "reflect", "replicate", "circular"]


def count(network: nn.Module, x: Tensor, **how: int) -> Activity:
    with measure(network, **how) as meter, torch.no_grad():
        network(x)
    return meter.activity()


def draw_values(rng: random.Random, shape: tuple[int, ...]) -> tuple[Tensor, set[str]]:
    """Return an input and the classes it may be found to have: a small one may be simpler."""
    generator = torch.Generator().manual_seed(rng.getrandbits(30))
    on = (torch.rand(shape, generator=generator) < rng.random()).float()
    kind = rng.choice(["binary", "ternary", "integer", "analog"])
    scale = rng.choice([1.0, 0.5, 0.7, 1 / 9])
    if kind == "ternary":
        on *= torch.randint(0, 2, shape, generator=generator) * 2 - 1.0
    elif kind == "integer":
        on *= torch.randint(0, 10, shape, generator=generator)
    elif kind == "analog":
        return on * torch.randn(shape, generator=generator), {"analog", "binary", "integer"}
    order = ["binary", "ternary", "integer"]
    return on * torch.tensor(scale), set(order[: order.index(kind) + 1])


def draw_layer(kind: type[Any], rng: random.Random) -> tuple[Any, tuple[int, ...]]:
    """Return a layer, some of whose weights are 0 every other time, and the shape of an input."""
    bias = rng.random() < 0.5
    if kind is nn.Linear:
        layer: Any = nn.Linear(rng.randint(1, 9), rng.randint(1, 70), bias=bias)
        shape: tuple[int, ...] = (layer.in_features,)
    else:
        axes, groups = int(kind.__name__[-2]), rng.randint(1, 2)

        def each(low: int, high: int) -> tuple[int, ...]:
            return tuple(rng.randint(low, high) for _ in range(axes))

        settings: dict[str, Any] = {"stride": each(1, 3), "dilation": each(1, 2)}
        settings["padding"] = each(0, 2)
        if "Transpose" in kind.__name__:
            largest = zip(settings["stride"], settings["dilation"], strict=True)
            settings["output_padding"] = tuple(rng.randint(0, max(s, d) - 1) for s, d in largest)
        else:
            settings["padding_mode"] = rng.choice(MODES)
            if rng.random() < 0.2:
                settings.update(padding="same", stride=1)
        channels = [groups * rng.randint(1, 2) for _ in range(2)]
        layer = kind(*channels, each(1, 3), groups=groups, bias=bias, **settings)
        shape = (channels[0], *(rng.randint(3, 7 if axes < 3 else 4) for _ in range(axes)))
    if rng.random() < 0.5:
        pruned = torch.rand(layer.weight.shape) < rng.random()
        layer.weight.data[pruned] = 0
    return layer, shape


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
def test_weights_equal_brute_force(kind: type[Any]) -> None:
    rng, done = random.Random(kind.__name__), 0
    torch.manual_seed(0)
    while done < CONFIGURATIONS:
        layer, shape = draw_layer(kind, rng)
        x, classes = draw_values(rng, (rng.randint(1, 3), *shape))
        try:
            with torch.no_grad():
                out = layer(x)
        except RuntimeError:  # torch refuses it: a kernel larger than the input, or such
            continue
        if out.numel() == 0:
            continue
        done += 1
        (found,) = count(layer, x, batch_dim=0).layers
        assert isinstance(found, SynapticLayer)
        fan_out = impulse_fan_out(layer, shape)
        weighty = impulse_fan_out(layer, shape, "nonzero")
        what = (layer, shape)
        assert found.kind == kind.__name__, what
        assert found.inputs == fan_out.numel(), what
        assert found.outputs == out[0].numel(), what
        assert found.weights == layer.weight.numel(), what
        assert found.fan_out == int(fan_out.sum()), what
        assert found.presentations == len(x), what
        assert found.events == int((x != 0).sum()), what
        assert found.synops == events_times(fan_out, x), what
        assert found.nonzero_synops == events_times(weighty, x), what
        assert found.dense_synops == int(fan_out.sum()) * len(x), what
        assert found.biases == (0 if layer.bias is None else found.outputs), what
        assert found.operand.kind in classes, (what, x)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("adaptive", [False, True])
def test_average_pooling_equals_brute_force(axes: int, adaptive: bool) -> None:
    rng = random.Random(axes)
    for _ in range(40):
        shape = (rng.randint(1, 2), *(rng.randint(3, 7) for _ in range(axes)))
        kernel = rng.randint(1, 3)
        how: dict[str, Any] = {"stride": rng.randint(1, 3), "ceil_mode": rng.random() < 0.5}
        how["padding"] = rng.randint(0, kernel // 2)
        layer = (
            getattr(nn, f"AdaptiveAvgPool{axes}d")(kernel)
            if adaptive
            else getattr(nn, f"AvgPool{axes}d")(kernel, **how)
        )
        x = (torch.rand(2, *shape) < 0.5).float()
        (found,) = count(layer, x, batch_dim=0).layers
        assert isinstance(found, PoolLayer)
        with torch.no_grad():
            sites = torch.eye(x[0].numel()).reshape(-1, *shape)
            windows = (layer(sites) != 0).flatten(1).sum(1).reshape(shape)
        assert found.adds == events_times(windows, x), (layer, shape)
        assert (found.compares, found.operand.kind) == (0, "binary")


@pytest.mark.parametrize("name", ["MaxPool1d", "MaxPool2d", "MaxPool3d", "AdaptiveMaxPool2d"])
def test_max_pooling_compares_what_is_no_spike(name: str) -> None:
    layer = getattr(nn, name)(2)
    shape = (2, *([4] * int(name[-2])))
    spikes = (torch.rand(3, *shape) < 0.5).float()
    for x, compared in ((spikes, 0), (0.7 * spikes, 0), (torch.randn(3, *shape), spikes.numel())):
        (found,) = count(layer, x, batch_dim=0).layers
        assert isinstance(found, PoolLayer)
        assert (found.compares, found.adds) == (compared, 0)
