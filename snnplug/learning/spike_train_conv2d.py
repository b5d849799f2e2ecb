"""Convolutions whose neurons learn by HM2-BP or ST-RSBP, and pooling between them."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from snnplug.errors import ArgumentError
from snnplug.kernels.spike_train import SpikeTrainDynamics
from snnplug.learning.function import mean_over_time
from snnplug.learning.rules import Rule, RuleName
from snnplug.learning.spike_train_layer import SpikeTrainLayer, checked
from snnplug.learning.synapses import Convolution


class SpikeTrainConv2d(SpikeTrainLayer):
    r"""A convolution and the spiking neurons behind it.

    The neurons are those of :class:`~snnplug.learning.spike_train_linear.SpikeTrainLinear`; the
    product :math:`W x[t-1]` is a convolution.

    Backward: as there. The effects of all pairs of trains that share a weight add up.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        kernel_size: Height and width of the kernel, in pixels.
        threshold: :math:`\theta`.
        rule: ``"hm2bp"``, ``"st_rsbp"``, or one of these rules with other constants.
        stride: Step of the kernel, in pixels.
        padding: Zeros added on each side, in pixels.
        tau_mem_steps: Time constant of the membrane, in time steps.
        tau_syn_steps: Time constant of the synaptic current, in time steps.
        refractory_steps: Steps after a spike in which the membrane stays at 0.
        init_range: Weights are drawn uniformly from minus to plus this.

    Shape:
        - input: ``(T, B, in_channels, height, width)``; output: spikes ``(T, B, out_channels, *)``

    Raises:
        ArgumentError: An argument is out of its range, or the input has another size.

    Example:
        >>> layer = SpikeTrainConv2d(1, 4, kernel_size=5, threshold=2.0)
        >>> layer((torch.rand(30, 2, 1, 12, 12) < 0.2).float()).shape
        torch.Size([30, 2, 4, 8, 8])

    Hardware: as :class:`~snnplug.learning.spike_train_linear.SpikeTrainLinear`, the weights with
    their exact borders.

    Reference:
        As the rules.
    """

    counts_as: ClassVar[str] = "Conv2d"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        threshold: float,
        rule: RuleName | Rule = "hm2bp",
        stride: int = 1,
        padding: int = 0,
        tau_mem_steps: float = 64.0,
        tau_syn_steps: float = 8.0,
        refractory_steps: int = 2,
        init_range: float = 0.5,
    ) -> None:
        dynamics = SpikeTrainDynamics(threshold, tau_mem_steps, tau_syn_steps, refractory_steps)
        weight = torch.empty(out_channels, in_channels, kernel_size, kernel_size)
        super().__init__(weight, init_range, dynamics, rule)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = stride
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """Return the spikes of a whole sequence."""
        if x.dim() != 5 or x.shape[2] != self.in_channels:
            raise ArgumentError(
                f"input of shape {tuple(x.shape)}; SpikeTrainConv2d takes (T, B, "
                f"{self.in_channels}, height, width)"
            )
        size = [
            (n + 2 * self.padding - k) // self.stride + 1
            for n, k in zip(x.shape[3:], self.weight.shape[2:], strict=True)
        ]
        if min(size) < 1:
            raise ArgumentError(
                f"images of {tuple(x.shape[3:])} are smaller than the kernel; take a smaller one, "
                "or padding"
            )
        in_shape = (x.shape[2], x.shape[3], x.shape[4])
        out_shape = (self.out_channels, size[0], size[1])
        around = (self.padding, self.padding)
        synapses = Convolution(in_shape, out_shape, (self.stride, self.stride), around)
        flat = checked(x, prod(in_shape), type(self).__name__)
        spk = self.run(flat, synapses)
        return spk.view(*spk.shape[:2], *out_shape)


class SpikeTrainPool2d(nn.Module):
    r"""Average pooling of trains: each window sends the mean of its spikes.

    The mean is linear, so the effect of a pooled train is the mean of those of its parts and the
    rules hold as they are. The largest value of a window is not.

    Backward: at the level of counts, once per sample and not once per step.

    Args:
        kernel_size: Height and width of a window, and the step between windows, in pixels.

    Shape:
        - input: ``(T, B, C, height, width)``; output: ``(T, B, C, height // k, width // k)``

    Raises:
        ArgumentError: The input is no sequence of images, or smaller than a window.

    Example:
        >>> SpikeTrainPool2d(2)(torch.ones(30, 2, 4, 8, 8)).shape
        torch.Size([30, 2, 4, 4, 4])

    Hardware: counted as ``nn.AvgPool2d``; the values that it sends are no spikes and cost the next
    layer multiplications.
    """

    whole_sequence: ClassVar[bool] = True
    #: What the hardware model takes it for.
    counts_as: ClassVar[str] = "AvgPool2d"

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        if kernel_size < 1:
            raise ArgumentError(f"kernel_size is {kernel_size}; it takes 1 or more")
        self.kernel_size = kernel_size

    def forward(self, x: Tensor) -> Tensor:
        """Return the means of the windows."""
        if x.dim() != 5 or min(x.shape[3:]) < self.kernel_size:
            raise ArgumentError(
                f"input of shape {tuple(x.shape)}; SpikeTrainPool2d takes (T, B, C, height, "
                f"width), both at least {self.kernel_size}"
            )
        pooled: Tensor = _Pool.apply(x, self.kernel_size)  # type: ignore[no-untyped-call]
        return pooled


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int) -> Tensor:
        ctx.shape, ctx.size = x.shape, size
        pooled = functional.avg_pool2d(x.flatten(0, 1), size)
        return pooled.view(*x.shape[:2], *pooled.shape[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        error, size = mean_over_time(grad), [ctx.size, ctx.size]
        like = error.new_empty(ctx.shape[1:])
        back = torch.ops.aten.avg_pool2d_backward(
            error.contiguous(), like, size, size, [0, 0], False, True, None
        )
        return back.expand(ctx.shape), None
