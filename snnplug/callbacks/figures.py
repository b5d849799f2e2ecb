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
    results: Any = getattr(pl_module.trainer, "_results", None)
    prefix = f"{getattr(pl_module, '_current_fx_name', None)}."
    known = {name for name in figures if prefix + name in (results or ())}
    if not known or not hasattr(results, "update_metrics"):
        pl_module.log_dict(dict(figures), **how)
        return
    # One of them, and what is new, the usual way: it prepares the epoch.
    first = next(iter(known))
    usual = {name: value for name, value in figures.items() if name not in known or name == first}
    pl_module.log_dict(usual, **how)
    rest = [name for name in figures if name not in usual]
    values = torch.tensor(
        [figures[name] for name in rest], dtype=torch.get_default_dtype(), device=pl_module.device
    )
    for name, value in zip(rest, values.unbind(), strict=True):
        results.update_metrics(prefix + name, value, 1)
