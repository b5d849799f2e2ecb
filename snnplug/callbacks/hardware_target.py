"""The hardware bill of the network being trained, every epoch, beside its accuracy."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_warn

from snnplug.callbacks.figures import log_figures
from snnplug.callbacks.processes import gather_texts
from snnplug.callbacks.run_folder import run_folder, write_json, write_plots, write_text
from snnplug.errors import ArgumentError
from snnplug.hardware.activity import Activity
from snnplug.hardware.counting import Meter, measure
from snnplug.hardware.report import EnergyReport
from snnplug.hardware.report_plot import bill_plots
from snnplug.hardware.target import Target, load_target
from snnplug.training.media import log_table


class HardwareTarget(pl.Callback):
    """Prices the network on a hardware target, during the normal validation and test passes.

    Counts what the layers of ``pl_module.network`` do in each validation batch and logs in
    ``on_validation_epoch_end``, so that the figures stand in the same row as ``val/acc`` and
    checkpoints and early stopping can monitor them. No extra forward pass is made.

    Logged keys, ``<target>`` being the target's name in snake case:

    - ``hardware/<target>/energy_nj`` — energy per inference; ``energy_nj_low`` and
      ``energy_nj_high`` — the calibration band
    - ``hardware/<target>/latency_us``, ``latency_pipelined_us``, ``area_mm2``, ``pj_per_synop``
    - ``hardware/<target>/dense_nj`` — the same datapath without skipping zeros;
      ``sparsity_gain`` — how many times more that is
    - ``hardware/<target>/ann_nj`` — the conventional network of the same shape on these memories;
      ``matched_nj`` — with as many bits as the time steps can count; ``break_even_num_steps``
    - ``hardware/<target>/parts/<part>_nj`` — scan, weight_read, accumulate, membrane, neuron,
      output, control, leakage
    - ``activity/synops``, ``activity/spikes_per_synapse``, ``activity/firing_rate/<layer>`` — what
      was counted, whatever the target

    In a test pass the same keys stand under ``test/``. The per-layer table is logged at the end of
    the fit, the target's whole description in the run's config.

    Args:
        target: Name of a packaged target, path of a TOML file, or a target.
        max_batches: Count at most this many batches of a pass; None counts all.

    Raises:
        ArgumentError: The module has no ``network``, or ``max_batches`` is not positive.
        TargetError: There is no such target, or its description is not valid.

    Example:
        >>> import lightning.pytorch as pl
        >>> trainer = pl.Trainer(callbacks=[HardwareTarget("yin2017-28nm")], logger=False,
        ...                      enable_checkpointing=False, enable_progress_bar=False,
        ...                      enable_model_summary=False, accelerator="cpu")
    """

    def __init__(
        self, target: str | Path | Target = "yin2017-28nm", max_batches: int | None = None
    ):
        if max_batches is not None and max_batches < 1:
            raise ArgumentError(f"max_batches is {max_batches}; give at least 1, or null for all")
        self.target = load_target(target)
        self.max_batches = max_batches
        self.report: EnergyReport | None = None
        self.activity: Activity | None = None
        self._meter: Meter | None = None

    @property
    def state_key(self) -> str:
        """Tell apart callbacks with different targets in a checkpoint."""
        return f"{type(self).__qualname__}[{self.target.name}]"

    def state_dict(self) -> dict[str, Any]:
        """Return what the last validation counted, for a run that stopped right after it."""
        return {} if self.activity is None else {"activity": self.activity.to_json()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Price it again: a run with no epoch left has a bill to write, too."""
        if "activity" in state_dict:
            self.activity = Activity.from_json(state_dict["activity"])
            self.report = self.target.price(self.activity)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check the module, and write the target into the run's config."""
        if not isinstance(getattr(pl_module, "network", None), torch.nn.Module):
            raise ArgumentError(
                f"{type(pl_module).__name__} has no attribute `network`; HardwareTarget counts "
                "what the layers of that module do"
            )
        if stage == "fit":
            if trainer.enable_validation is False:
                rank_zero_warn(
                    "HardwareTarget counts in the validation pass, and this run has none: "
                    "nothing will be priced while it trains"
                )
            description = {
                "target": self.target.name,
                "fingerprint": self.target.fingerprint,
                **self.target.describe(),
            }
            for logger in trainer.loggers:
                logger.log_hyperparams({"hardware_target": description})

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count."""
        if not trainer.sanity_checking:
            self._start(pl_module)

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count."""
        self._start(pl_module)

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        """Stop after ``max_batches``."""
        self._stop_after(args[2])

    def on_test_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        """Stop after ``max_batches``."""
        self._stop_after(args[2])

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Price what was counted, and log it."""
        self._finish(trainer, pl_module, prefix="")

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Price what was counted, and log it."""
        self._finish(trainer, pl_module, prefix="test/")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave the network as it was."""
        self._stop()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Leave the network as it was."""
        self._stop()

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the bill of the test set into the run's folder."""
        self._write(trainer, "_test")

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the per-layer table, and write the bill into the run's folder."""
        if self.report is None:
            return
        columns, rows = self.report.rows()
        log_table(trainer.loggers, f"hardware/{self.target.key}/layers", columns, rows)
        self._write(trainer, "")

    def _write(self, trainer: pl.Trainer, of: str) -> None:
        """Write the bill, and what it is the price of, into the run's folder."""
        for folder in map(run_folder, trainer.loggers):
            if folder is not None and self.report is not None and self.activity is not None:
                write_json(folder / f"hardware{of}.json", self.report.to_dict())
                write_text(folder / f"activity{of}.json", self.activity.to_json() + "\n")
                write_plots(folder, of, partial(bill_plots, self.report))

    def _start(self, pl_module: pl.LightningModule) -> None:
        self._stop()
        # setup has checked that there is one
        self._meter = measure(cast(torch.nn.Module, pl_module.network)).__enter__()

    def _stop(self) -> None:
        if self._meter is not None:
            self._meter.__exit__(None, None, None)

    def _stop_after(self, batch_idx: int) -> None:
        if self.max_batches is not None and batch_idx + 1 >= self.max_batches:
            self._stop()

    def _finish(self, trainer: pl.Trainer, pl_module: pl.LightningModule, prefix: str) -> None:
        if self._meter is None or trainer.sanity_checking:
            return
        self._stop()
        activity = counted_by_all(self._meter, trainer, pl_module.device)
        self._meter = None
        self.activity, self.report = activity, self.target.price(activity)
        if self.report.unpriced:
            rank_zero_warn(
                f"{self.target.name} cannot price {', '.join(self.report.unpriced)}: their work is "
                "in no figure"
            )
        figures = {
            f"{prefix}hardware/{self.target.key}/{key}": value
            for key, value in self.report.scalars().items()
        }
        figures[f"{prefix}activity/synops"] = activity.synops
        figures[f"{prefix}activity/spikes_per_synapse"] = activity.spikes_per_synapse
        for layer, rate in activity.firing_rates().items():
            figures[f"{prefix}activity/firing_rate/{layer.replace('.', '_')}"] = rate
        # The same numbers on every process, since the counts were added up before pricing.
        log_figures(pl_module, figures)


def counted_by_all(meter: Meter, trainer: pl.Trainer, device: torch.device) -> Activity:
    """Return the counts of all processes together.

    Args:
        meter: That of this process; it may have seen nothing if another has.
        trainer: Knows the processes.
        device: Of this process.
    """
    if trainer.world_size == 1:
        return meter.activity()
    activity = meter.activity() if meter.samples else Activity(0, ())
    return activity.over_processes(lambda text: gather_texts(text, trainer, device))
