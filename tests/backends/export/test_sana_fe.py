"""SANA-FE's files: the simulator loads them and spikes as the network does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import snnplug as sp
from snnplug.backends.export import write_sana_fe
from snnplug.errors import ArgumentError
from snnplug.layers.sequential import SpikingSequential
from tests.support import sana_fe
from tests.support.peers import peer


def grid(network: nn.Module, step: int = 16) -> None:
    """Round weights to a grid, on which no order of summation matters."""
    for parameter in network.parameters():
        if parameter.dim() > 0 and parameter.requires_grad:
            parameter.data.mul_(3).mul_(step).round_().div_(step)


def layers_of(network: SpikingSequential, x: Tensor) -> dict[str, Tensor]:
    """Return the spikes of each layer of neurons."""
    found = {}
    for name, module in network.named_children():
        x = SpikingSequential(module)(x)
        if isinstance(module, sp.neurons.base.SequenceNeuron):
            found[name] = x.flatten(2)[:, 0].detach()
    return found


@pytest.mark.parametrize("bias", [False, True])
def test_the_simulator_spikes_as_the_network_does(bias: bool, tmp_path: Path) -> None:
    peer("sanafe")
    torch.manual_seed(0)
    none: dict[str, Any] = {"reset_mechanism": "none"}
    network = sp.SpikingSequential(
        nn.Conv2d(2, 3, 3, padding=1, stride=2, bias=bias),
        sp.ContinuousIF(threshold=19 / 32),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12, 8, bias=bias),
        sp.Leaky(beta=0.75, threshold=0.51, reset_mechanism="zero"),
        nn.Linear(8, 7, bias=bias),
        sp.LearnableLIF(beta=0.5, threshold=0.5),
        nn.Dropout(),
        nn.Linear(7, 6, bias=bias),
        sp.Leaky(beta=0.5, threshold=torch.linspace(0.3, 1, 6), **none),
        nn.Linear(6, 5, bias=bias),
        sp.DiscontinuousIF(threshold=0.0, spike_grad=sp.HardFire(inclusive=True)),
    ).eval()
    grid(network)
    frames = (torch.rand(15, 3, 2, 8, 8) < 0.4).float()
    written = write_sana_fe(tmp_path / "chip", network, frames, sample=1)
    assert written.note == "simulate 20 steps: 15, and one per layer of neurons"
    expected = layers_of(network, frames[:, 1:2])
    names, sizes = list(expected), [spk.shape[1] for spk in expected.values()]
    theirs = sana_fe.run(tmp_path / "chip", names, sizes, 15)
    for name, found in zip(names, theirs["spikes"], strict=True):
        assert 0 < expected[name].mean() < 1, name
        assert torch.equal(found, expected[name]), name


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([sp.Leaky(beta=0.9)], r"1 \(Leaky\): SANA-FE leaks after the reset. Take beta=1"),
        ([sp.Leaky(beta=1.0, reset_delay=False)], "SANA-FE leaks after the reset"),
        ([sp.Leaky(beta=torch.rand(4), reset_mechanism="zero")], "one decay for all neurons"),
        ([sp.Synaptic(alpha=0.5, beta=0.5)], r"1 \(Synaptic\) has no equal in SANA-FE"),
        ([nn.ReLU(), sp.ContinuousIF()], r"1 \(ReLU\) is no sum of weighted spikes"),
        ([nn.Linear(4, 2)], "does not end in neurons"),
    ],
)
def test_what_has_no_equal_is_named(layers: list[nn.Module], message: str, tmp_path: Path) -> None:
    network = sp.SpikingSequential(nn.Linear(3, 4), *layers)
    with pytest.raises(ArgumentError, match=message):
        write_sana_fe(tmp_path / "chip", network, torch.ones(5, 2, 3))
    assert not any(tmp_path.iterdir())


def test_input_and_folder_are_checked(tmp_path: Path) -> None:
    network = sp.SpikingSequential(nn.Linear(3, 4), sp.ContinuousIF())
    with pytest.raises(ArgumentError, match="other values than 0 and 1"):
        write_sana_fe(tmp_path / "chip", network, torch.full((5, 2, 3), 0.5))
    with pytest.raises(ArgumentError, match="sample 2 of frames"):
        write_sana_fe(tmp_path / "chip", network, torch.ones(5, 2, 3), sample=2)
    (tmp_path / "file").touch()
    with pytest.raises(ArgumentError, match="is not empty; name a new folder"):
        write_sana_fe(tmp_path, network, torch.ones(5, 2, 3))
