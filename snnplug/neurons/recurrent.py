"""What the recurrent neurons share: the spikes of one step are an input of the next."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from snnplug.errors import ArgumentError
from snnplug.kernels.dynamics import Parameters
from snnplug.neurons.lif import LIF


class RecurrentLIF(LIF):
    """A leaky neuron with weights from its own spikes: dense, convolutional or one to one."""

    V: Tensor
    recurrent: nn.Linear | nn.Conv2d

    def __init__(
        self,
        V: float | Tensor,  # noqa: N803  # snnTorch's name
        all_to_all: bool,
        linear_features: int | None,
        conv2d_channels: int | None,
        kernel_size: int | tuple[int, int] | None,
        learn_recurrent: bool,
        **arguments: Any,
    ) -> None:
        _check(all_to_all, linear_features, conv2d_channels, kernel_size)
        super().__init__(**arguments)
        self.all_to_all = all_to_all
        self.learn_recurrent = learn_recurrent
        self.linear_features = linear_features
        self.conv2d_channels = conv2d_channels
        self.kernel_size = kernel_size
        if not all_to_all:
            self._keep("V", V, learn_recurrent)
        elif linear_features:
            self.recurrent = nn.Linear(linear_features, linear_features)
        elif conv2d_channels and kernel_size:
            self.recurrent = nn.Conv2d(
                conv2d_channels, conv2d_channels, kernel_size, padding="same"
            )
        if all_to_all:
            self.recurrent.requires_grad_(learn_recurrent)

    def _tensors(self, cur: Tensor) -> Parameters | None:
        found = super()._tensors(cur)
        if found is None:
            return None
        if not self.all_to_all:
            return found._replace(own=self.V) if self.V.dim() <= max(cur.dim() - 2, 0) else None
        layer, features = self.recurrent, self.linear_features
        # What hooks see, and what autocast rounds, are the products step by step.
        if (
            type(layer) is not nn.Linear
            or layer._forward_hooks
            or layer._forward_pre_hooks
            or layer._backward_hooks
            or cur.dim() != 3
            or cur.shape[-1] != features
            or torch.is_autocast_enabled(cur.device.type)
            or layer.weight.dtype != cur.dtype
        ):
            return None
        return found._replace(weight=layer.weight, bias=layer.bias)

    def _recur(self, spk: Tensor) -> Tensor:
        """Return the current that the spikes of the step before bring."""
        if not self.all_to_all:
            return spk * self.V.to(spk.dtype)
        cur: Tensor = self.recurrent(spk)
        return cur

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Load; snnTorch saves a learned ``V`` twice, under this name too."""
        if not self.all_to_all:
            state_dict.pop(f"{prefix}recurrent.V", None)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _check(
    all_to_all: bool,
    linear_features: int | None,
    conv2d_channels: int | None,
    kernel_size: int | tuple[int, int] | None,
) -> None:
    """Refuse anything but exactly one kind of recurrent weights."""
    convolution = (conv2d_channels, kernel_size)
    if not all_to_all:
        fits = not (linear_features or any(convolution))
    else:
        fits = not any(convolution) if linear_features else all(convolution)
    if not fits:
        raise ArgumentError(
            f"all_to_all={all_to_all}, linear_features={linear_features}, "
            f"conv2d_channels={conv2d_channels}, kernel_size={kernel_size}; with all_to_all give "
            "either linear_features or both conv2d_channels and kernel_size, without it none of "
            "them: V holds the weights"
        )
