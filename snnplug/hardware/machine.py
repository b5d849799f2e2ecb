"""The tables of digital targets: what a datapath, its memories and its arithmetic are made of."""

from __future__ import annotations

from dataclasses import dataclass

from snnplug.errors import TargetError
from snnplug.hardware.elementwise import holds

SCHEDULES = ("sequential", "pipelined")


@dataclass(frozen=True)
class Datapath:
    """Widths and counts of the datapath.

    ``schedule`` says whether layers run one after the other (``"sequential"``) or each on hardware
    of its own, all at once on successive time steps (``"pipelined"``).
    """

    lanes: int
    weight_bits: int
    membrane_bits: int
    activation_bits: int
    spike_word_bits: int
    clock_mhz: float
    neuron_cycles: int
    schedule: str = "sequential"


@dataclass(frozen=True)
class Memory:
    """Sizes of the memories."""

    bank_kb: float
    spike_buffer_kb: float
    partial_row_floor: float


@dataclass(frozen=True)
class Operations:
    """Energy of the arithmetic."""

    add_pj_per_bit: float
    mul_pj_per_bit2: float
    register_pj_per_bit: float
    compare_pj_per_bit: float
    address_bits: int


@dataclass(frozen=True)
class Overhead:
    """What the bottom-up sum leaves out."""

    kappa: float
    kappa_low: float
    kappa_high: float
    logic_leak_uw: float
    logic_area_mm2: float

    def __post_init__(self) -> None:
        """Check the band."""
        if not holds((self.kappa_low > 0) & (self.kappa_low <= self.kappa)) or not holds(
            self.kappa <= self.kappa_high
        ):
            raise TargetError(
                f"kappa is {self.kappa} with band {self.kappa_low} … {self.kappa_high}; it has "
                "to be positive and inside its band"
            )


@dataclass(frozen=True)
class Duty:
    """How often an inference begins, for what leaks in between.

    Attributes:
        inferences_per_s: Inferences that begin in a second.
        power_gated: Whether the machine is cut off its supply between them, and keeps nothing.
    """

    inferences_per_s: float
    power_gated: bool = False


@dataclass(frozen=True)
class Calibration:
    """The published figures that ``kappa`` was set by, and the network assumed for them."""

    anchor_nj: float
    network: str
    num_steps: int
    published_nj_low: float
    published_nj_high: float


@dataclass(frozen=True)
class DenseTwin:
    """The conventional network that a spiking one is compared with, on the same memories.

    Attributes:
        activation_bits: Bits of an activation.
        accumulator_bits: Bits of a sum.
        buffer_kb: Memory of the activations, in kB.
        buffer_bits: Width of its port.
    """

    activation_bits: int
    accumulator_bits: int
    buffer_kb: float
    buffer_bits: int


def require_positive(name: str, **values: float) -> None:
    """Check that each value, or each of an array, is positive.

    Args:
        name: The target's name.
        **values: Dotted keys, written with two underscores, and their values.

    Raises:
        TargetError: One is not.
    """
    for key, value in values.items():
        if not holds(value > 0):
            dotted = key.replace("__", ".")
            raise TargetError(f"{name}: {dotted} is {value}; it has to be positive")
