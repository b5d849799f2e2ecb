"""What an inference costs: of the whole network, of a layer, of the conventional network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from snnplug.hardware.elementwise import Number


@dataclass(frozen=True)
class Totals:
    """What a target gives for a whole inference; None where it has no figure.

    Numbers, or numpy arrays of them when a grid of targets is priced at once.

    Attributes:
        energy_nj: Energy, in nJ.
        energy_nj_low: Lower end of its band.
        energy_nj_high: Upper end of its band.
        dense_nj: The same machine without skipping zeros, in nJ.
        latency_us: From the first input spike to the decision, in µs.
        latency_pipelined_us: The same with every layer on hardware of its own.
        area_mm2: Silicon area, in mm².
    """

    energy_nj: Number | None
    energy_nj_low: Number | None
    energy_nj_high: Number | None
    dense_nj: Number | None
    latency_us: Number | None = None
    latency_pipelined_us: Number | None = None
    area_mm2: Number | None = None


@dataclass(frozen=True)
class Baseline:
    """The conventional network of the same shape on the same memories, computed in one pass.

    Attributes:
        num_steps: Time steps of the spiking network.
        ann_nj: Energy of the conventional network, in nJ, leakage not included.
        ann_bits: Bits of its activations.
        matched_nj: The same with as many bits as the spikes of ``num_steps`` steps can count.
        matched_bits: Those bits.
        break_even_num_steps: Time steps up to which the spiking network takes less energy than
            the conventional one; it need not be whole.
    """

    num_steps: float
    ann_nj: float
    ann_bits: int
    matched_nj: float
    matched_bits: int
    break_even_num_steps: float


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
    def energy_nj(self) -> float | None:
        """All parts together; None if the target has no figure."""
        return sum(self.parts_nj.values()) if self.parts_nj else None
