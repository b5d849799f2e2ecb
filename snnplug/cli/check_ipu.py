"""``snnplug check-ipu``: what PopTorch's rules say of the training step of a recipe or a run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from snnplug.backends.ipu import Readiness, check_ipu, training_step
from snnplug.backends.ipu.readiness import STATEMENT
from snnplug.cli.export import batch_size_of, optimizer_of
from snnplug.cli.recipes import resolve_configs
from snnplug.cli.trained import Built, built, built_from
from snnplug.errors import ArgumentError
from snnplug.files import write_whole
from snnplug.training.ctc import CTC


def check_ipu_command(args: Sequence[str]) -> int:
    """Run ``snnplug check-ipu RECIPE|RUN|CKPT``; 0 if the step passes, 1 if it does not."""
    given = _parser().parse_args(args)
    subject = _subject(given.subject)
    num_steps = given.num_steps or _num_steps(subject)
    batch_size = given.batch_size or batch_size_of(subject)
    if min(num_steps, batch_size) < 1:
        raise ArgumentError(f"--num-steps {num_steps} --batch-size {batch_size}; both at least 1")
    form, report, optimizer = checked(subject, num_steps, batch_size)
    facts = {
        "subject": given.subject,
        "form": form,
        "num_steps": num_steps,
        "batch_size": batch_size,
        "optimizer": optimizer,
    }
    Console(highlight=False).print(_table(report, facts))
    if report.memory is not None:
        print(report.memory)
    print(f"verdict: {report.verdict}")
    print(STATEMENT)
    if given.json is not None:
        found = {
            **facts,
            "verdict": report.verdict,
            "findings": [{"level": f.level, "message": f.message} for f in report.findings],
            "operators": dict(report.operators),
            "memory": None if report.memory is None else str(report.memory),
            "statement": STATEMENT,
        }
        print(write_whole(given.json, json.dumps(found, indent=2) + "\n"))
    return 0 if report.verdict == "passes static checks" else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "snnplug check-ipu",
        description="Check the training step of a recipe or a run against the rules of PopTorch "
        "3.4, statically; nothing runs on an IPU. The exit code is 1 for ERROR and UNKNOWN.",
    )
    parser.add_argument(
        "subject", metavar="RECIPE|RUN|CKPT", help="a recipe, the folder of a run, or a checkpoint"
    )
    parser.add_argument("--num-steps", type=int, metavar="T", help="default: the recipe's")
    parser.add_argument("--batch-size", type=int, metavar="B", help="default: the recipe's")
    parser.add_argument("--json", metavar="FILE", help="write what was found as JSON")
    return parser


def checked(subject: Built, num_steps: int, batch_size: int) -> tuple[str, Readiness, str]:
    """Return which form of the step was checked, the verdict, and the optimiser's name.

    What a bundle would run is checked where there is a portable form of the network and its loss,
    and else the step as it is.
    """
    model: Any = subject.model
    model.train()
    inputs = example(subject, num_steps, batch_size)
    try:
        step: nn.Module = training_step(subject.network, model.loss)
        form = "portable, as in a bundle"
    except ArgumentError as error:
        step = _AsItIs(subject.network, model.loss)
        form = f"as it is: {error}"
    optimizer, _ = optimizer_of(model)
    return form, check_ipu(step, inputs, optimizer), optimizer


class _AsItIs(nn.Module):
    """A network and its loss."""

    def __init__(self, network: nn.Module, loss: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.loss = loss

    def forward(self, frames: Tensor, *targets: Tensor) -> Tensor:
        """Return the loss of the currents, or of the spikes of a network that gives these alone."""
        out = self.network(frames)
        loss: Tensor = self.loss(out[1] if isinstance(out, tuple) else out, *targets)
        return loss


def _subject(name: str) -> Built:
    """Build a run, a checkpoint, or a recipe with fresh weights."""
    if Path(name).is_dir() or Path(name).suffix == ".ckpt":
        return built(argparse.Namespace(network=name, weights=None))
    _, config = resolve_configs(["-c", name])
    return built_from(Path(config))


def _num_steps(subject: Built) -> int:
    """Return the time steps of training."""
    encoder: Any = getattr(subject.model, "encoder", None)
    return int(subject.cli.datamodule.num_steps if encoder is None else encoder.train_num_steps)


def example(subject: Built, num_steps: int, batch_size: int) -> tuple[Tensor, ...]:
    """Return random spikes of the shape of a recipe's data, and what its loss takes besides."""
    model: Any = subject.model
    shape = tuple(subject.cli.datamodule.in_shape)
    generator = torch.Generator().manual_seed(0)
    frames = (torch.rand(num_steps, batch_size, *shape, generator=generator) < 0.3).float()
    if not isinstance(model.loss, CTC):
        return frames, torch.arange(batch_size) % int(model.num_classes)
    said = torch.arange(batch_size)[:, None] % (int(model.num_classes) - 1)
    ones = torch.ones(batch_size, dtype=torch.int64)
    return frames, said, num_steps * ones, ones


def _table(report: Readiness, facts: dict[str, Any]) -> Table:
    """Return the findings, each with its level; what passes has one line too."""
    table = Table(
        "verdict", "of", title=f"{facts['subject']}, {facts['form']}", title_justify="left"
    )
    for finding in report.findings:
        table.add_row(finding.level, finding.message)
    operators = report.operators
    if operators and not report.findings:
        table.add_row(
            report.verdict,
            f"{sum(operators.values())} operators of {len(operators)} kinds, all gradients kept; "
            f"{facts['num_steps']} steps, batches of {facts['batch_size']}, {facts['optimizer']}",
        )
    return table
