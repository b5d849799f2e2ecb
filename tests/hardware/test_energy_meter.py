"""The energy that one can train on: the report's value, and gradients that hold what they say."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import snntorch as snn
import torch
from torch import Tensor, nn

import snnplug as sp
from snnplug.errors import MeasurementError, TargetError
from snnplug.hardware.activity import Activity
from snnplug.hardware.counting import measure
from snnplug.hardware.energy_meter import EnergyMeter
from snnplug.hardware.machine import Duty
from snnplug.hardware.target import load_target
from snnplug.layers.sequential import SpikingSequential
from snnplug.layers.spike_conv2d import fuses
from snnplug.networks.conv import ConvSNN
from snnplug.networks.dense import DenseSNN

STEPS, BATCH = 4, 5
YIN = load_target("yin2017-28nm")


def spikes(*shape: int, density: float = 0.3, seed: int = 0) -> Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < density).float()


class Loop(nn.Module):
    """A time loop as users write it: snnTorch's neurons, residual addition, both recurrences."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, stride=2, padding=1, padding_mode="circular")
        self.lif1 = snn.Leaky(beta=0.9, threshold=0.2)
        self.fc = nn.Linear(4 * 16, 12)
        self.lif2 = snn.RLeaky(beta=0.9, linear_features=12, threshold=0.2)
        self.one = sp.RLeaky(beta=0.8, all_to_all=False, threshold=0.1)

    def forward(self, frames: Tensor) -> Tensor:
        mem1 = self.lif1.reset_mem()
        spk2, mem2 = self.lif2.reset_mem()
        last: tuple[Any, ...] = (None, None)
        out = []
        for now in frames:
            spk1, mem1 = self.lif1(self.conv(now), mem1)
            spk2, mem2 = self.lif2(self.fc(spk1.flatten(1)), spk2, mem2)
            last = self.one(spk2 + spk2.roll(1, 1), *last)
            out.append(last[0])
        return torch.stack(out)


def mlp() -> nn.Module:
    return DenseSNN((2, 8, 8), 10, hidden=(70, 30), dropout_input=0.2, dropout_hidden=0.3)


def strided() -> nn.Module:
    return SpikingSequential(
        nn.Conv2d(2, 6, 3, stride=2, padding=(2, 0), groups=2, bias=False),
        nn.BatchNorm2d(6),
        sp.Leaky(beta=0.7, threshold=0.3),
        nn.Conv2d(6, 4, (2, 3), dilation=(1, 2), padding=(1, 2)),
        sp.ContinuousIF(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12, 5),
        snn.Leaky(beta=0.9),
    )


def recurrent() -> nn.Module:
    return SpikingSequential(
        nn.Flatten(), nn.Linear(128, 20), sp.RLeaky(0.9, linear_features=20, threshold=0.3)
    )


NETWORKS: list[Callable[[], nn.Module]] = [
    mlp,
    strided,
    recurrent,
    lambda: ConvSNN((2, 8, 8), 10, channels=(6, 8), kernel_size=2, dropout_hidden=0.2),
    Loop,
]
NAMES = ["mlp", "strided", "recurrent", "pooled", "loop"]
FRAMES = spikes(STEPS, BATCH, 2, 8, 8)


@pytest.fixture(params=NETWORKS, ids=NAMES)
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    made: nn.Module = request.param()
    return made


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("target", ["yin2017-28nm", "loihi-2018", "lemaire2022-45nm"])
def test_is_what_the_target_charges(network: nn.Module, target: str, training: bool) -> None:
    network.train(training)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(1)  # what dropout takes away, and so what really ran
    with measure(network) as counted, torch.no_grad():
        network(FRAMES)
    network.load_state_dict(state)
    report = load_target(target).price(counted.activity())
    leaks = report.parts_nj.get("leakage", 0.0)
    assert report.energy_nj is not None
    for leakage, expected in ((True, report.energy_nj), (False, report.energy_nj - leaks)):
        meter = EnergyMeter(network, target, leakage=leakage)
        torch.manual_seed(1)
        with meter:
            network(FRAMES)
        energy_nj = meter.energy_nj()
        assert energy_nj.shape == ()
        assert energy_nj.item() == pytest.approx(expected, rel=1e-6)
        energy_nj.backward()
        network.load_state_dict(state)
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert gradients
    assert all(bool(g.isfinite().all()) for g in gradients)
    assert any(bool(g.any()) for g in gradients)


