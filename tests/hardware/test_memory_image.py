"""Memory images: what is read back is what was written, and damage is refused."""

from __future__ import annotations

import json
import random
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from snnplug import ContinuousIF, SpikingSequential
from snnplug.errors import ArgumentError, DataError
from snnplug.hardware import memory_image
from snnplug.hardware.integer_network import IntegerNetwork, to_integers
from snnplug.hardware.memory_image import load_image, save_image
from snnplug.hardware.quantisation import quantise
from snnplug.hardware.simulator import simulate
from snnplug.hardware.sparse_digital import SparseDigital
from snnplug.hardware.target import load_target
from tests.support.chip import draw_chain

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
TARGET = load_target("yin2017-28nm")
assert isinstance(TARGET, SparseDigital)


def same(a: IntegerNetwork, b: IntegerNetwork) -> bool:
    assert (a.weight_bits, a.membrane_bits, len(a.layers)) == (
        b.weight_bits,
        b.membrane_bits,
        len(b.layers),
    )
    return all(
        np.array_equal(getattr(x, f.name), getattr(y, f.name))
        if isinstance(getattr(x, f.name), np.ndarray)
        else getattr(x, f.name) == getattr(y, f.name)
        for x, y in zip(a.layers, b.layers, strict=True)
        for f in fields(x)
    )


@pytest.mark.parametrize("seed", range(20))
def test_reads_back_what_was_written(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    torch.manual_seed(seed)
    network, shape = draw_chain(rng)
    weight_bits, membrane_bits = rng.choice([(3, 9), (4, 16), (8, 16), (16, 32)])
    chip = to_integers(quantise(network, weight_bits, membrane_bits), shape)
    folder = save_image(chip, TARGET, tmp_path / "image")
    assert same(load_image(folder), chip)
    assert not list(tmp_path.glob("*.partial"))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = SpikingSequential(nn.Linear(300, 300), ContinuousIF())
    return save_image(to_integers(quantise(network)), TARGET, tmp_path / "image")


def test_a_row_by_hand(tmp_path: Path) -> None:
    """Two inputs, two outputs: a row per input, output 0 in the lowest byte."""
    network = SpikingSequential(nn.Linear(2, 2, bias=False), ContinuousIF())
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, -1.0], [0.5, 0.0]]))
    chip = to_integers(quantise(network))  # units of 1/64
    folder = save_image(chip, TARGET, tmp_path / "image")
    rows = (folder / "layer0_bank0.hex").read_text().splitlines()
    assert len(rows) == 1024
    assert {len(row) for row in rows} == {64 * 8 // 4}
    assert rows[0].lstrip("0") == "2040"  # 0.5 = 0x20 in lane 1, 1.0 = 0x40 in lane 0
    assert rows[1][-4:] == "00c0"  # -1.0 = -64 = 0xc0
    assert (folder / "layer0_thresholds.hex").read_text() == "0040\n0040\n"


def test_banks_are_filled_one_after_the_other(image: Path) -> None:
    """300 inputs x 5 groups of lanes are 1500 rows; a bank of 64 kB holds 1024 of 64 bytes."""
    banks = sorted(path.name for path in image.glob("*bank*"))
    assert banks == ["layer0_bank0.hex", "layer0_bank1.hex"]


def test_the_image_alone_runs(image: Path) -> None:
    torch.manual_seed(0)
    network = SpikingSequential(nn.Linear(300, 300), ContinuousIF())
    frames = (torch.rand(3, 1, 300) < 0.3).float()
    expected = simulate(to_integers(quantise(network)), TARGET, frames)
    run = simulate(load_image(image), TARGET, frames)
    assert run.spikes.any()
    assert np.array_equal(run.spikes, expected.spikes)
    assert run.events == expected.events


@pytest.mark.parametrize(
    "name", ["layer0_bank1.hex", "layer0_biases.hex", "layer0_thresholds.hex", "manifest.json"]
)
def test_every_damage_is_refused_by_name(image: Path, name: str) -> None:
    path = image / name
    whole = path.read_bytes()
    rng = random.Random(0)
    for _ in range(20):
        data = bytearray(whole)
        place = rng.randrange(len(data))
        match rng.choice(["flip", "cut", "insert"]):
            case "flip":
                data[place] ^= 1 << rng.randrange(8)
            case "cut":
                del data[place:]
            case _:
                data[place:place] = b"0"
        if name == "manifest.json" and _same_json(bytes(data), whole):
            continue  # white space
        path.write_bytes(data)
        with pytest.raises(DataError, match=name if name != "manifest.json" else "image"):
            load_image(image)
    path.unlink()
    with pytest.raises(DataError, match=name):
        load_image(image)


def _same_json(a: bytes, b: bytes) -> bool:
    try:
        return bool(json.loads(a) == json.loads(b))
    except ValueError:
        return False


def test_refuses_another_format(image: Path) -> None:
    path = image / "manifest.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(DataError, match="this version reads 'snnplug memory image', version 1"):
        load_image(image)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"sha256": 3}', "\xff", "[" * 100_000])
def test_refuses_what_is_no_manifest(image: Path, text: str) -> None:
    (image / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(DataError):
        load_image(image)


def test_refuses_a_folder_that_is_there(image: Path) -> None:
    chip = load_image(image)
    before = sorted(path.name for path in image.iterdir())
    with pytest.raises(ArgumentError, match="is there already"):
        save_image(chip, TARGET, image)
    assert sorted(path.name for path in image.iterdir()) == before


def test_a_write_that_fails_leaves_nothing(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = load_image(image)

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(memory_image, "_write", full)
    with pytest.raises(ArgumentError, match="No space left"):
        save_image(chip, TARGET, image.parent / "other")
    assert [path.name for path in image.parent.iterdir()] == ["image"]
