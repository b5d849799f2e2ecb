"""Training on the energy as well: a fixed price of energy, or a budget that is met."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from math import isfinite
from typing import Any, cast

import lightning.pytorch as pl
import torch
from torch import Tensor

from snnplug.callbacks.hardware_target import HardwareTarget
from snnplug.errors import ArgumentError
from snnplug.hardware.energy_meter import EnergyMeter, floor_nj
from snnplug.training.energy_budget import EnergyBudget


class EnergyPenalty(pl.Callback):
    r"""Adds the energy of every training batch to the loss, on the target of the run's bill.

    With ``budget_nj`` the loss is :math:`L + \lambda E / E_0`, and an
    :class:`~snnplug.training.energy_budget.EnergyBudget` adapts :math:`\lambda` until the energy of
    the validation pass, ``hardware/<target>/energy_nj``, is the budget. With ``weight_per_nj`` it
    is :math:`L + w E`, without a goal. With neither the callback does nothing.

    The energy is that of :class:`~snnplug.hardware.energy_meter.EnergyMeter`, counted in the
    forward pass of ``pl_module.network`` that the training step makes anyway; the step's loss is
    added to before Lightning scales or divides it.

    Logged keys, ``<target>`` being the target's name in snake case:

    - ``hardware/<target>/train_energy_nj`` — energy per inference of the training batches
    - ``hardware/<target>/energy_weight`` — the weight that the energy has in the loss now, per nJ
    - ``hardware/<target>/over_budget`` — validation energy over the budget, less 1
    - ``val/acc_within_budget`` — ``val/acc`` of an epoch whose energy is at most ``1 + tolerance``
      times the budget; of any other epoch, minus its ``over_budget``. A checkpoint that monitors it
      keeps the most accurate network that meets the budget, or the one closest to it.

    The multiplier is kept in checkpoints: a run that is resumed is the run that never stopped.

    Args:
        budget_nj: Energy per inference to meet in validation, in nJ.
        weight_per_nj: Fixed weight of a nJ in the loss.
        tolerance: How far above the budget an epoch still meets it.
        rate: As in :class:`~snnplug.training.energy_budget.EnergyBudget`; a run of few steps needs
            more.
        damping: As there.
        target: Name of the target, where the run has several bills; None for its only one.

    Raises:
        ArgumentError: Budget and weight are both given, or out of range; there is no bill to
            train on, or it comes later in the list of callbacks; the module has no ``network`` or
            optimises by hand; the network exceeds the budget without one spike of its own.
        TargetError: The target's energy is not linear in the spikes.

    Example:
        >>> import lightning.pytorch as pl
        >>> from snnplug import HardwareTarget
        >>> callbacks = [HardwareTarget("yin2017-28nm"), EnergyPenalty(budget_nj=100)]
        >>> trainer = pl.Trainer(callbacks=callbacks, logger=False, accelerator="cpu",
        ...                      enable_checkpointing=False, enable_progress_bar=False,
        ...                      enable_model_summary=False)
    """

    def __init__(
        self,
        budget_nj: float | None = None,
        weight_per_nj: float | None = None,
        tolerance: float = 0.05,
        rate: float = 0.03,
        damping: float = 1.0,
        target: str | None = None,
    ) -> None:
        if budget_nj is not None and weight_per_nj is not None:
            raise ArgumentError(
                f"budget_nj is {budget_nj} and weight_per_nj {weight_per_nj}; give one of them: a "
                "budget finds its weight"
            )
        if weight_per_nj is not None and not (weight_per_nj >= 0 and isfinite(weight_per_nj)):
            raise ArgumentError(f"weight_per_nj is {weight_per_nj}; give 0 or more")
        if not (tolerance >= 0 and isfinite(tolerance)):
            raise ArgumentError(f"tolerance is {tolerance}; give 0 or more, 0.05 for 5 %")
        self.weight_per_nj = weight_per_nj
        self.tolerance = tolerance
        self.budget = None if budget_nj is None else EnergyBudget(budget_nj, rate, damping)
        self.target = target
        self._bill: HardwareTarget | None = None
        self._meter: EnergyMeter | None = None
        self._undo: Callable[[], None] | None = None

    @property
    def state_key(self) -> str:
        """Tell apart callbacks with different targets in a checkpoint."""
        return f"{type(self).__qualname__}[{self.target}]"

    @property
    def _is_on(self) -> bool:
        return self.budget is not None or self.weight_per_nj is not None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Find the bill, and let the training step add the energy to its loss."""
        if not self._is_on or stage != "fit":
            return
        if not pl_module.automatic_optimization:
            raise ArgumentError(
                f"{type(pl_module).__name__} optimises by hand, so there is no loss to add the "
                "energy to; use EnergyMeter and EnergyBudget in its training_step"
            )
        self._bill = self._find_bill(trainer)
        self._bill.setup(trainer, pl_module, "check")  # that there is a network
        network = cast(torch.nn.Module, pl_module.network)
        self._meter = EnergyMeter(network, self._bill.target)
        self._wrap_training_step(pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hold the training to what the validation has measured."""
        bill, meter = self._bill, self._meter
        if self.budget is None or bill is None or meter is None or trainer.sanity_checking:
            return
        if bill.report is None or bill.activity is None or bill.report.energy_nj is None:
            return
        energy_nj, budget_nj = bill.report.energy_nj, self.budget.budget_nj
        least_nj = floor_nj(bill.target, bill.activity, meter.trained)
        if least_nj > budget_nj:
            raise ArgumentError(
                f"budget_nj is {budget_nj:g}, and on {bill.target.name} the network takes "
                f"{least_nj:.4g} nJ without one spike of its own, for its input, membranes and "
                "leakage; give more, or a smaller first layer"
            )
        self.budget.calibrate(energy_nj)
        over = energy_nj / budget_nj - 1
        figures = {f"hardware/{bill.target.key}/over_budget": over}
        accuracy = trainer.callback_metrics.get("val/acc")
        if accuracy is not None:
            met = over <= self.tolerance
            figures["val/acc_within_budget"] = float(accuracy) if met else -over
        pl_module.log_dict(figures, sync_dist=False, rank_zero_only=False)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave the module as it was."""
        self._unwrap()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Leave the module as it was."""
        self._unwrap()

    def state_dict(self) -> dict[str, Any]:
        """Return the multiplier."""
        return {} if self.budget is None else self.budget.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the multiplier of a checkpoint."""
        if self.budget is not None and state_dict:
            self.budget.load_state_dict(state_dict)

    def _find_bill(self, trainer: pl.Trainer) -> HardwareTarget:
        callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # no annotation
        before = callbacks[: callbacks.index(self)]
        bills = [c for c in before if isinstance(c, HardwareTarget)]
        found = [c for c in bills if self.target in (None, c.target.name)]
        if len(found) != 1:
            names = ", ".join(c.target.name for c in bills) or "none"
            raise ArgumentError(
                f"EnergyPenalty trains on the bill of one HardwareTarget before it in the list of "
                f"callbacks, target={self.target!r}; there are: {names}"
            )
        return found[0]

    def _wrap_training_step(self, pl_module: pl.LightningModule) -> None:
        step = pl_module.training_step

        @wraps(step)
        def with_energy(*args: Any, **kwargs: Any) -> Any:
            meter = cast(EnergyMeter, self._meter)
            with meter:
                out = step(*args, **kwargs)
            if out is None:  # the step skips this batch
                return None
            energy_nj = meter.energy_nj()
            penalty = self._penalty(pl_module, energy_nj)
            if isinstance(out, Tensor):
                return out + penalty
            return {**out, "loss": out["loss"] + penalty}

        pl_module.training_step = with_energy  # type: ignore[method-assign]
        self._undo = lambda: pl_module.__dict__.pop("training_step", None)

    def _unwrap(self) -> None:
        if self._undo is not None:
            self._undo()
        self._undo = self._meter = None

    def _penalty(self, pl_module: pl.LightningModule, energy_nj: Tensor) -> Tensor:
        """Return what the loss gets, and adapt the multiplier to the batch."""
        trainer = pl_module.trainer
        mean_nj = energy_nj.detach()
        if trainer.world_size > 1:  # one multiplier for all processes
            mean_nj = cast(Tensor, trainer.strategy.reduce(mean_nj.clone(), reduce_op="mean"))
        if self.budget is None:
            penalty = cast(float, self.weight_per_nj) * energy_nj
        else:
            self.budget.update(mean_nj.item())
            penalty = self.budget.penalty(energy_nj)
        target = cast(HardwareTarget, self._bill).target
        weight = (penalty.detach() / energy_nj.detach()).item()
        key, samples = f"hardware/{target.key}", cast(EnergyMeter, self._meter).activity().samples
        pl_module.log(
            f"{key}/train_energy_nj", mean_nj, on_step=False, on_epoch=True, batch_size=samples
        )
        pl_module.log(f"{key}/energy_weight", weight, on_step=False, on_epoch=True, batch_size=1)
        return penalty
