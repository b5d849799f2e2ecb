"""``snnplug estimate``: run a trained network on data, count, and price."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

from snnplug.cli.pricing import DEFAULT_TARGET, add_price_arguments, show_prices
from snnplug.cli.trained import Trained, add_network_arguments, load_trained, progress_of
from snnplug.errors import ArgumentError
from snnplug.hardware.activity import Activity
from snnplug.hardware.activity_file import save_activity
from snnplug.hardware.counting import measure
from snnplug.hardware.target import load_target


def estimate_command(args: Sequence[str]) -> int:
    """Run ``snnplug estimate CKPT|RUN|MODULE:NAME --data … --target …``."""
    given = _parser().parse_args(args)
    targets = given.target or [DEFAULT_TARGET]
    for target in targets:
        load_target(target)  # a misspelt name is found before the network runs
    if given.max_batches is not None and given.max_batches < 1:
        raise ArgumentError(f"--max-batches is {given.max_batches}; it has to be at least 1")
    trained = load_trained(given, given.batch_dim)
    activity = _count(trained, given.max_batches, given.batch_dim)
    if given.save_activity is not None:
        print(save_activity(activity, given.save_activity))
    show_prices(activity, targets, given)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "snnplug estimate",
        description="Run a trained network on data, count what it does, and price it.",
    )
    add_network_arguments(parser)
    parser.add_argument("--batch-dim", type=int, default=1, help="axis of samples (default: 1)")
    parser.add_argument("--max-batches", type=int, metavar="N", help="count at most so many")
    add_price_arguments(parser)
    parser.add_argument("--save-activity", metavar="FILE", help="write the counts, to price again")
    return parser


def _count(trained: Trained, max_batches: int | None, batch_dim: int) -> Activity:
    total = trained.total if max_batches is None else min(trained.total, max_batches)
    with (
        measure(trained.network, batch_dim) as meter,
        torch.inference_mode(),
        progress_of("counting") as progress,
    ):
        task = progress.add_task("", total=total)
        for _, (samples, _targets) in zip(range(total), trained.batches, strict=False):
            trained.model(samples)
            progress.advance(task)
    return meter.activity()
