"""Finding the weight of an energy penalty at which a network meets a budget."""

from __future__ import annotations

from math import exp, isfinite, log
from typing import Any

from torch import Tensor

from snnplug.errors import ArgumentError

#: The weight stays between these; the penalty is that many times the energy per budget.
LOWEST, HIGHEST = 1e-4, 1e3
#: An error of the energy counts up to a factor of e, so that a network which begins far off does
#: not drive the weight further than it takes.
_LARGEST_ERROR = 1.0


class EnergyBudget:
    r"""The multiplier of a constraint on energy, found by dual ascent while the network trains.

    Training under the constraint :math:`E \le E_0` has the Lagrangian
    :math:`L + \lambda\,(E / E_0 - 1)`. The loss descends on it in the weights, this object ascends
    in :math:`\log\lambda`, which keeps :math:`\lambda` positive and its steps in proportion:

    .. math::
        e_k = \operatorname{clip}(\log(\bar E_k / E_0), -1, 1), \qquad
        \log \lambda_{k+1} = \log \lambda_k + a\, e_k + b\, (e_k - e_{k-1})

    with :math:`\bar E` a running geometric mean of the batches' energies. The second term, in
    proportion to the change, damps the oscillation that ascent alone falls into, because the
    network follows :math:`\lambda` with a lag. The budget binds only if the network would take
    more without it; otherwise :math:`\lambda` sinks to its lower bound.

    The budget is meant for evaluation, where there is no dropout or augmentation and perhaps
    another number of time steps. :meth:`calibrate` takes in what an evaluation has measured:
    batches are then held to the budget times the ratio of the two.

    Args:
        budget_nj: :math:`E_0`, energy per inference, in nJ.
        rate: :math:`a`, what an error of a factor of e adds to :math:`\log\lambda` in each step.
        damping: :math:`b`.
        weight: :math:`\lambda` to begin with.
        memory: Share of the running mean that stays in each step.

    Raises:
        ArgumentError: A number is out of its range.

    Example:
        >>> budget = EnergyBudget(100.0)
        >>> for _ in range(10):
        ...     budget.update(150.0)
        >>> budget.weight > 0.01  # too much: energy gets dearer
        True

    Reference:
        J. C. Platt and A. H. Barr, "Constrained differential optimization", NIPS 1987, for descent
        in the weights and ascent in the multiplier at once; A. Stooke et al., "Responsive safety
        in reinforcement learning by PID Lagrangian methods", ICML 2020, for the damping. Deviation:
        logarithms of multiplier and energy.
    """

    def __init__(
        self,
        budget_nj: float,
        rate: float = 0.03,
        damping: float = 1.0,
        weight: float = 0.01,
        memory: float = 0.9,
    ) -> None:
        if not (budget_nj > 0 and isfinite(budget_nj)):
            raise ArgumentError(f"budget_nj is {budget_nj}; give a positive energy in nJ")
        if not (rate > 0 and damping >= 0 and isfinite(rate + damping)):
            raise ArgumentError(
                f"rate is {rate} and damping {damping}; give a positive and a not negative number"
            )
        if not LOWEST <= weight <= HIGHEST:
            raise ArgumentError(f"weight is {weight}; it begins between {LOWEST} and {HIGHEST}")
        if not 0 <= memory < 1:
            raise ArgumentError(f"memory is {memory}; it is a share, 0 or more and below 1")
        self.budget_nj = budget_nj
        self.rate = rate
        self.damping = damping
        self.memory = memory
        self._log_weight = log(weight)
        self._log_ratio = 0.0
        self._log_mean: float | None = None  # of the batches' energy over the budget
        self._error: float | None = None

    @property
    def weight(self) -> float:
        """The multiplier now."""
        return exp(self._log_weight)

    def penalty(self, energy_nj: Tensor) -> Tensor:
        """Return what to add to the loss of a batch that takes ``energy_nj`` per inference."""
        return self.weight * exp(self._log_ratio) / self.budget_nj * energy_nj

    def update(self, energy_nj: float) -> None:
        """Adapt the multiplier to a batch.

        Args:
            energy_nj: What the batch took per inference, in nJ.
        """
        if not (energy_nj > 0 and isfinite(energy_nj)):
            raise ArgumentError(f"energy_nj is {energy_nj}; a batch takes a positive energy")
        now = log(energy_nj / self.budget_nj)
        before = now if self._log_mean is None else self._log_mean
        self._log_mean = self.memory * before + (1 - self.memory) * now
        error = self._clipped_error()
        change = 0.0 if self._error is None else error - self._error
        self._error = error
        moved = self._log_weight + self.rate * error + self.damping * change
        self._log_weight = max(log(LOWEST), min(log(HIGHEST), moved))

    def calibrate(self, energy_nj: float) -> None:
        """Take in what an evaluation of the network as it is now has measured.

        Args:
            energy_nj: Its energy per inference, in nJ.
        """
        if self._log_mean is None or not energy_nj > 0:
            return
        self._log_ratio = log(energy_nj / self.budget_nj) - self._log_mean
        self._error = self._clipped_error()  # the scale has changed, not the network

    def state_dict(self) -> dict[str, Any]:
        """Return what :meth:`load_state_dict` needs to go on."""
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another one stopped."""
        for name in _STATE:
            setattr(self, name, state[name])

    def _clipped_error(self) -> float:
        error = (self._log_mean or 0.0) + self._log_ratio
        return max(-_LARGEST_ERROR, min(_LARGEST_ERROR, error))


_STATE = ("_log_weight", "_log_ratio", "_log_mean", "_error")
