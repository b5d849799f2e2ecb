"""What the layers of the spike-train rules share."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from snnplug.errors import ArgumentError
from snnplug.kernels.spike_train import SpikeTrainDynamics
from snnplug.learning.function import Layer, spike_train
from snnplug.learning.rules import HM2BP, STRSBP, Rule, RuleName, rule_of
from snnplug.learning.synapses import Synapses
from snnplug.learning.weight_penalty import WeightPenalty, penalised


class SpikeTrainLayer(nn.Module):
    """Weights and the neurons behind them, trained by their counts over a whole sequence.

    Args:
        weight: Weights before they are drawn.
        init_range: They are drawn uniformly from minus to plus this.
        dynamics: Of the neurons.
        rule: Name of a rule, or a rule.
        revived_spikes: Spikes of a regular train that stands in, backward, for a silent neuron
            which the loss wants to fire; 0 for none.
    """

    #: A :class:`~snnplug.layers.sequential.SpikingSequential` gives it all time steps.
    whole_sequence: ClassVar[bool] = True
    #: Whose weights the hardware model takes its own for.
    counts_as: ClassVar[str]
    recurrent_weight: nn.Parameter | None
    recurrent_mask: Tensor

    def __init__(
        self,
        weight: Tensor,
        init_range: float,
        dynamics: SpikeTrainDynamics,
        rule: RuleName | Rule,
        revived_spikes: int = 0,
    ) -> None:
        super().__init__()
        if revived_spikes < 0 or init_range < 0:
            raise ArgumentError(
                f"revived_spikes is {revived_spikes}, init_range {init_range}; neither may be "
                "negative"
            )
        self.dynamics = dynamics
        self.rule = rule_of(rule)
        self.revived_spikes = revived_spikes
        self.init_range = init_range
        #: Added to the gradients of its weights; None for nothing.
        self.weight_penalty: WeightPenalty | None = None
        self.weight = nn.Parameter(weight)
        self.register_parameter("recurrent_weight", None)
        self.reset_parameters()

    @property
    def compiles(self) -> bool:
        """Whether ``torch.compile`` takes it, as operators that know the rules of this package."""
        return type(self.rule) in (HM2BP, STRSBP)

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        nn.init.uniform_(self.weight, -self.init_range, self.init_range)

    def run(self, x: Tensor, synapses: Synapses) -> Tensor:
        """Return the spikes ``(T, B, N)`` of trains ``(T, B, inputs)``."""
        own = self.recurrent_weight
        recurrent = None
        if own is not None:
            recurrent = penalised(own * self.recurrent_mask, self.weight_penalty)
        weight = penalised(self.weight, self.weight_penalty)
        layer = Layer(synapses, self.dynamics, self.rule, self.revived_spikes)
        return spike_train(x, weight, recurrent, layer)

    def extra_repr(self) -> str:
        """Show the sizes, the threshold and the rule."""
        shape = tuple(self.weight.shape)
        return f"weight={shape}, threshold={self.dynamics.threshold:g}, rule={self.rule}"


def checked(x: Tensor, features: int, what: str) -> Tensor:
    """Return ``(T, B, *)`` as ``(T, B, features)``.

    Raises:
        ArgumentError: It has no time step, or another number of features.
    """
    if x.dim() < 3 or x.shape[0] == 0 or x[0, :1].numel() != features * x[:1, :1].shape[1]:
        raise ArgumentError(
            f"input of shape {tuple(x.shape)}; {what} takes (T, B, *) with T >= 1 and {features} "
            "values per sample and step"
        )
    return x.flatten(2)
