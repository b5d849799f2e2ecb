"""Pricing on a crossbar of resistive memory: tiles of cells, converters, and a buffer for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import ClassVar

from snnplug.errors import TargetError
from snnplug.hardware.activity import Activity, Layer, NeuronLayer, SynapticLayer
from snnplug.hardware.costs import LayerCost, Totals
from snnplug.hardware.elementwise import add_up
from snnplug.hardware.machine import require_positive
from snnplug.hardware.report import EnergyReport, bill
from snnplug.hardware.target import Target
from snnplug.hardware.tile import MAPPINGS, Analog, Silicon, Tile
from snnplug.hardware.window import toeplitz_tiles

_MOST_BITS = 24  # of a converter; none that is built has more
_PARTS = ("driver", "array", "converter", "tile", "neuron")


@dataclass(frozen=True)
class _Use:
    """How a layer uses its tiles in one inference: counts per row block and column of tiles."""

    blocks: float  # row blocks that could be used
    tiles: float  # tiles behind one row block
    columns: float  # columns that are converted behind one row block
    rows: float  # rows of a block
    active: float  # active rows, over all uses
    uses: float  # one after the other


@dataclass(frozen=True)
class Crossbar(Target):
    r"""Weights as conductances: a tile adds up a whole column at once, converters read it.

    A layer with :math:`K` inputs per place and :math:`C` outputs per place takes
    :math:`\lceil K / R \rceil` row blocks of :math:`R` rows, and :math:`C q` columns for
    :math:`q` cells per weight. In the *dense* mapping these tiles hold a convolution's weights
    once and are used at every place and time step; in the *sparse* mapping every synapse has a
    cell of its own, inputs and outputs lie in the order of places with the channels of a place
    together, tiles without any synapse are not built, and each is used once per time step. Fully
    connected layers are the same in both.

    .. math::
        E = A \lceil C q / C_t \rceil e_\text{driver} + S q\, e_\text{cell}
          + B\, C q\,(e_\text{converter} + e_\text{shift})
          + B \lceil C q / C_t \rceil e_\text{tile} + U e_\text{neuron}

    with :math:`A` active rows and :math:`S` synops, which are exact, :math:`U` neuron updates,
    :math:`C_t` columns of a tile, and :math:`B` row blocks used. Without skipping, :math:`B` is
    exact too. With skipping it depends on which spikes coincide, which is not counted: it lies
    between :math:`A / R` and :math:`\min(A, \text{all})`, and those two are the ends of the band;
    the figure itself takes spikes as independent, :math:`B = \text{all}\,(1 - (1 - \rho)^R)` for
    a share :math:`\rho` of rows that are active.

    Rows are driven by one bit. Inputs of :math:`b` bits take :math:`b` uses of the tiles, in each
    of which every value that is not zero is taken to drive its row: an upper bound.

    Reference:
        Energies of SpikeSim (Moitra et al., arXiv:2210.12899) and of published converters. Dense
        and sparse mapping are named after Lammie et al.; the definition here is ours.
    """

    family: ClassVar[str] = "crossbar"

    name: str
    scope: str
    summary: str
    statement: str
    tile: Tile
    analog: Analog
    low_factor: float
    high_factor: float
    provenance: Mapping[str, Mapping[str, str]]
    technology_nm: int | None = None
    silicon: Silicon | None = None

    def __post_init__(self) -> None:
        """Check what one number alone does not show."""
        require_positive(self.name, analog__clock_mhz=self.analog.clock_mhz)
        if self.tile.mapping not in MAPPINGS:
            raise TargetError(
                f"{self.name}: tile.mapping is {self.tile.mapping!r}; it is one of "
                f"{', '.join(MAPPINGS)}"
            )
        if not 1 <= self.analog.converter_bits <= _MOST_BITS:
            raise TargetError(
                f"{self.name}: analog.converter_bits is {self.analog.converter_bits}; give 1 … "
                f"{_MOST_BITS}"
            )
        if not self.low_factor <= 1 <= self.high_factor:
            raise TargetError(
                f"{self.name}: the band is {self.low_factor} … {self.high_factor} times the "
                "energy; low_factor has to be at most 1 and high_factor at least 1"
            )

    def price(self, activity: Activity) -> EnergyReport:
        """Return what the activity costs per inference.

        Args:
            activity: Counts from :func:`snnplug.measure`.

        Raises:
            MeasurementError: The activity holds no sample.
        """
        activity.per_sample(())  # refuses an activity without samples
        samples = activity.samples
        nominal, low, high = (
            [self._parts_nj(layer, samples, which) for layer in activity.layers]
            for which in ("likely", "fewest", "most")
        )
        dense = [self._parts_nj(layer, samples, "dense") for layer in activity.layers]
        times = [self._latency_us(layer, samples) for layer in activity.layers]
        layers = [
            LayerCost(
                layer.name,
                layer.kind,
                parts,
                time,
                layer.synops / samples if isinstance(layer, SynapticLayer) else 0.0,
            )
            for layer, parts, time in zip(activity.layers, nominal, times, strict=True)
        ]
        energy_nj, fewest_nj, most_nj, dense_nj = (
            add_up(add_up(parts.values()) for parts in each) for each in (nominal, low, high, dense)
        )
        totals = Totals(
            energy_nj=energy_nj,
            energy_nj_low=min(energy_nj, fewest_nj) * self.low_factor,
            energy_nj_high=max(energy_nj, most_nj) * self.high_factor,
            dense_nj=dense_nj,
            latency_us=add_up(times),
            area_mm2=self._area_mm2(activity),
        )
        missing = [f"{la.name} ({la.kind})" for la in activity.layers if self._lacks(la)]
        return bill(self, activity, totals, layers, missing)

    def tiles(self, activity: Activity) -> int:
        """Return how many tiles hold the weights of the network."""
        found = (self._use(layer, 1, dense=True) for layer in activity.synaptic)
        seen = zip(activity.synaptic, found, strict=True)
        return sum(
            round(use.blocks / use.uses * use.tiles)
            for layer, use in seen
            if use is not None and use.uses and not layer.shares_weights
        )

    def _area_mm2(self, activity: Activity) -> float | None:
        """Return the area of tiles and membranes; None if a figure or a layer is missing."""
        if self.silicon is None or any(map(self._lacks, activity.synaptic)):
            return None
        neurons = sum(layer.neurons * layer.states for layer in activity.neuronal if layer.stateful)
        tiles_um2 = self.tiles(activity) * self.silicon.whole_tile_um2(self.tile)
        return 1e-6 * (tiles_um2 + neurons * self.silicon.neuron_um2)

    def _lacks(self, layer: Layer) -> bool:
        if isinstance(layer, SynapticLayer):
            return layer.presentations > 0 and self._use(layer, 1, dense=False) is None
        if isinstance(layer, NeuronLayer):
            return layer.lookups > 0
        return True

    def _planes(self, layer: SynapticLayer) -> int:
        """Return how often a layer uses its tiles per input: once for spikes, once per bit else."""
        bits = layer.operand.bits
        return self.tile.input_bits if bits is None else bits

    def _use(self, layer: SynapticLayer, samples: int, dense: bool) -> _Use | None:
        """Return how a layer uses its tiles; None if its shape was not recorded."""
        t, planes = self.tile, self._planes(layer)
        steps = planes * layer.presentations / samples
        synops = layer.fan_out * steps if dense else planes * layer.synops / samples
        window = layer.window
        if window is None and layer.kind == "Linear":
            columns = float(layer.outputs * t.cells)
            blocks = ceil(layer.inputs / t.rows)
            active = synops / layer.outputs if layer.outputs else 0.0
            tiles = ceil(columns / t.columns)
            return _Use(blocks * steps, tiles, columns, layer.inputs / blocks, active, steps)
        if window is None:
            return None
        if t.mapping == "dense":
            taken, given = window.weights_per_place, window.filters // window.groups
            uses, blocks = window.places * steps, ceil(taken / t.rows)
            columns, active = float(given * t.cells), synops / given
            tiles = ceil(columns / t.columns)
            return _Use(blocks * window.groups * uses, tiles, columns, taken / blocks, active, uses)
        built = toeplitz_tiles(window, t.rows, t.columns, t.cells)
        if built is None:
            return None
        blocks = ceil(layer.inputs / t.rows)
        active = layer.inputs * steps if dense else planes * layer.events / samples
        per_block = built / blocks
        rows = layer.inputs / blocks
        return _Use(blocks * steps, per_block, per_block * t.columns, rows, active, steps)

    def _blocks(self, use: _Use, which: str) -> float:
        """Return the row blocks that are used."""
        if which == "dense" or not self.tile.skips_empty:
            return use.blocks
        if which == "fewest":
            return min(use.blocks, use.active / use.rows)
        if which == "most":
            return min(use.blocks, use.active)
        share = min(1.0, use.active / (use.blocks * use.rows)) if use.blocks else 0.0
        return float(use.blocks * (1 - (1 - share) ** use.rows))

    def _parts_nj(self, layer: Layer, samples: int, which: str) -> dict[str, float]:
        parts = dict.fromkeys(_PARTS, 0.0)
        a = self.analog
        if isinstance(layer, NeuronLayer):
            parts["neuron"] = 1e-3 * layer.neurons * layer.presentations / samples * a.neuron_pj
        if not isinstance(layer, SynapticLayer):
            return parts
        use = self._use(layer, samples, dense=which == "dense")
        if use is None:
            return parts
        dense_synops = layer.fan_out * layer.presentations
        synops = (dense_synops if which == "dense" else layer.synops) / samples
        synops *= self._planes(layer)
        blocks = self._blocks(use, which)
        parts["driver"] = 1e-3 * use.active * use.tiles * a.driver_pj
        parts["array"] = 1e-3 * synops * self.tile.cells * a.cell_pj
        parts["converter"] = 1e-3 * blocks * use.columns * (a.conversion_pj + a.shift_add_pj)
        parts["tile"] = 1e-3 * blocks * use.tiles * a.tile_pj
        return parts

    def _latency_us(self, layer: Layer, samples: int) -> float:
        """Tiles of a layer work at once, its places and time steps one after the other."""
        if not isinstance(layer, SynapticLayer):
            return 0.0
        use = self._use(layer, samples, dense=False)
        return 0.0 if use is None else use.uses * self.analog.tile_cycles / self.analog.clock_mhz