def test_watching_changes_neither_outputs_nor_gradients(network: nn.Module) -> None:
    def gradients(meter: EnergyMeter | None) -> list[Tensor | None]:
        torch.manual_seed(1)
        network.zero_grad()
        if meter is None:
            out = network(FRAMES)
        else:
            with meter:
                out = network(FRAMES)
        loss = sum(part.square().sum() for part in (out if isinstance(out, tuple) else (out,)))
        (loss if meter is None else loss + 0 * meter.energy_nj()).backward()
        return [p.grad for p in network.parameters()]

    for one, other in zip(gradients(None), gradients(EnergyMeter(network)), strict=True):
        assert (one is None and other is None) or torch.equal(one, other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(6, 5),
        nn.Conv2d(2, 3, 3, padding=1),
        nn.Conv2d(2, 70, 3, stride=2, padding=(0, 2), dilation=(1, 2)),
        nn.Conv1d(4, 6, 3, groups=2, padding=2, padding_mode="circular"),
        nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1, output_padding=1),
        nn.AvgPool2d(3, stride=2, padding=1),
    ],
    ids=lambda layer: type(layer).__name__,
)
@pytest.mark.parametrize("scale", [1.0, 1.25])
def test_a_gradient_is_the_price_of_one_more_spike(layer: Any, scale: float) -> None:
    """Exactly: the price is linear, so a difference of two reports is a derivative."""
    shape = {nn.Linear: (6,), nn.Conv1d: (4, 5)}.get(type(layer), (2, 5, 4))
    if isinstance(layer, nn.ConvTranspose2d):
        shape = (3, 3, 4)
    network = SpikingSequential(layer)
    x = scale * spikes(2, 3, *shape, density=0.4)

    def price(values: Tensor) -> float:
        with measure(network) as counted, torch.no_grad():
            network(values)
        return YIN.price(counted.activity()).energy_nj or 0.0

    leaf = x.clone().requires_grad_()
    meter = EnergyMeter(network)
    with meter:
        network(leaf)
    meter.energy_nj().backward()
    assert leaf.grad is not None
    for place in torch.randperm(x.numel(), generator=torch.Generator().manual_seed(0))[:12]:
        flipped = x.clone().flatten()
        flipped[place] = scale - flipped[place]
        rise = price(flipped.view_as(x)) - price(x)
        expected = rise / (flipped[place] - x.flatten()[place]).item()
        assert leaf.grad.flatten()[place].item() == pytest.approx(expected, rel=1e-5)


def test_a_gradient_is_the_price_of_one_more_spike_of_a_neuron() -> None:
    """The neuron's own charge: its membrane is written once more when it is reset."""
    network = SpikingSequential(nn.Linear(6, 7), sp.ContinuousIF())
    meter = EnergyMeter(network)
    with meter:
        spk = network(spikes(STEPS, BATCH, 6))
    (gradient,) = torch.autograd.grad(meter.energy_nj(), spk)
    o, d = YIN.ops, YIN.datapath  # type: ignore[attr-defined]
    expected_nj = 1e-3 * YIN.overhead.kappa * o.add_pj_per_bit * d.membrane_bits / BATCH  # type: ignore[attr-defined]
    torch.testing.assert_close(gradient, torch.full((STEPS, BATCH, 7), expected_nj))


def test_gradients_go_through_the_spike_function() -> None:
    """A network by hand: rates times fan-out times spikes, differentiated by torch."""
    torch.manual_seed(0)
    fc1, fc2 = nn.Linear(6, 8), nn.Linear(8, 70)
    network = SpikingSequential(fc1, sp.ContinuousIF(), fc2, sp.ContinuousIF())
    x = spikes(STEPS, BATCH, 6, density=0.6)
    meter = EnergyMeter(network)
    with meter:
        network(x)
    meter.energy_nj().backward()
    found = fc1.weight.grad
    fc1.weight.grad = None
    _, first, second, third = (meter._rates_of(meter.activity())[k] for k in range(4))
    spk1, _ = sp.ContinuousIF().run(fc1(x))
    spk2, _ = sp.ContinuousIF().run(fc2(spk1))
    per_spike = first.spike_nj + second.event_nj + 70 * second.synop_nj
    ((per_spike * spk1.sum() + third.spike_nj * spk2.sum()) / BATCH).backward()
    torch.testing.assert_close(found, fc1.weight.grad, rtol=1e-5, atol=1e-9)


