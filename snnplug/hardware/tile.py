"""The tables of a crossbar target: its tiles, what they take, and how large they are."""

from __future__ import annotations

from dataclasses import dataclass

MAPPINGS = ("dense", "sparse")
_NOMINAL_BITS = 8


@dataclass(frozen=True)
class Tile:
    """A crossbar tile and how weights and layers lie on it.

    Attributes:
        rows: Rows, each driven by one input.
        columns: Columns of cells.
        slices: Cells side by side that hold the bits of one weight.
        polarities: 2 where a weight is the difference of two cells.
        mapping: ``"dense"``: the weights of a convolution once, used at one place after the other;
            ``"sparse"``: every synapse a cell, all places at once.
        skips_empty: Whether a tile without an active row is left out.
        input_bits: Bits of an input that lies on no grid. A row is driven by one bit at a time, so
            an input of several bits takes as many uses of the tiles.
    """

    rows: int
    columns: int
    slices: int
    polarities: int
    mapping: str
    skips_empty: bool
    input_bits: int = 8

    @property
    def cells(self) -> int:
        """Cells of one weight."""
        return self.slices * self.polarities


@dataclass(frozen=True)
class Analog:
    """Energy of one event each, and the time of one use of a tile.

    Attributes:
        driver_pj: One active row of a tile.
        cell_pj: One cell in an active row.
        converter_pj: One conversion of a column to 8 bits; each bit more doubles it, each bit less
            halves it.
        shift_add_pj: Shift and addition behind a conversion.
        tile_pj: One use of a tile: its buffers and the tree that leads to it.
        neuron_pj: One neuron in one time step.
        tile_cycles: Cycles of one use of a tile, converters shared by columns included.
        clock_mhz: The clock.
        converter_bits: Bits of a conversion.
    """

    driver_pj: float
    cell_pj: float
    converter_pj: float
    shift_add_pj: float
    tile_pj: float
    neuron_pj: float
    tile_cycles: float
    clock_mhz: float
    converter_bits: float = 8.0

    @property
    def conversion_pj(self) -> float:
        """One conversion to ``converter_bits``."""
        return float(self.converter_pj * 2.0 ** (self.converter_bits - _NOMINAL_BITS))


@dataclass(frozen=True)
class Silicon:
    """Area of what a crossbar is made of, in µm².

    Attributes:
        cell_um2: One cell.
        column_um2: The converter, multiplexer and subtractor of one column.
        tile_um2: Buffers of one tile, and its part of the tree.
        neuron_um2: The membrane of one neuron.
    """

    cell_um2: float
    column_um2: float
    tile_um2: float
    neuron_um2: float

    def whole_tile_um2(self, tile: Tile) -> float:
        """Return the area of one tile."""
        cells = tile.rows * tile.columns * self.cell_um2
        return cells + tile.columns * self.column_um2 + self.tile_um2
