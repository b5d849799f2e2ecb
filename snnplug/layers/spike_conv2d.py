"""A 2-d convolution that skips the zeros of its input."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from snnplug.kernels.spike_conv import spike_conv2d


class SpikeConv2d(nn.Conv2d):
    r"""``nn.Conv2d`` whose work is proportional to the spikes that come in.

    .. math::
        y_o = b_o + \sum_c W_{oc} \star x_c

    Backward: as ``nn.Conv2d``; the gradient of :math:`W` skips the zeros of :math:`x` too.

    Each call measures the density of its input and takes the dense convolution where that is
    quicker, or where the native kernels are not there. Both give the same numbers up to the order
    of summation. Parameters and ``state_dict`` are those of ``nn.Conv2d``.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        kernel_size: Height and width of the kernel, in pixels.
        stride: Step of the kernel, in pixels.
        padding: Pixels added on each side, ``"valid"`` or ``"same"``.
        dilation: Distance of neighbouring taps, in pixels.
        groups: How many parts the channels fall into.
        bias: Add a learned constant to each output channel.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.

    Shape:
        - input: ``(N, in_channels, height, width)``; output: ``(N, out_channels, *)``. In a
          :class:`~snnplug.layers.sequential.SpikingSequential` N is T * B.

    Hardware: counted as ``nn.Conv2d``.

    Example:
        >>> import torch
        >>> layer = SpikeConv2d(2, 12, kernel_size=5)
        >>> layer((torch.rand(16, 2, 34, 34) < 0.05).float()).shape
        torch.Size([16, 12, 30, 30])

    Reference:
        The kernel, its limits and what they rest on: :mod:`snnplug.kernels.spike_conv`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution."""
        around = self._reversed_padding_repeated_twice
        left, right, top, bottom = around
        padding = (top, left)
        if self.padding_mode != "zeros" or (left, top) != (right, bottom):
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            input, padding = functional.pad(input, around, mode=mode), (0, 0)
        stride, dilation = self.stride, self.dilation
        return spike_conv2d(
            input,
            self.weight,
            self.bias,
            (stride[0], stride[1]),
            padding,
            (dilation[0], dilation[1]),
            self.groups,
        )
