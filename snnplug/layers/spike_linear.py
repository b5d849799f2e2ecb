"""A fully connected layer that skips the zeros of its input."""

from __future__ import annotations

from torch import Tensor, nn

from snnplug.kernels.spike_linear import spike_linear


class SpikeLinear(nn.Linear):
    r"""``nn.Linear`` whose work is proportional to the spikes that come in.

    .. math::
        y = x W^\top + b

    Backward: as ``nn.Linear``; the gradient of :math:`W` skips the zeros of :math:`x` too.

    Each call measures the density of its input and takes the dense product where that is quicker,
    or where the native kernels are not there. Both give the same numbers up to the order of
    summation. Parameters and ``state_dict`` are those of ``nn.Linear``.

    Args:
        in_features: Inputs.
        out_features: Outputs.
        bias: Add a learned constant to each output.

    Shape:
        - input: ``(*, in_features)``; output: ``(*, out_features)``

    Hardware: counted as ``nn.Linear``.

    Example:
        >>> import torch
        >>> layer = SpikeLinear(784, 256)
        >>> layer((torch.rand(16, 32, 784) < 0.1).float()).shape
        torch.Size([16, 32, 256])

    Reference:
        The kernel, its limits and what they rest on: :mod:`snnplug.kernels.spike_linear`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the product."""
        return spike_linear(input, self.weight, self.bias)
