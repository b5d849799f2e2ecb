"""Losses of the rules that the package brings; snnTorch's and torch's work as well."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snnplug.errors import ArgumentError


def squared_hinge(cur: Tensor, targets: Tensor, shift: float = 0.0) -> Tensor:
    r"""Return the squared hinge loss of the output currents, with the same target at every step.

    .. math::
        L = \operatorname{mean}_{t, b, c} \max(0,\ 1 - y_{bc}\,(I_{bc}[t] - \text{shift}))^2,
        \qquad y_{bc} = +1 \text{ for the sample's class, else } -1

    Args:
        cur: Currents of the output neurons, ``(T, B, C)``.
        targets: Classes, ``(B,)`` of integers.
        shift: What is subtracted first; the authors' convolutional network uses the threshold, 1.

    Returns:
        A 0-dimensional tensor.

    Raises:
        ArgumentError: The shapes do not go together.

    Example:
        >>> squared_hinge(torch.zeros(4, 2, 10), torch.tensor([3, 7])).item()
        1.0

    Reference:
        S. Yin et al., BioCAS 2017.
    """
    if cur.dim() != 3 or targets.shape != cur.shape[1:2]:
        raise ArgumentError(
            f"currents of shape {tuple(cur.shape)} and targets of shape {tuple(targets.shape)}; "
            "squared_hinge takes (T, B, C) and (B,)"
        )
    sign = torch.full(cur.shape[1:], -1.0, dtype=cur.dtype, device=cur.device)
    sign = sign.scatter(1, targets.unsqueeze(1), 1.0)
    return (1.0 - sign * (cur - shift)).clamp(min=0.0).square().mean()


class SquaredHinge(nn.Module):
    """:func:`squared_hinge` as a module, for recipes.

    Args:
        shift: What is subtracted from the currents first.

    Shape:
        - currents ``(T, B, C)``, targets ``(B,)`` → a scalar

    Example:
        >>> SquaredHinge()(torch.zeros(4, 2, 10), torch.tensor([3, 7])).item()
        1.0

    Reference:
        S. Yin et al., BioCAS 2017.
    """

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, cur: Tensor, targets: Tensor) -> Tensor:
        """Return the loss."""
        return squared_hinge(cur, targets, self.shift)


def count_cross_entropy(spk: Tensor, targets: Tensor, scale: float = 1.0) -> Tensor:
    r"""Return the cross entropy of the output neurons' spike counts.

    .. math::
        L = \operatorname{mean}_b \left(
        -\log \frac{e^{\gamma n_{b, y_b}}}{\sum_c e^{\gamma n_{bc}}} \right),
        \qquad n_{bc} = \sum_t s_{bc}[t]

    Args:
        spk: Spikes of the output neurons, ``(T, B, C)``.
        targets: Classes, ``(B,)`` of integers.
        scale: :math:`\gamma`, what one spike is worth.

    Returns:
        A 0-dimensional tensor.

    Raises:
        ArgumentError: The shapes do not go together.

    Example:
        >>> round(count_cross_entropy(torch.zeros(4, 2, 10), torch.tensor([3, 7])).item(), 4)
        2.3026

    Reference:
        ``snntorch.functional.ce_count_loss``, without population codes; deviation: ``scale``.
    """
    if spk.dim() != 3 or targets.shape != spk.shape[1:2]:
        raise ArgumentError(
            f"spikes of shape {tuple(spk.shape)} and targets of shape {tuple(targets.shape)}; "
            "count_cross_entropy takes (T, B, C) and (B,)"
        )
    return nn.functional.cross_entropy(scale * spk.sum(0), targets)


class CountCrossEntropy(nn.Module):
    """:func:`count_cross_entropy` as a module, for recipes.

    For a network that returns output spikes, such as
    :class:`~snnplug.networks.leaky.LeakySNN`.

    Args:
        scale: What one spike is worth.

    Shape:
        - spikes ``(T, B, C)``, targets ``(B,)`` → a scalar

    Example:
        >>> round(CountCrossEntropy()(torch.zeros(4, 2, 10), torch.tensor([3, 7])).item(), 4)
        2.3026

    Reference:
        As :func:`count_cross_entropy`.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, spk: Tensor, targets: Tensor) -> Tensor:
        """Return the loss."""
        return count_cross_entropy(spk, targets, self.scale)


def count_squared_error(
    spk: Tensor,
    targets: Tensor,
    desired: float = 35.0,
    undesired: float = 5.0,
    margin: float = 5.0,
) -> Tensor:
    r"""Return half the squared distance of the output neurons' spike counts from wanted ones.

    .. math::
        L = \operatorname{mean}_b \tfrac{1}{2} \sum_c d_{bc}^2, \qquad
        d_{bc} = n_{bc} - y_{bc} \text{ if } |n_{bc} - y_{bc}| > \text{margin, else } 0, \qquad
        n_{bc} = \sum_t s_{bc}[t]

    Args:
        spk: Spikes of the output neurons, ``(T, B, C)``.
        targets: Classes, ``(B,)`` of integers.
        desired: :math:`y` of the sample's class, in spikes per sequence.
        undesired: :math:`y` of the other classes.
        margin: Distance up to which a count is good enough.

    Returns:
        A 0-dimensional tensor.

    Raises:
        ArgumentError: The shapes do not go together, or a value is negative.

    Example:
        >>> count_squared_error(torch.zeros(4, 2, 10), torch.tensor([3, 7])).item()
        612.5

    Reference:
        Y. Jin, W. Zhang, P. Li, NeurIPS 2018, who have 400 time steps. With fewer, wanted counts
        and margin have to be smaller: a neuron with a refractory time of two steps sends at most
        one spike in three.
    """
    if spk.dim() != 3 or targets.shape != spk.shape[1:2]:
        raise ArgumentError(
            f"spikes of shape {tuple(spk.shape)} and targets of shape {tuple(targets.shape)}; "
            "count_squared_error takes (T, B, C) and (B,)"
        )
    if not min(desired, undesired, margin) >= 0:
        raise ArgumentError(
            f"desired is {desired}, undesired {undesired}, margin {margin}; all are spikes of a "
            "sequence, 0 or more"
        )
    wanted = torch.full(spk.shape[1:], undesired, dtype=spk.dtype, device=spk.device)
    distance = spk.sum(0) - wanted.scatter(1, targets.unsqueeze(1), desired)
    distance = distance.masked_fill(distance.abs() <= margin, 0.0)
    return 0.5 * distance.square().sum(1).mean()


class CountSquaredError(nn.Module):
    """:func:`count_squared_error` as a module, for recipes.

    What HM2-BP and ST-RSBP are stated with; the defaults are their authors'.

    Args:
        desired: Spikes that the neuron of the sample's class should send.
        undesired: Spikes that the others should send.
        margin: Distance up to which a count is good enough.

    Shape:
        - spikes ``(T, B, C)``, targets ``(B,)`` → a scalar

    Example:
        >>> CountSquaredError(margin=0)(torch.zeros(4, 2, 10), torch.tensor([3, 7])).item()
        725.0

    Reference:
        As :func:`count_squared_error`.
    """

    def __init__(self, desired: float = 35.0, undesired: float = 5.0, margin: float = 5.0) -> None:
        super().__init__()
        self.desired = desired
        self.undesired = undesired
        self.margin = margin

    def forward(self, spk: Tensor, targets: Tensor) -> Tensor:
        """Return the loss."""
        return count_squared_error(spk, targets, self.desired, self.undesired, self.margin)
