"""One number for accuracy and energy, to stop early by or to keep the best checkpoint by."""

from __future__ import annotations

import math
from typing import Any

import lightning.pytorch as pl

from snnplug.callbacks.figures import log_figures
from snnplug.callbacks.hardware_target import HardwareTarget
from snnplug.errors import ArgumentError


class AccuracyEnergyScore(pl.Callback):
    r"""Logs ``val/score``: the accuracy less what the energy is worth.

    .. math::
        s = a - w E

    with the validation accuracy :math:`a` in :math:`[0, 1]`, the energy :math:`E` per inference on
    the first :class:`~snnplug.callbacks.hardware_target.HardwareTarget` in nJ, and the weight
    :math:`w`. Higher is better.

    Args:
        weight_per_nj: :math:`w`, the accuracy that one nJ is worth: 0.0001 gives up a point of
            accuracy for 100 nJ. None logs nothing.

    Raises:
        ArgumentError: The weight is negative or no number.

    Example:
        >>> import lightning.pytorch as pl
        >>> from lightning.pytorch.callbacks import EarlyStopping
        >>> stop = EarlyStopping("val/score", mode="max", patience=3)
        >>> trainer = pl.Trainer(callbacks=[HardwareTarget(), AccuracyEnergyScore(1e-4), stop],
        ...                      logger=False, enable_checkpointing=False, accelerator="cpu",
        ...                      enable_progress_bar=False, enable_model_summary=False)
    """

    def __init__(self, weight_per_nj: float | None = None) -> None:
        if weight_per_nj is not None and not 0 <= weight_per_nj < math.inf:
            raise ArgumentError(
                f"weight_per_nj is {weight_per_nj}; give the accuracy that a nJ is worth, 0 or more"
            )
        self.weight_per_nj = weight_per_nj

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the score of what was validated and priced."""
        if self.weight_per_nj is None or trainer.sanity_checking:
            return
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # lacks annotation
        bills = [callback for callback in callbacks if isinstance(callback, HardwareTarget)]
        accuracy = trainer.callback_metrics.get("val/acc")
        energy_nj = bills[0].report.energy_nj if bills and bills[0].report is not None else None
        if accuracy is None or energy_nj is None:
            raise ArgumentError(
                "AccuracyEnergyScore needs val/acc and, before it in the list of callbacks, a "
                "HardwareTarget that gives an energy"
            )
        score = float(accuracy) - self.weight_per_nj * energy_nj
        log_figures(pl_module, {"val/score": score})
