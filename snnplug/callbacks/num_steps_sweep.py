"""Accuracy and energy of the trained network over the number of time steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.table import Table

from snnplug.callbacks.hardware_target import HardwareTarget
from snnplug.callbacks.run_folder import run_folder, write_json
from snnplug.errors import ArgumentError
from snnplug.hardware.counting import measure
from snnplug.hardware.report import EnergyReport
from snnplug.hardware.report_table import amount
from snnplug.training.classifier import SpikingClassifier
from snnplug.training.decoding import decode
from snnplug.training.encoding import Encoding
from snnplug.training.media import log_table


@dataclass(frozen=True)
class Point:
    """One number of time steps: what it decides rightly and what that costs."""

    num_steps: int
    accuracy: float
    report: EnergyReport


class NumStepsSweep(pl.Callback):
    """Measures, after the test, the test set at several numbers of time steps.

    For networks with an encoder, whose number of steps is free after training. Each point is a
    pass of its own over the test set: spikes, decisions and counts are those of that many steps.
    Prints the table beside what the target's source published, writes ``num_steps.json`` into the
    run's folder and logs the table ``hardware/<target>/num_steps``.

    Args:
        num_steps: The numbers of time steps.

    Raises:
        ArgumentError: No number is given or one is not positive; the module has no encoder; or
            there is no :class:`HardwareTarget` to price with.
    """

    def __init__(self, num_steps: Sequence[int] = (1, 2, 4, 8, 16)) -> None:
        if not num_steps or min(num_steps) < 1:
            raise ArgumentError(
                f"num_steps is {list(num_steps)}; give one or more positive numbers"
            )
        self.num_steps = list(num_steps)
        self.points: list[Point] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check that there is something to sweep and something to price with."""
        if not isinstance(pl_module, SpikingClassifier) or pl_module.encoder is None:
            raise ArgumentError(
                "NumStepsSweep changes the encoder's number of steps, and this model has no "
                "encoder; remove the callback"
            )
        self._target(trainer)

    @staticmethod
    def _target(trainer: pl.Trainer) -> HardwareTarget:
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # lacks annotation
        for callback in callbacks:
            if isinstance(callback, HardwareTarget):
                return callback
        raise ArgumentError(
            "NumStepsSweep prices with HardwareTarget, which is not in this trainer"
        )

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure every point and show the table."""
        model = cast(SpikingClassifier, pl_module)  # setup has checked both
        encoder = cast(Encoding, model.encoder)
        usual = encoder.num_steps
        try:
            self.points = []
            for num_steps in self.num_steps:
                encoder.num_steps = num_steps
                encoder.restart()
                self.points.append(self._measure(trainer, model, num_steps))
        finally:
            encoder.num_steps = usual
        self._show(trainer)

    def _measure(self, trainer: pl.Trainer, model: SpikingClassifier, num_steps: int) -> Point:
        loaders: Any = trainer.test_dataloaders
        right = total = 0
        with measure(model.network) as meter, torch.inference_mode():
            for samples, targets in loaders:
                spk, cur = model(samples.to(model.device))
                decided = decode(spk, cur, model.decoding)
                right += int((decided == targets.to(model.device)).sum())
                total += len(targets)
        report = self._target(trainer).target.price(meter.activity())
        return Point(num_steps, right / total, report)

    @rank_zero_only
    def _show(self, trainer: pl.Trainer) -> None:
        columns = [
            "num_steps",
            "test_acc",
            "energy_nj",
            "energy_nj_low",
            "energy_nj_high",
            "latency_us",
        ]
        rows: list[list[Any]] = [
            [
                point.num_steps,
                point.accuracy,
                point.report.energy_nj,
                point.report.energy_nj_low,
                point.report.energy_nj_high,
                point.report.latency_us,
            ]
            for point in self.points
        ]
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in ("T", "test accuracy", "nJ/inference", "band", "µs"):
            table.add_column(name, justify="right")
        for steps, accuracy, energy, low, high, latency in rows:
            table.add_row(
                str(steps),
                f"{100 * accuracy:.2f} %",
                amount(energy, 1),
                f"{amount(low, 1)} … {amount(high, 1)}",
                amount(latency, 1),
            )
        target = self._target(trainer).target
        console = Console(highlight=False)
        console.print(table)
        if target.published_nj is not None:
            low, high = target.published_nj
            console.print(f"published for {target.name}: {low:,g} … {high:,g} nJ/inference")
        console.print(f"[dim]{target.statement}[/]")
        log_table(trainer.loggers, f"hardware/{target.key}/num_steps", columns, rows)
        for logger in trainer.loggers:
            folder = run_folder(logger)
            if folder is not None:
                content = [dict(zip(columns, row, strict=True)) for row in rows]
                write_json(folder / "num_steps.json", content)
