"""Random networks for the formats that networks are exported to."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import snnplug as sp
from snnplug.surrogate import HardFire

#: A decay of a power of two or a few of them, so that sums of weights on a grid are exact.
DECAYS = (0.0, 0.25, 0.5, 0.75)


class Random:
    """Draws networks; the same for the same seed."""

    def __init__(self, seed: int, native: bool) -> None:
        self.draw = random.Random(seed)
        self.native = native
        torch.manual_seed(seed)

    def network(self) -> tuple[sp.SpikingSequential, Tensor]:
        """Return a network of one to three layers, dense or convolutional first, and its input."""
        if self.draw.random() < 0.4:
            layers, shape, width = self.convolution()
        else:
            layers, shape, width = [], (self.draw.randint(2, 9),), 0
            width = shape[0]
        for _ in range(self.draw.randint(1, 2)):
            size = self.draw.randint(2, 7)
            linear = self.draw.choice((nn.Linear, sp.SpikeLinear))
            layers += [linear(width, size, bias=self.draw.random() < 0.6)]
            layers += [self.neuron((size,)), nn.Dropout(0.3)]
            width = size
        network = sp.SpikingSequential(*layers).eval()
        self.on_grid(network)
        frames = (torch.rand(12, 3, *shape) < 0.6).float()
        return network, frames

    def convolution(self) -> tuple[list[nn.Module], tuple[int, ...], int]:
        """Return a convolution of any kind and what follows it, often not square and in groups."""
        draw, side = self.draw, self.draw.randint(5, 8)
        groups = draw.choice((1, 1, 2))
        planes = draw.randint(1, 3) * groups

        def each(*values: int) -> tuple[int, int]:
            return draw.choice(values), draw.choice(values)

        conv: Any = draw.choice((nn.Conv2d, sp.SpikeConv2d)) if groups == 1 else nn.Conv2d
        kernel, dilation = (
            draw.choice(((3, 3), each(1, 2, 3, 4))),
            draw.choice(((1, 1), each(1, 2))),
        )
        padding: Any = draw.choice((0, 1, each(0, 1, 2), "same", "valid"))
        if padding == "same":  # the reader of the tests pads evenly
            kernel = draw.choice(((3, 3), (3, 1), (1, 3)))
        if conv is sp.SpikeConv2d:
            dilation = (1, 1)
        stride: Any = 1 if isinstance(padding, str) else draw.choice((1, each(1, 2)))
        given = {"padding": padding, "stride": stride, "dilation": dilation, "groups": groups}
        frame = (2, max(side, 7), side + draw.randint(2, 3))
        layers: list[nn.Module] = [conv(2, planes, kernel, bias=draw.random() < 0.6, **given)]
        shape = layers[0](torch.zeros(1, *frame)).shape[1:]
        layers.append(self.neuron(tuple(shape)))
        if min(shape[1:]) >= 2 and self.draw.random() < 0.7:
            sums = self.draw.choice((None, 1))
            layers.append(nn.AvgPool2d(2, self.draw.choice((1, 2)), divisor_override=sums))
        layers.append(nn.Flatten())
        width = sp.SpikingSequential(*layers)(torch.zeros(1, 1, *frame)).shape[-1]
        return layers, frame, width

    def neuron(self, shape: tuple[int, ...]) -> nn.Module:
        """Return neurons of any kind, with parameters for all or one each."""
        own = self.draw.random() < 0.5
        given: dict[str, Any] = {"threshold": self.off_grid(shape if own else ())}
        resets = [("none", True), ("zero", False)]
        if not self.native:
            resets += [("subtract", True), ("subtract", False), ("zero", True)]
        kind = self.draw.choice(
            ("Leaky", "Synaptic", "RLeaky", "RSynaptic", "ContinuousIF", "DiscontinuousIF", "Diet")
        )
        if kind == "DiscontinuousIF":
            grad = HardFire(inclusive=self.draw.random() < 0.5)
            return sp.DiscontinuousIF(**given, spike_grad=grad)
        reset, delay = self.draw.choice(resets)
        if kind == "ContinuousIF":
            beta = self.draw.choice((1.0, 0.5))
            reset = "none" if self.native or reset == "zero" else reset
            return sp.ContinuousIF(**given, beta=beta, reset_mechanism=reset)
        if kind == "Diet":
            reset = "none" if self.native or reset == "zero" else reset
            return sp.LearnableLIF(**given, beta=0.5, reset_mechanism=reset, reset_delay=delay)
        given |= {"reset_mechanism": reset, "reset_delay": delay}
        given["beta"] = self.decay(shape if own else (), kind)
        if kind in ("Synaptic", "RSynaptic"):
            given["alpha"] = self.decay(shape if own else (), kind)
        if kind == "Leaky":
            if reset == "zero":
                given["reset_delay"] = self.draw.random() < 0.5
            given["graded_spikes_factor"] = self.draw.choice((1.0, 1.0, 0.5))
        if kind in ("RLeaky", "RSynaptic"):
            given |= self.recurrence(shape)
        maker: Callable[..., nn.Module] = getattr(sp, kind)
        return maker(**given)

    def recurrence(self, shape: tuple[int, ...]) -> dict[str, Any]:
        if self.draw.random() < 0.4:
            one = self.draw.random() < 0.5
            V = torch.randint(-8, 9, () if one else shape) / 8  # noqa: N806
            return {"all_to_all": False, "V": V}
        if len(shape) == 1:
            return {"linear_features": shape[0]}
        return {"conv2d_channels": shape[0], "kernel_size": 3}

    def decay(self, shape: tuple[int, ...], kind: str) -> Tensor:
        if self.native:
            return torch.tensor(DECAYS)[torch.randint(len(DECAYS), shape)]
        some = torch.rand(shape)
        return torch.where(some > 0.9, 1.0, some)

    def off_grid(self, shape: tuple[int, ...]) -> Tensor:
        """Return thresholds that no sum of weights equals."""
        return 0.3 + torch.randint(4, shape) / 4 + 2**-12

    def on_grid(self, network: nn.Module) -> None:
        """Draw weights that make neurons fire; where readers are compared, on a grid."""
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                fan_in = module.weight[0].numel()
                with torch.no_grad():
                    for parameter in module.parameters(recurse=False):
                        spread = 3 / fan_in**0.5 if parameter.dim() > 1 else 0.3
                        drawn = (torch.rand_like(parameter) - 0.4) * spread
                        drawn = torch.round(drawn * 16) / 16 if self.native else drawn
                        parameter.copy_(drawn)
