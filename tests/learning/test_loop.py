"""A training step of a whole batch is the sum of the loop's over samples."""

from __future__ import annotations

import torch

from snnplug.networks.spike_train import SpikeTrainSNN
from tests.learning import loop


def test_batched_gradients_are_those_of_the_loop() -> None:
    torch.manual_seed(0)
    net = SpikeTrainSNN((12,), 4, (0.5, 0.6), hidden=(9,), inhibition=0.0, revived_spikes=0)
    net.double()
    x = (torch.rand(40, 5, 12) < 0.3).double()
    x[:, :, 3] = 0
    wanted = torch.tensor([4.0, 9.0, 0.0, 2.0], dtype=torch.float64).expand(5, 4)
    spk = net(x)
    (0.5 * (spk.sum(0) - wanted).square().sum()).backward()
    assert (spk.sum(0) == 0).any()
    assert (spk.sum(0) > 2).any()
    weights = [layer.weight for layer in net]
    dynamics = [layer.dynamics for layer in net]
    with torch.no_grad():
        expected = loop.train_step(x, weights, dynamics, wanted)
    for weight, gradient in zip(weights, expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-10, atol=1e-10)
