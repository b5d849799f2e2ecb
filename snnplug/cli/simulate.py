"""``snnplug simulate``: a trained network in integers, event by event, on a target's datapath."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from typing import Any, cast

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from snnplug.cli.pricing import DEFAULT_TARGET
from snnplug.cli.trained import Trained, add_network_arguments, load_trained, progress_of
from snnplug.errors import ArgumentError
from snnplug.files import write_whole
from snnplug.hardware.activity import Activity
from snnplug.hardware.agreement import Counts, add, compared
from snnplug.hardware.counting import measure
from snnplug.hardware.integer_network import IntegerNetwork, to_integers
from snnplug.hardware.memory_image import save_image
from snnplug.hardware.quantisation import Quantised, quantise
from snnplug.hardware.simulator import simulate
from snnplug.hardware.sparse_digital import SparseDigital
from snnplug.hardware.target import load_target
from snnplug.neurons.base import reset
from snnplug.training.decoding import Decoding, decode


def simulate_command(args: Sequence[str]) -> int:
    """Run ``snnplug simulate CKPT|RUN|MODULE:NAME --images N --memories FOLDER``."""
    given = _parser().parse_args(args)
    target = load_target(given.target)
    if not isinstance(target, SparseDigital):
        raise ArgumentError(
            f"{target.name} is of the family {target.family}; the simulator walks the datapath of "
            f"a sparse_digital target such as {DEFAULT_TARGET}"
        )
    if given.images < 1:
        raise ArgumentError(f"--images is {given.images}; it has to be at least 1")
    trained = load_trained(given)
    quantised = quantise(
        trained.network, target.datapath.weight_bits, target.datapath.membrane_bits
    )
    run = _Run(trained, quantised, target)
    run.take(given.images)
    Console(highlight=False).print(run.table())
    for line in run.lines():
        print(line)
    if given.memories is not None:
        print(save_image(run.chip, target, given.memories))
    if given.json is not None:
        print(write_whole(given.json, json.dumps(run.to_dict(), indent=2) + "\n"))
    return 0 if run.is_exact else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "snnplug simulate",
        description="Quantise a trained network, run it in integers on the datapath of a target, "
        "event by event, and compare spikes with torch and counts with the price model. The exit "
        "code is 1 if they differ.",
    )
    add_network_arguments(parser)
    parser.add_argument(
        "--target",
        default=DEFAULT_TARGET,
        metavar="NAME|FILE",
        help=f"whose datapath (default: {DEFAULT_TARGET})",
    )
    parser.add_argument(
        "--images", type=int, default=20, metavar="N", help="samples to simulate (default: 20)"
    )
    parser.add_argument(
        "--memories", metavar="FOLDER", help="write what the chip loads: weights, thresholds"
    )
    parser.add_argument("--json", metavar="FILE", help="write what was found as JSON")
    return parser


@dataclass
class _Run:
    """Samples through the trained network, the quantised one and the chip, side by side."""

    trained: Trained
    quantised: Quantised
    target: SparseDigital
    images: int = 0
    labelled: int = 0
    differing: int = 0
    saturations: int = 0
    right: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("trained", "quantised", "chip"), 0)
    )
    activity: Activity = field(default_factory=lambda: Activity(0, ()))
    layers: dict[str, Counts] = field(default_factory=dict)

    def take(self, images: int) -> None:
        """Run so many samples, or as many as there are."""
        self.quantised.network.eval()
        with torch.inference_mode(), progress_of("simulating") as progress:
            task = progress.add_task("", total=images)
            for frames, label in islice(_samples(self.trained), images):
                self._one(frames, label)
                progress.advance(task)
        if not self.images:
            raise ArgumentError("the data hold no sample")

    def _one(self, frames: Tensor, label: Tensor | None) -> None:
        """Compare one sample's spikes, decisions and counts."""
        if not self.images:
            self.chip: IntegerNetwork = to_integers(self.quantised, tuple(frames.shape[2:]))
        outs = {"trained": _outputs(self.trained.network, frames)}
        with measure(self.quantised.network) as meter:
            outs["quantised"] = _outputs(self.quantised.network, frames)
        found = simulate(self.chip, self.target, frames)
        spikes = torch.from_numpy(found.spikes).float()
        expected = outs["quantised"][0].reshape(spikes.shape)
        self.images += 1
        self.differing += int(not torch.equal(spikes, expected))
        self.saturations += found.saturations
        activity = meter.activity()
        self.activity = self.activity + activity
        self.layers = add(self.layers, compared(found, self.chip, self.target, activity))
        if label is None:
            return
        self.labelled += 1
        decoding = cast(Decoding, getattr(self.trained.model, "decoding", "count"))
        for name, (spk, cur) in outs.items():
            self.right[name] += int((decode(spk, cur, decoding) == label).sum())
        # The chip gives spikes alone.
        said = "count" if decoding == "current" else decoding
        self.right["chip"] += int((decode(spikes, spikes, said) == label).sum())

    @property
    def is_exact(self) -> bool:
        """Whether every spike and every count is the expected one."""
        pairs = (pair for counts in self.layers.values() for pair in counts.values())
        return not self.differing and all(simulated == charged for simulated, charged in pairs)

    def table(self) -> Table:
        """Return the counts of each layer beside those of the price model."""
        table = Table(box=None, header_style="bold", pad_edge=False)
        columns = ("layer", "count, all samples", "simulated", "closed form", "")
        for place, name in enumerate(columns):
            table.add_column(name, justify="left" if place < 2 else "right")
        for layer, counts in self.layers.items():
            for place, (name, (simulated, charged)) in enumerate(counts.items()):
                table.add_row(
                    layer if not place else "",
                    name,
                    _shown(simulated),
                    _shown(charged),
                    "=" if simulated == charged else "differs",
                )
        return table

    def lines(self) -> list[str]:
        """Return what to say below the table."""
        bits = self.target.datapath
        lines = [
            f"spikes        {'equal to' if not self.differing else 'DIFFER from'} those of the "
            f"quantised network in torch, {self.images - self.differing} of {self.images} samples, "
            f"{self.saturations} saturated additions"
        ]
        if self.labelled:
            share = {name: 100 * n / self.labelled for name, n in self.right.items()}
            lines.append(
                f"accuracy      {share['chip']:.2f} % on the chip, {share['quantised']:.2f} % "
                f"quantised in torch, {share['trained']:.2f} % as trained ({bits.weight_bits}-bit "
                f"weights, {bits.membrane_bits}-bit membranes, {self.labelled} samples)"
            )
        bill = self.target.price(self.activity)
        lines.append(
            f"latency       {bill.latency_us:,.1f} µs, energy {bill.energy_nj:,.1f} nJ/inference "
            f"[{bill.energy_nj_low:,.1f} … {bill.energy_nj_high:,.1f}] on {self.target.name}, of "
            "these samples"
        )
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "target": self.target.name,
            "fingerprint": self.target.fingerprint,
            "images": self.images,
            "is_exact": self.is_exact,
            "differing_images": self.differing,
            "saturations": self.saturations,
            "labelled": self.labelled,
            "right": self.right,
            "layers": {
                layer: {
                    name: {"simulated": _number(mine), "closed_form": _number(its)}
                    for name, (mine, its) in counts.items()
                }
                for layer, counts in self.layers.items()
            },
        }


def _samples(trained: Trained) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield the frames ``(T, 1, *)`` of one sample after the other, and its class."""
    encoder: Any = getattr(trained.model, "encoder", None)
    for samples, labels in trained.batches:
        frames = samples if encoder is None else encoder(samples)
        for place in range(frames.shape[1]):
            yield frames[:, place : place + 1], None if labels is None else labels[place]


def _outputs(network: nn.Module, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Return the output spikes of a network and the currents behind them, if it gives them."""
    reset(network)
    out = network(frames)
    spk, cur = out if isinstance(out, tuple) else (out, out)
    return spk, cur


def _number(count: Fraction) -> int | float:
    """Return a count; of rows that fill over spikes a part may be left."""
    return int(count) if count.denominator == 1 else float(count)


def _shown(count: Fraction) -> str:
    return f"{_number(count):,}"