class Smooth(nn.Module):
    """Neurons whose spike is a smooth function: here finite differences have a meaning."""

    def __init__(self) -> None:
        super().__init__()
        how: dict[str, Any] = {"beta": 0.8, "reset_mechanism": "none"}
        self.fc1 = nn.Linear(5, 6)
        self.lif1 = sp.Leaky(spike_grad=lambda mem: torch.sigmoid(3 * mem), **how)
        self.conv = nn.Conv1d(1, 3, 3, padding=1, stride=2)
        self.lif2 = sp.Leaky(spike_grad=lambda mem: torch.tanh(mem), **how)
        self.fc2 = nn.Linear(9, 4)

    def forward(self, frames: Tensor) -> Tensor:
        spk1, _ = self.lif1.run(self.fc1(frames))
        cur = self.conv(spk1.flatten(0, 1).unsqueeze(1)).unflatten(0, frames.shape[:2])
        self.spk1, (self.spk2, _) = spk1, self.lif2.run(cur)
        out: Tensor = self.fc2(self.spk2.flatten(2))
        return out


def test_gradients_of_smooth_spikes_are_finite_differences() -> None:
    """Of the energy as documented: |x| over its mean over the events, which is held fast."""
    torch.manual_seed(0)
    network = Smooth().double()
    x = spikes(STEPS, BATCH, 5, density=0.6).double()
    meter = EnergyMeter(network)
    with meter:
        network(x)
    meter.energy_nj().backward()
    rates = dict(
        zip(
            [layer.name for layer in meter.activity().layers],
            meter._rates_of(meter.activity()),
            strict=True,
        )
    )
    sizes = [
        s.detach().abs().mean().item() for s in (network.spk1, network.spk2)
    ]  # none is exactly 0
    # Stride 2 and padding 1: the three outputs read places -1 to 1, 1 to 3 and 3 to 5.
    fan_out = 3 * torch.tensor([1, 2, 1, 2, 1, 1.0], dtype=torch.float64)

    def relaxed() -> float:
        with torch.no_grad():
            network(x)
            one, two = (
                s.abs() / m for s, m in zip((network.spk1, network.spk2), sizes, strict=True)
            )
            conv, fc2 = rates["conv"], rates["fc2"]
            total = rates["lif1"].spike_nj * one.sum() + rates["lif2"].spike_nj * two.sum()
            total += conv.event_nj * one.sum() + conv.synop_nj * (one * fan_out).sum()
            total += (fc2.event_nj + 4 * fc2.synop_nj) * two.sum()
            return float(total) / BATCH

    for parameter in (network.fc1.weight, network.fc1.bias, network.conv.weight, network.conv.bias):
        assert parameter is not None
        assert parameter.grad is not None
        for place in range(0, parameter.numel(), 4):
            flat, ends = parameter.data.view(-1), []
            before = flat[place].item()
            for step in (1e-5, -1e-5):
                flat[place] = before + step
                ends.append(relaxed())
            flat[place] = before
            slope = (ends[0] - ends[1]) / 2e-5
            assert parameter.grad.view(-1)[place].item() == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_fused_layers_stay_fused() -> None:
    network = ConvSNN((2, 8, 8), 10, channels=(6,), kernel_size=3)
    _, conv, pool, *_ = network.layers
    with EnergyMeter(network):
        assert fuses(conv, pool)  # type: ignore[arg-type]


def test_the_floor_is_what_silent_neurons_leave() -> None:
    network = mlp().eval()
    meter = EnergyMeter(network)
    with meter:
        network(FRAMES)
    floor_nj = meter.floor_nj()
    assert 0 < floor_nj < meter.energy_nj().item()
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.constant_(module.weight, -1.0)
    with meter:
        network(FRAMES)
    assert meter.activity().firing_rates() == {"layers.3": 0, "layers.6": 0, "readout": 0}
    assert meter.energy_nj().item() == pytest.approx(floor_nj, rel=1e-6)


def test_each_block_counts_anew_whatever_its_batch_and_steps() -> None:
    network = strided().eval()
    meter = EnergyMeter(network)
    for steps, batch in ((4, 5), (4, 2), (7, 5), (4, 5)):
        x = spikes(steps, batch, 2, 8, 8, seed=steps + batch)
        with meter:
            network(x)
        with measure(network) as counted, torch.no_grad():
            network(x)
        price = YIN.price(counted.activity()).energy_nj
        assert meter.energy_nj().item() == pytest.approx(price, rel=1e-6)


