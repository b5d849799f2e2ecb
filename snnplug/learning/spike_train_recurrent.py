"""Neurons that also hear each other, trained by ST-RSBP or HM2-BP."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snnplug.errors import ArgumentError
from snnplug.learning.rules import Rule, RuleName
from snnplug.learning.spike_train_linear import SpikeTrainLinear

# Of the authors' reservoirs: a fifth of the neurons are called inhibitory, which only sets how
# probable a connection is, by the kinds of its two ends.
_INHIBITORY = 0.2
_SCALE = 1.5
_PROBABILITY = torch.tensor([[0.3, 0.2], [0.4, 0.1]])  # from excitatory, inhibitory; to the same


class SpikeTrainRecurrent(SpikeTrainLinear):
    r"""Fully connected weights, neurons, and weights between these, one step later.

    .. math::
        p[t] = (1 - 1/\tau_s)\, p[t-1] + W x[t-1] + V s[t-1]

    and the rest as in :class:`~snnplug.learning.spike_train_linear.SpikeTrainLinear`. No neuron
    hears itself.

    Backward: both weights learn by :math:`\delta_i\, e_{i|j}` and the rule's factor. For the error
    of the layer before, ST-RSBP solves for each sample of the batch a linear system of as many
    unknowns as there are neurons, which takes ``B x N x N`` numbers. HM2-BP is a rule of layers
    without recurrence: here its factor also counts the recurrent effects, and the error of the
    layer before is that of the direct path.

    Args:
        in_features: Inputs.
        out_features: Neurons.
        threshold: :math:`\theta`.
        rule: ``"st_rsbp"``, ``"hm2bp"``, or one of these rules with other constants.
        tau_mem_steps: :math:`\tau_m`, in time steps.
        tau_syn_steps: :math:`\tau_s`, in time steps.
        refractory_steps: Steps after a spike in which the membrane stays at 0.
        init_range: Weights are drawn uniformly from minus to plus this.
        grid: Places of the neurons, such as ``(5, 5, 10)``. Neurons at a distance d are then
            connected with a probability of :math:`1.5\, C\, e^{-d^2/4}`, with C from 0.1 to 0.4.
            None connects all.
        recurrent_init_range: Weights between the neurons are drawn from minus to plus this;
            ``init_range`` unless given, as the authors do. With every neuron connected to every
            other, a network of one such range begins with bursts.

    Shape:
        - input: ``(T, B, *)`` with ``in_features`` values per step; output: spikes
          ``(T, B, out_features)``

    Raises:
        ArgumentError: An argument is out of its range, or the grid has another number of places.

    Example:
        >>> layer = SpikeTrainRecurrent(20, 8, threshold=2.0)
        >>> spk = layer((torch.rand(50, 3, 20) < 0.2).float())
        >>> spk.sum(0).square().sum().backward()
        >>> spk.shape, layer.recurrent_weight.grad.shape
        (torch.Size([50, 3, 8]), torch.Size([8, 8]))

    Hardware: as its base class; the weights between the neurons are ``<name>.recurrent``, and those
    that the mask takes out have a weight of 0.

    Reference:
        As :class:`~snnplug.learning.rules.STRSBP`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        threshold: float,
        rule: RuleName | Rule = "st_rsbp",
        tau_mem_steps: float = 64.0,
        tau_syn_steps: float = 8.0,
        refractory_steps: int = 2,
        init_range: float = 1.0,
        grid: tuple[int, int, int] | None = None,
        recurrent_init_range: float | None = None,
    ) -> None:
        super().__init__(
            in_features,
            out_features,
            threshold,
            rule,
            tau_mem_steps,
            tau_syn_steps,
            refractory_steps,
            init_range=init_range,
        )
        most = init_range if recurrent_init_range is None else recurrent_init_range
        if most < 0:
            raise ArgumentError(f"recurrent_init_range is {most}; it may not be negative")
        self.recurrent_init_range = most
        self.recurrent_weight = nn.Parameter(torch.empty(out_features, out_features))
        mask = 1 - torch.eye(out_features) if grid is None else _local(grid, out_features)
        self.register_buffer("recurrent_mask", mask)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        super().reset_parameters()
        if self.recurrent_weight is not None:
            most = self.recurrent_init_range
            nn.init.uniform_(self.recurrent_weight, -most, most)


def _local(grid: tuple[int, int, int], neurons: int) -> Tensor:
    """Return which neurons on a grid hear which, at random."""
    places = torch.cartesian_prod(*(torch.arange(float(n)) for n in grid))
    if len(grid) != 3 or len(places) != neurons:
        raise ArgumentError(
            f"grid is {grid}, with {len(places)} places; it takes three sizes whose product is the "
            f"number of neurons, {neurons}"
        )
    kind = (torch.rand(neurons) < _INHIBITORY).long()
    probability = _PROBABILITY[kind.unsqueeze(0), kind.unsqueeze(1)]
    near = torch.exp(-torch.cdist(places, places).square() / 4)
    mask = (torch.rand(neurons, neurons) < _SCALE * probability * near).float()
    return mask.fill_diagonal_(0)
