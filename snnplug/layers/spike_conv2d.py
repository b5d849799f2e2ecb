"""A 2-d convolution that skips the zeros of its input."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from snnplug.kernels.hooks import has_global_hooks
from snnplug.kernels.pooled_conv import max_pooled_conv2d
from snnplug.kernels.spike_conv import spike_conv2d


class SpikeConv2d(nn.Conv2d):
    r"""``nn.Conv2d`` whose work is proportional to the spikes that come in.

    .. math::
        y_o = b_o + \sum_c W_{oc} \star x_c

    Backward: as ``nn.Conv2d``; the gradient of :math:`W` skips the zeros of :math:`x` too.

    Each call measures the density of its input and takes the dense convolution where that is
    quicker, or where the native kernels are not there. Both give the same numbers up to the order
    of summation. Parameters and ``state_dict`` are those of ``nn.Conv2d``.

    A :class:`~snnplug.layers.sequential.SpikingSequential` takes it together with an
    ``nn.MaxPool2d`` right behind it, in one pass that never stores the convolution.

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

    def forward(self, input: Tensor, pool: nn.MaxPool2d | None = None) -> Tensor:
        """Return the convolution, or with ``pool`` what :meth:`max_pooled` does.

        Forward hooks see the pool among the arguments.
        """
        if pool is not None:
            return self.max_pooled(input, pool)
        input, padding = self._padded(input)
        stride, dilation = _pair(self.stride), _pair(self.dilation)
        return spike_conv2d(input, self.weight, self.bias, stride, padding, dilation, self.groups)

    def max_pooled(self, input: Tensor, pool: nn.MaxPool2d) -> Tensor:
        """Return ``pool(self(input))``, the same bits in one pass.

        :class:`~snnplug.layers.sequential.SpikingSequential` asks for it where a pool follows.

        Args:
            input: As for the layer itself.
            pool: Without padding, dilation, ``ceil_mode`` and ``return_indices``.
        """
        input, padding = self._padded(input)
        return max_pooled_conv2d(
            input,
            self.weight,
            self.bias,
            _pair(self.stride),
            padding,
            _pair(self.dilation),
            self.groups,
            _pair(pool.kernel_size),
            _pair(pool.stride),
        )

    def _padded(self, input: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return the input and the zeros that the kernel puts around it; others are put here."""
        around = self._reversed_padding_repeated_twice
        left, right, top, bottom = around
        padding = (top, left)
        if self.padding_mode != "zeros" or (left, top) != (right, bottom):
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            input, padding = functional.pad(input, around, mode=mode), (0, 0)
        return input, padding


def fuses(conv: SpikeConv2d, pool: nn.MaxPool2d) -> bool:
    """Whether :meth:`SpikeConv2d.max_pooled` does what the two modules do one after the other.

    A hook on either has to see what lies between them, unless it says by ``sees_pool`` that the
    arguments of the convolution are enough; a subclass may do something else.
    """
    return (
        type(conv) is SpikeConv2d
        and type(pool) is nn.MaxPool2d
        and _pair(pool.padding) == (0, 0)
        and _pair(pool.dilation) == (1, 1)
        and not pool.ceil_mode
        and not pool.return_indices
        and all(
            getattr(hook, "sees_pool", False)
            for module in (conv, pool)
            for hooks in (
                module._forward_hooks,
                module._forward_pre_hooks,
                module._backward_hooks,
                module._backward_pre_hooks,
            )
            for hook in hooks.values()
        )
        and not has_global_hooks()
    )


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else value
    return first, second