def test_a_loop_outside_the_network() -> None:
    step = nn.Sequential(nn.Linear(6, 5), sp.ContinuousIF(init_hidden=True), nn.Linear(5, 3))
    x = spikes(STEPS, BATCH, 6, density=0.8)
    meter = EnergyMeter(step, batch_dim=0, num_steps=STEPS)
    sp.reset(step)
    with meter:
        for now in x:
            step(now)
    chain = SpikingSequential(step[0], sp.ContinuousIF(), step[2])
    with measure(chain) as counted, torch.no_grad():
        chain(x)
    price = YIN.price(counted.activity()).energy_nj
    assert meter.energy_nj().item() == pytest.approx(price, rel=1e-6)
    meter.energy_nj().backward()
    assert step[0].weight.grad.abs().sum() > 0  # type: ignore[union-attr,operator]


def test_training_on_it_alone_silences_the_network() -> None:
    torch.manual_seed(0)
    network = DenseSNN((9,), 3, hidden=(20, 20))
    meter = EnergyMeter(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    x, energies = spikes(STEPS, 20, 9), []
    for _ in range(60):
        with meter:
            network(x)
        energy_nj = meter.energy_nj()
        energies.append(energy_nj.item())
        optimizer.zero_grad()
        energy_nj.backward()
        optimizer.step()
    floor_nj = meter.floor_nj()
    assert energies[-1] - floor_nj < 0.02 * (energies[0] - floor_nj)


def test_without_gradients_it_is_a_plain_figure() -> None:
    meter = EnergyMeter(mlp().eval())
    with meter, torch.no_grad():
        meter.network(FRAMES)
    assert not meter.energy_nj().requires_grad


def test_a_raising_forward_leaves_no_hooks() -> None:
    network = SpikingSequential(nn.Linear(3, 2))
    meter = EnergyMeter(network)
    with pytest.raises(RuntimeError), meter:
        network(torch.zeros(1, 1, 4))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_an_empty_block_and_a_target_without_such_a_price_are_refused() -> None:
    network = SpikingSequential(nn.Linear(3, 2), sp.ContinuousIF())
    meter = EnergyMeter(network)
    with meter:
        pass
    with pytest.raises(MeasurementError, match="ran on 0 samples"):
        meter.energy_nj()
    crossbar = EnergyMeter(network, "rram-crossbar")
    with crossbar:
        network(torch.ones(2, 1, 3))
    with pytest.raises(TargetError, match="not linear"):
        crossbar.energy_nj()


@pytest.mark.parametrize(
    "duty",
    [Duty(1000.0), Duty(1000.0, power_gated=True), Duty(1e9)],
    ids=["waits", "gated", "busy"],
)
def test_a_machine_that_leaks_until_its_next_inference(duty: Duty) -> None:
    """What leaks while it waits belongs to no spike: it is left out, or refused."""
    target = replace(YIN, duty=duty)  # type: ignore[type-var]
    torch.manual_seed(0)
    network = SpikingSequential(nn.Linear(40, 70), sp.ContinuousIF(threshold=0.2), nn.Linear(70, 5))
    meters = [EnergyMeter(network, target, leakage=leakage) for leakage in (False, True)]
    for meter in meters:
        with meter:
            network(spikes(STEPS, BATCH, 40))
    report = target.price(meters[0].activity())
    leaks = report.parts_nj["leakage"]
    assert meters[0].energy_nj().item() == pytest.approx(report.energy_nj - leaks, rel=1e-6)
    if duty == Duty(1000.0):
        # A thousandth of a second, times the leakage power: constant, whatever the network does.
        power_uw = 1e3 * leaks / (1e6 / duty.inferences_per_s)
        busy_us = YIN.price(meters[0].activity()).latency_us
        busy_nj = YIN.price(meters[0].activity()).parts_nj["leakage"]
        assert power_uw == pytest.approx(1e3 * busy_nj / busy_us, rel=1e-9)
        with pytest.raises(TargetError, match=r"leakage=False leaves out"):
            meters[1].energy_nj()
    else:
        assert meters[1].energy_nj().item() == pytest.approx(report.energy_nj, rel=1e-6)


def test_the_counts_are_those_of_measure() -> None:
    network = mlp().eval()
    meter = EnergyMeter(network)
    with meter:
        network(FRAMES)
    with measure(network) as counted, torch.no_grad():
        network(FRAMES)
    activity: Activity = meter.activity()
    assert activity == counted.activity()
    assert math.isclose(meter.energy_nj().item(), YIN.price(activity).energy_nj or 0, rel_tol=1e-6)
