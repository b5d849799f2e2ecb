"""Crossbars: published tile counts, brute force for both mappings, and the ends of the band."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from snnplug.errors import TargetError
from snnplug.hardware.activity import Activity, NeuronLayer, PoolLayer, SynapticLayer
from snnplug.hardware.counting import measure
from snnplug.hardware.crossbar import Crossbar
from snnplug.hardware.operand import ANALOG, BINARY, TERNARY, Operand
from snnplug.hardware.target import load_target
from snnplug.hardware.window import Window, toeplitz_tiles

TARGET = load_target("rram-crossbar")
assert isinstance(TARGET, Crossbar)
WHOLE = replace(TARGET, tile=replace(TARGET.tile, skips_empty=False))


def conv(channels: int, filters: int, kernel: int, size: int) -> SynapticLayer:
    """A convolution without zeros around it, 16 % of its rows active, as in the published table."""
    out = size - kernel + 1
    fan_out = channels * filters * kernel**2 * out**2
    window = Window(
        (channels, size, size), (filters, out, out), (kernel,) * 2, (1, 1), (0, 0), (1, 1)
    )
    return SynapticLayer(
        name="c",
        kind="Conv2d",
        inputs=channels * size**2,
        outputs=filters * out**2,
        weights=channels * filters * kernel**2,
        fan_out=fan_out,
        presentations=100,
        events=1,
        synops=16 * fan_out,
        operand=BINARY,
        window=window,
    )


FC = SynapticLayer("f", "Linear", 1024, 512, 2**19, 2**19, 100, 16 * 1024, 16 * 2**19, BINARY)


@pytest.mark.parametrize(
    ("layer", "tiles", "converter", "array", "driver"),
    [
        (conv(1, 12, 5, 28), 1, 23.1, 0.02, 0.05),
        (conv(12, 64, 5, 12), 10, 68.4, 0.16, 0.12),
        (FC, 256, 27.4, 0.07, 0.05),
    ],
)
def test_reference_layers(
    layer: SynapticLayer, tiles: int, converter: float, array: float, driver: float
) -> None:
    """Three layers of an MNIST network that were worked out by hand, converters alone."""
    target = replace(WHOLE, analog=replace(WHOLE.analog, shift_add_pj=0.0))
    activity = Activity(100, (layer,))
    parts = target.price(activity).parts_nj
    assert target.tiles(activity) == tiles
    assert parts["converter"] == pytest.approx(converter, rel=0.005)
    assert parts["array"] == pytest.approx(array, abs=0.005)
    assert parts["driver"] == pytest.approx(driver, abs=0.005)


def measured(layer: nn.Conv2d, x: torch.Tensor) -> Activity:
    with measure(layer, batch_dim=0) as meter, torch.no_grad():
        layer(x[0])
    return meter.activity()


LAYERS = [
    nn.Conv2d(3, 8, 3, padding=1),
    nn.Conv2d(4, 6, (3, 2), stride=2, padding=(0, 1), groups=2),
    nn.Conv2d(2, 5, 3, dilation=2, padding="same"),
    nn.Conv2d(6, 6, 3, groups=6),
]


@pytest.mark.parametrize("layer", LAYERS)
def test_used_row_blocks_lie_in_the_band_and_active_rows_are_exact(layer: nn.Conv2d) -> None:
    torch.manual_seed(0)
    tile = replace(TARGET.tile, rows=4)
    unit = replace(TARGET.analog, **dict.fromkeys(("cell_pj", "shift_add_pj", "tile_pj"), 0.0))
    rows_alone = replace(TARGET, tile=tile, analog=replace(unit, driver_pj=1.0, converter_pj=0.0))
    blocks_alone = replace(TARGET, tile=tile, analog=replace(unit, driver_pj=0.0, converter_pj=1.0))
    x = (torch.rand(1, 1, layer.in_channels, 7, 6) < 0.1).float()
    activity = measured(layer, x)
    patches = nn.functional.unfold(
        x[0] if layer.padding != "same" else nn.functional.pad(x[0], (2, 2, 2, 2)),
        layer.kernel_size,
        layer.dilation,
        0 if layer.padding == "same" else layer.padding,
        layer.stride,
    )[0]  # inputs of a patch x places
    groups = patches.reshape(layer.groups, -1, patches.shape[1])
    active, used = 0, 0
    for rows in groups:
        active += int(rows.count_nonzero())
        blocks = [part.any(0).sum() for part in rows.split(4)]
        used += int(sum(blocks))
    columns = layer.out_channels // layer.groups * 2
    report = rows_alone.price(activity)
    tiles = -(-columns // 64)
    assert report.parts_nj["driver"] == pytest.approx(1e-3 * active * tiles)
    priced = blocks_alone.price(activity)
    exact = 1e-3 * used * columns
    assert priced.energy_nj_low / TARGET.low_factor <= exact * (1 + 1e-12)
    assert priced.energy_nj_high / TARGET.high_factor >= exact * (1 - 1e-12)
    assert priced.energy_nj == pytest.approx(exact, rel=0.35)  # spikes taken as independent
    everything = -(-groups.shape[1] // 4) * layer.groups * patches.shape[1] * columns
    assert priced.dense_nj == pytest.approx(1e-3 * everything)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(("rows", "columns", "cells"), [(4, 8, 2), (7, 5, 3), (64, 64, 2)])
def test_sparse_tiles_equal_brute_force(
    layer: nn.Conv2d, rows: int, columns: int, cells: int
) -> None:
    size = (layer.in_channels, 7, 6)
    activity = measured(layer, torch.ones(1, 1, *size))
    window = activity.synaptic[0].window
    assert window is not None
    ones = nn.Conv2d(
        *(layer.in_channels, layer.out_channels, layer.kernel_size),
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=layer.groups,
        bias=False,
    )
    nn.init.ones_(ones.weight)
    basis = torch.eye(int(np.prod(size))).reshape(-1, *size)
    with torch.no_grad():
        reach = ones(basis) != 0  # inputs x filters x places
    # Channels of a place together, on both sides; then so many columns for each output.
    inputs, filters = int(np.prod(size)), layer.out_channels
    matrix = reach.reshape(*size, filters, -1).permute(1, 2, 0, 4, 3).reshape(inputs, -1).numpy()
    matrix = matrix.repeat(cells, axis=1)
    expected = sum(
        bool(matrix[top : top + rows, side : side + columns].any())
        for top in range(0, matrix.shape[0], rows)
        for side in range(0, matrix.shape[1], columns)
    )
    assert toeplitz_tiles(window, rows, columns, cells) == expected
    sparse = replace(
        TARGET, tile=replace(TARGET.tile, mapping="sparse", rows=rows, columns=columns)
    )
    if cells == 2:
        assert sparse.tiles(activity) == expected


def test_sparse_mapping_takes_more_tiles_and_less_time() -> None:
    activity = Activity(100, (conv(12, 64, 5, 12),))
    sparse = replace(TARGET, tile=replace(TARGET.tile, mapping="sparse"))
    assert sparse.tiles(activity) > TARGET.tiles(activity)
    once, often = sparse.price(activity).latency_us, TARGET.price(activity).latency_us
    assert often == pytest.approx(64 * once)  # 8 x 8 places one after the other
    full = Activity(100, (FC,))
    assert sparse.price(full).parts_nj == TARGET.price(full).parts_nj


def test_parts_add_up_silence_costs_neurons_and_what_has_no_shape_is_named() -> None:
    neurons = NeuronLayer("n", "Leaky", 512, 100, 10, True, "none", True)
    odd = replace(FC, name="o", kind="Conv2d")
    pool = PoolLayer("p", "MaxPool2d", 4, 100, BINARY)
    report = TARGET.price(Activity(100, (conv(1, 12, 5, 28), neurons, FC, odd, pool)))
    assert report.unpriced == ("o (Conv2d)", "p (MaxPool2d)")
    assert sum(report.parts_nj.values()) == pytest.approx(report.energy_nj, rel=1e-12)
    assert report.energy_nj_low <= report.energy_nj <= report.energy_nj_high
    assert report.energy_nj <= report.dense_nj
    silent = TARGET.price(Activity(100, (replace(FC, events=0, synops=0), neurons)))
    assert silent.energy_nj == pytest.approx(512 * 5.096e-3)
    assert WHOLE.price(Activity(100, (replace(FC, events=0, synops=0),))).energy_nj > 0


@pytest.mark.parametrize(("operand", "uses"), [(TERNARY, 2), (Operand((0, 5)), 3), (ANALOG, 8)])
def test_an_input_of_several_bits_takes_as_many_uses(operand: Operand, uses: int) -> None:
    for layer in (FC, conv(12, 64, 5, 12)):
        once = WHOLE.price(Activity(100, (layer,)))
        more = WHOLE.price(Activity(100, (replace(layer, operand=operand),)))
        for part in ("driver", "array", "converter", "tile"):
            assert more.parts_nj[part] == pytest.approx(uses * once.parts_nj[part], rel=1e-12)
        assert more.latency_us == pytest.approx(uses * once.latency_us)
        assert more.area_mm2 == once.area_mm2


def test_a_converter_takes_twice_as_much_for_each_bit_more() -> None:
    activity = Activity(100, (FC,))
    alone = replace(WHOLE.analog, shift_add_pj=0.0)
    of = {
        bits: replace(WHOLE, analog=replace(alone, converter_bits=bits)).price(activity).parts_nj
        for bits in (6, 8, 9)
    }
    assert of[9]["converter"] == pytest.approx(2 * of[8]["converter"])
    assert of[6]["converter"] == pytest.approx(of[8]["converter"] / 4)


def test_area_by_hand() -> None:
    neurons = NeuronLayer("n", "Leaky", 512, 100, 10, True, "none", True)
    # 16 x 16 tiles: cells, columns with their converters, buffers and tree; then the membranes.
    tile = 4096 * 0.0064 + 64 * 302.0 + 55025.0
    assert tile == pytest.approx(74_379, rel=1e-4)  # an eighth of a tile of eight arrays
    report = TARGET.price(Activity(100, (FC, neurons)))
    assert report.area_mm2 == pytest.approx(1e-6 * (256 * tile + 512 * 16.26), rel=1e-12)
    odd = replace(FC, name="o", kind="Conv2d")  # of a shape that nobody knows
    assert TARGET.price(Activity(100, (FC, odd))).area_mm2 is None
    assert replace(TARGET, silicon=None).price(Activity(100, (FC,))).area_mm2 is None


def test_other_mappings_are_refused() -> None:
    with pytest.raises(TargetError, match="it is one of dense, sparse"):
        replace(TARGET, tile=replace(TARGET.tile, mapping="folded"))
    with pytest.raises(TargetError, match="converter_bits is 2000"):
        replace(TARGET, analog=replace(TARGET.analog, converter_bits=2000.0))


def test_a_window_is_read_back_and_damage_refused() -> None:
    activity = Activity(100, (conv(12, 64, 5, 12),))
    assert Activity.from_json(activity.to_json()) == activity
    for old, new in (
        ('"stride": [1, 1]', '"stride": [0, 1]'),
        ('"kernel": [5, 5]', '"kernel": [5]'),
    ):
        assert old in activity.to_json()
        with pytest.raises(ValueError, match="no shape of a convolution"):
            Activity.from_json(activity.to_json().replace(old, new))
