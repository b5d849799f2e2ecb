"""The simulator against torch, bit for bit, and against the price model, count for count."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from snnplug import ContinuousIF, SpikingSequential
from snnplug.data.mnist import load_mnist
from snnplug.errors import ArgumentError
from snnplug.hardware.counting import measure
from snnplug.hardware.integer_network import to_integers
from snnplug.hardware.quantisation import Quantised, quantise
from snnplug.hardware.simulator import Simulation, simulate
from snnplug.hardware.sparse_digital import SparseDigital
from snnplug.hardware.target import load_target
from snnplug.networks.conv import ConvSNN
from snnplug.networks.dense import DenseSNN
from snnplug.training.losses import squared_hinge
from tests.support.chip import Charged, charged, draw_chain, spikes_of_neurons
from tests.support.datasets import SNNPLUG_DATA, needs_mnist

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
TARGET = load_target("yin2017-28nm")
assert isinstance(TARGET, SparseDigital)


def target_with(**datapath: int) -> SparseDigital:
    return replace(TARGET, datapath=replace(TARGET.datapath, **datapath))


def check(
    quantised: Quantised, target: SparseDigital, frames: Tensor, in_shape: tuple[int, ...]
) -> Simulation:
    """Simulate, and compare every spike and every count."""
    chip = to_integers(quantised, in_shape)
    run = simulate(chip, target, frames)
    assert run.saturations == 0
    network = quantised.network.eval()
    expected = spikes_of_neurons(network, frames)
    assert len(expected) == len(run.layer_spikes)
    for spk, simulated in zip(expected, run.layer_spikes, strict=True):
        assert np.array_equal(spk.numpy(), simulated)
    with measure(network) as meter, torch.no_grad():
        network(frames)
    activity = meter.activity()
    counts = [Charged.of(run.events[layer.name]) for layer in chip.layers]
    assert counts == charged(target, activity, chip)
    assert sum(run.cycles) == sum(layer.cycles for layer in counts)
    assert run.latency_us == pytest.approx(target.price(activity).latency_us, rel=1e-12)
    return run


@pytest.mark.parametrize("seed", range(50))
def test_random_networks(seed: int) -> None:
    rng = random.Random(seed)
    torch.manual_seed(seed)
    network, shape = draw_chain(rng)
    target = target_with(
        lanes=rng.choice([4, 16, 64]),
        weight_bits=rng.choice([3, 4, 8]),
        spike_word_bits=rng.choice([8, 32]),
        neuron_cycles=rng.choice([1, 4]),
        membrane_bits=24,
    )
    frames = (torch.rand(rng.randint(1, 4), rng.randint(1, 3), *shape) < rng.random()).float()
    check(quantise(network, target.datapath.weight_bits, 24), target, frames, shape)


def test_random_networks_are_not_all_silent_and_cover_every_part() -> None:
    """What the test above compares is there to be compared."""
    seen: dict[str, int] = {}
    for seed in range(50):
        rng = random.Random(seed)
        torch.manual_seed(seed)
        network, shape = draw_chain(rng)
        chip = to_integers(quantise(network), shape)
        frames = (torch.rand(3, 1, *shape) < 0.4).float()
        for spikes, layer in zip(
            simulate(chip, TARGET, frames).layer_spikes, chip.layers, strict=True
        ):
            seen["mixed"] = seen.get("mixed", 0) + bool(0 < spikes.mean() < 1)
            seen["conv"] = seen.get("conv", 0) + (layer.taps is not None)
            seen["pool"] = seen.get("pool", 0) + (layer.pool is not None)
            seen["spike_pool"] = seen.get("spike_pool", 0) + (layer.spike_pool is not None)
            seen["stateful"] = seen.get("stateful", 0) + layer.stateful
            seen["inclusive"] = seen.get("inclusive", 0) + layer.fires_at_threshold
    assert seen["mixed"] > 50
    assert min(seen.values()) >= 8


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    arrays = load_mnist(SNNPLUG_DATA)
    return torch.from_numpy(arrays["x_train"][:10_000]) / 255, torch.from_numpy(
        arrays["y_train"][:10_000]
    ).long()


@pytest.fixture(scope="module")
def trained(digits: tuple[Tensor, Tensor]) -> DenseSNN:
    """784-256-256-10 of SNN-DC, one epoch on 10,000 images."""
    torch.manual_seed(0)
    network = DenseSNN((28, 28), 10, hidden=(256, 256), neuron="discontinuous")
    optimizer = torch.optim.Adam(network.parameters(), lr=4e-3)
    images, labels = digits
    for x, y in zip(images.split(50), labels.split(50), strict=True):
        spk = (torch.rand(1, *x.shape) < x).float()
        loss = squared_hinge(network(spk)[1], y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


@needs_mnist
def test_trained_network_on_100_images(trained: DenseSNN) -> None:
    arrays = load_mnist(SNNPLUG_DATA)
    images = torch.from_numpy(arrays["x_test"][:100]) / 255
    torch.manual_seed(1)
    frames = (torch.rand(2, *images.shape) < images).float()
    run = check(quantise(trained), TARGET, frames, (28, 28))
    correct = run.spikes.sum(0).argmax(1) == arrays["y_test"][:100]
    assert correct.mean() > 0.85  # it is a network that has learned something
    assert Fraction(0) < min(run.cycles) < max(run.cycles)  # and each image takes its own time


@needs_mnist
def test_quantised_network_decides_like_the_trained_one(
    trained: DenseSNN, digits: tuple[Tensor, Tensor]
) -> None:
    torch.manual_seed(2)
    images, labels = digits[0][:1000], digits[1][:1000]
    frames = (torch.rand(1, *images.shape) < images).float()
    with torch.no_grad():
        before = trained(frames)[1][0].argmax(1) == labels
        after = quantise(trained).network(frames)[1][0].argmax(1) == labels
    assert abs(before.float().mean() - after.float().mean()) < 0.01


@needs_mnist
def test_convolutional_network_on_images() -> None:
    torch.manual_seed(0)
    images = torch.from_numpy(load_mnist(SNNPLUG_DATA)["x_test"][:3, None]) / 255
    frames = (torch.rand(2, *images.shape) < images).float()
    network = ConvSNN((1, 28, 28), 10, channels=(12, 16))
    run = check(quantise(network), TARGET, frames, (1, 28, 28))
    # The price model lets the weights of many spikes fill the lanes; one by one they take more.
    first = run.events["layers.1"]
    assert first.rows_read < first.separate_rows


def test_first_layer_by_hand() -> None:
    """Three spikes, 70 outputs: two groups of lanes, two words, rows 2i and 2i + 1."""
    network = SpikingSequential(nn.Linear(40, 70), ContinuousIF())
    frames = torch.zeros(1, 1, 40)
    frames[0, 0, [1, 31, 33]] = 1
    events = simulate(to_integers(quantise(network)), TARGET, frames).events["0"]
    assert events.words_scanned == 4
    assert events.addresses == events.rows_read == events.separate_rows == 6
    assert events.accumulates == 210
    assert events.membrane_reads == events.membrane_writes == events.compares == 70
    assert events.words_written == 3
    assert events.neuron_cycles == 8
    assert events.cycles == 18


def saturating_reference(
    weights: list[list[int]], threshold: int, limit: int, frames: list[list[int]]
) -> tuple[list[list[int]], int]:
    """One layer of integrate-and-fire neurons in plain Python, one addition after the other."""
    membranes, spikes, clipped = [0] * len(weights), [], 0

    def clip(value: int) -> int:
        nonlocal clipped
        clipped += abs(value) > limit
        return max(-limit, min(limit, value))

    for frame in frames:
        fired = []
        for n, row in enumerate(weights):
            total = 0
            for site, spike in enumerate(frame):
                total = clip(total + row[site]) if spike else total
            membranes[n] = clip(membranes[n] + total)
            fired.append(int(membranes[n] > threshold))
            membranes[n] = clip(membranes[n] - threshold * fired[-1])
        spikes.append(fired)
    return spikes, clipped


def test_sums_and_membranes_saturate_addition_by_addition() -> None:
    torch.manual_seed(0)
    network = SpikingSequential(nn.Linear(50, 20, bias=False), ContinuousIF())
    nn.init.normal_(network[0].weight, std=1.0)
    quantised = quantise(network, weight_bits=8, membrane_bits=8, fraction_bits=5)
    chip = to_integers(quantised)
    frames = (torch.rand(6, 1, 50) < 0.5).int()
    run = simulate(chip, target_with(membrane_bits=8), frames)
    spikes, clipped = saturating_reference(
        chip.layers[0].weights.tolist(), 32, 127, frames[:, 0].tolist()
    )
    assert clipped > 0
    assert run.saturations == clipped
    assert run.spikes[:, 0].tolist() == spikes


def test_samples_do_not_touch_each_other() -> None:
    torch.manual_seed(0)
    network, frames = SpikingSequential(nn.Linear(9, 5), ContinuousIF()), torch.ones(3, 2, 9)
    chip = to_integers(quantise(network))
    both = simulate(chip, TARGET, frames)
    one = simulate(chip, TARGET, frames[:, :1])
    assert np.array_equal(both.spikes[:, :1], one.spikes)
    assert both.cycles == one.cycles * 2


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.full((2, 1, 4), 0.5), "values other than 0 and 1"),
        (torch.zeros(2, 1, 5), r"takes \(T, B, \*\(4,\)\)"),
        (torch.zeros(2, 4), r"takes \(T, B"),
        (torch.zeros(0, 1, 4), "T and B >= 1"),
        (torch.full((2, 1, 4), float("nan")), "values other than 0 and 1"),
    ],
)
def test_refuses_frames_that_are_no_spikes_of_its_shape(frames: Tensor, message: str) -> None:
    chip = to_integers(quantise(SpikingSequential(nn.Linear(4, 3), ContinuousIF())))
    with pytest.raises(ArgumentError, match=message):
        simulate(chip, TARGET, frames)


def test_refuses_other_bits_than_the_targets() -> None:
    network = SpikingSequential(nn.Linear(4, 3), ContinuousIF())
    with pytest.raises(ArgumentError, match=r"weights of 4 bits, yin2017-28nm of 8"):
        simulate(to_integers(quantise(network, weight_bits=4)), TARGET, torch.zeros(1, 1, 4))
