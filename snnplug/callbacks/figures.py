"""Logging many figures at the end of an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch


def log_figures(pl_module: pl.LightningModule, figures: Mapping[str, float]) -> None:
    """Log figures that are the same on every process, once an epoch, in little time.

    What it does is ``pl_module.log_dict(figures)``. The processes of a run take the largest of the
    equal numbers, which is the number itself, where a mean would round it; unless it reduces them
    somehow, Lightning warns of each. ``log_dict`` takes 0.3 ms a figure, most of it for
    copying what Lightning knows about the figure each time, to move it to the device that it is on
    already. From the second epoch on the values are therefore entered where the first has put
    them; if a Lightning has no such place, all are logged as usual.

    Args:
        pl_module: The module, in a hook that ends an epoch.
        figures: Values by key.
    """
    how: dict[str, Any] = {"rank_zero_only": False}
    if pl_module.trainer.world_size > 1:
        how |= {"sync_dist": True, "reduce_fx": "max"}
    trainer: Any = pl_module.trainer
    results: Any = getattr(trainer, "_results", None)
    hook = str(getattr(pl_module, "_current_fx_name", None))
    rest = [name for name in figures if f"{hook}.{name}" in (results or ())]
    if rest and not (hasattr(results, "update_metrics") and _begins(trainer, results, hook)):
        rest = []
    usual = {name: value for name, value in figures.items() if name not in rest}
    if usual:
        pl_module.log_dict(usual, **how)
    if not rest:
        return
    values = torch.tensor(
        [figures[name] for name in rest], dtype=torch.get_default_dtype(), device=pl_module.device
    )
    for name, value in zip(rest, values.unbind(), strict=True):
        results.update_metrics(f"{hook}.{name}", value, 1)


def _begins(trainer: Any, results: Any, hook: str) -> bool:
    """Clear what this hook has logged in the last epoch, as the first figure of one does.

    Returns:
        Whether that was possible.
    """
    connector: Any = getattr(trainer, "_logger_connector", None)
    if not hasattr(connector, "should_reset_tensors") or not hasattr(connector, "_current_fx"):
        return False
    if connector.should_reset_tensors(hook):
        results.reset(metrics=False, fx=hook)
    connector._current_fx = hook
    return True
