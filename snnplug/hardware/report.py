"""What an inference costs on a target: totals, parts and layers, each figure with its band."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class LayerCost:
    """Cost of one layer per inference.

    Attributes:
        name: Its name in the network.
        kind: Class of the module.
        parts_nj: Energy by part, in nJ, control overhead and leakage included.
        latency_us: Time that the layer takes, in µs; None if the target has no figure.
        synops: Synaptic operations.
    """

    name: str
    kind: str
    parts_nj: Mapping[str, float]
    latency_us: float | None
    synops: float

    @property
    def energy_nj(self) -> float:
        """All parts together."""
        return sum(self.parts_nj.values())


@dataclass(frozen=True)
class EnergyReport:
    """Cost of one inference on a target.

    Attributes:
        target: Name of the target.
        fingerprint: Which version of its description.
        samples: Inferences that the figures are the mean of.
        energy_nj: Energy, in nJ.
        energy_nj_low: Lower end of the calibration band.
        energy_nj_high: Upper end of the calibration band.
        latency_us: Time from the first input spike to the decision, in µs; None if the target
            has no figure.
        area_mm2: Silicon area, in mm²; None if the target has no figure.
        dense_nj: The same datapath without skipping zeros, in nJ.
        synops: Synaptic operations.
        spikes_per_synapse: Synaptic operations per synapse.
        layers: Cost per layer; their energies add up to ``energy_nj``.
        unpriced: Modules whose work is in no figure.
        statement: What the target says about its own accuracy.
    """

    target: str
    fingerprint: str
    samples: int
    energy_nj: float
    energy_nj_low: float
    energy_nj_high: float
    latency_us: float | None
    area_mm2: float | None
    dense_nj: float
    synops: float
    spikes_per_synapse: float
    layers: tuple[LayerCost, ...]
    unpriced: tuple[str, ...]
    statement: str

    @property
    def parts_nj(self) -> dict[str, float]:
        """Energy by part, in nJ, over all layers."""
        total: dict[str, float] = {}
        for layer in self.layers:
            for part, value in layer.parts_nj.items():
                total[part] = total.get(part, 0.0) + value
        return total

    @property
    def sparsity_gain(self) -> float:
        """How many times less than the dense machine; 0 when nothing was priced."""
        return self.dense_nj / self.energy_nj if self.energy_nj else 0.0

    @property
    def pj_per_synop(self) -> float:
        """Energy per synaptic operation, in pJ; 0 when nothing spiked."""
        return 1e3 * self.energy_nj / self.synops if self.synops else 0.0

    def scalars(self) -> dict[str, float]:
        """Return the figures to log each epoch, by the last part of their key."""
        optional = {"latency_us": self.latency_us, "area_mm2": self.area_mm2}
        return {
            "energy_nj": self.energy_nj,
            "energy_nj_low": self.energy_nj_low,
            "energy_nj_high": self.energy_nj_high,
            **{key: value for key, value in optional.items() if value is not None},
            "dense_nj": self.dense_nj,
            "sparsity_gain": self.sparsity_gain,
            "pj_per_synop": self.pj_per_synop,
            **{f"parts/{part}_nj": value for part, value in self.parts_nj.items()},
        }

    def rows(self) -> tuple[list[str], list[list[Any]]]:
        """Return the per-layer table: its column names and its rows."""
        parts = list(self.parts_nj)
        columns = [
            "layer",
            "kind",
            "synops",
            "energy_nj",
            *(f"{p}_nj" for p in parts),
            "latency_us",
        ]
        rows = [
            [
                layer.name,
                layer.kind,
                layer.synops,
                layer.energy_nj,
                *(layer.parts_nj.get(part, 0.0) for part in parts),
                layer.latency_us,
            ]
            for layer in self.layers
        ]
        return columns, rows

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            **asdict(self),
            "parts_nj": self.parts_nj,
            "sparsity_gain": self.sparsity_gain,
            "pj_per_synop": self.pj_per_synop,
        }

    def to_json(self) -> str:
        """Return everything as JSON text."""
        return json.dumps(self.to_dict(), indent=2)

    def __str__(self) -> str:
        """Return the bill as a table for a terminal."""
        lines = [
            f"{self.target}: {self.energy_nj:,.1f} nJ/inference "
            f"[{self.energy_nj_low:,.1f} … {self.energy_nj_high:,.1f}]"
            + (f", {self.latency_us:,.1f} µs" if self.latency_us is not None else "")
            + (f", {self.area_mm2:.2f} mm²" if self.area_mm2 is not None else ""),
            f"dense on the same datapath {self.dense_nj:,.1f} nJ: sparsity saves "
            f"{self.sparsity_gain:.1f}x",
            f"{'layer':<16}{'kind':<18}{'synops':>12}{'nJ':>12}{'µs':>10}",
        ]
        lines += [
            f"{layer.name:<16}{layer.kind:<18}{layer.synops:>12,.0f}"
            f"{layer.energy_nj:>12,.2f}"
            + (f"{layer.latency_us:>10,.2f}" if layer.latency_us is not None else f"{'-':>10}")
            for layer in self.layers
        ]
        lines.append("  ".join(f"{part} {value:,.2f}" for part, value in self.parts_nj.items()))
        if self.unpriced:
            lines.append(f"not priced: {', '.join(self.unpriced)}")
        return "\n".join([*lines, self.statement])
