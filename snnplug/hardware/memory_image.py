"""The memories of a sparse digital accelerator as files: what it loads to run a network."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from snnplug.errors import ArgumentError, DataError
from snnplug.hardware.integer_network import (
    IntegerLayer,
    IntegerNetwork,
    Integers,
    Taps,
    Window,
)
from snnplug.hardware.sparse_digital import SparseDigital
from snnplug.hardware.weight_memory import fill, read_back, rows_per_bank

FORMAT = "snnplug memory image"
VERSION = 1
_MANIFEST = "manifest.json"


def save_image(network: IntegerNetwork, target: SparseDigital, folder: str | Path) -> Path:
    """Write what the target's memories hold to run a network: whole or not at all.

    The folder gets ``manifest.json`` with geometry, widths and the SHA-256 of every file, and per
    layer the files below. Each is text as Verilog's ``$readmemh`` takes it: one row per line in
    hexadecimal, two's complement, the first number in the lowest bits.

    - ``layer0_bank0.hex``, … — rows of weights, one weight per lane
    - ``layer0_biases.hex`` and ``layer0_thresholds.hex`` — one number of the membrane's bits per
      line and neuron

    Args:
        network: From :func:`~snnplug.hardware.integer_network.to_integers`.
        target: Its lanes and banks lay out the weights.
        folder: Is made; it must not be there.

    Returns:
        The folder.

    Raises:
        ArgumentError: The folder is there, or cannot be written.
    """
    folder = Path(folder)
    if folder.exists():
        raise ArgumentError(f"{folder} is there already; give a folder that is not")
    partial = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.partial")
    try:
        try:
            partial.mkdir(parents=True)
            _write(network, target, partial)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise ArgumentError(f"cannot write {folder}: {error.strerror}") from error
    return folder


def _write(network: IntegerNetwork, target: SparseDigital, folder: Path) -> None:
    lanes = target.datapath.lanes
    bank_rows = rows_per_bank(target.datapath, target.sram, network.weight_bits)
    checksums: dict[str, str] = {}

    def put(name: str, rows: Integers, bits: int) -> None:
        data = _to_hex(rows, bits).encode()
        (folder / name).write_bytes(data)
        checksums[name] = hashlib.sha256(data).hexdigest()

    entries = []
    for k, layer in enumerate(network.layers):
        banks = fill(layer, lanes, bank_rows).banks
        for b, rows in enumerate(banks):
            put(f"layer{k}_bank{b}.hex", rows, network.weight_bits)
        put(f"layer{k}_biases.hex", layer.bias[:, None], network.membrane_bits)
        put(f"layer{k}_thresholds.hex", layer.threshold[:, None], network.membrane_bits)
        entries.append(_describe(layer, len(banks)))
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "target": {"name": target.name, "fingerprint": target.fingerprint},
        "weight_bits": network.weight_bits,
        "membrane_bits": network.membrane_bits,
        "lanes": lanes,
        "rows_per_bank": bank_rows,
        "layers": entries,
    }
    seal = {"manifest": _digest(manifest), "files": checksums}
    text = json.dumps({**manifest, "sha256": seal}, indent=2) + "\n"
    (folder / _MANIFEST).write_text(text, encoding="utf-8")


def load_image(folder: str | Path) -> IntegerNetwork:
    """Read what :func:`save_image` wrote.

    Raises:
        DataError: The folder is no image, or a file of it is missing or damaged; the message names
            it.
    """
    folder = Path(folder)
    try:
        content = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        seal = content.pop("sha256")
        if content["format"] != FORMAT or content["version"] != VERSION:
            raise DataError(
                f"{folder / _MANIFEST} is of format {content['format']!r}, version "
                f"{content['version']!r}; this version reads {FORMAT!r}, version {VERSION}"
            )
        if _digest(content) != seal["manifest"]:
            raise DataError(f"{folder / _MANIFEST} was changed after it was written; write it anew")
        layers = tuple(
            _layer(folder, k, entry, content, seal["files"])
            for k, entry in enumerate(content["layers"])
        )
        return IntegerNetwork(layers, content["weight_bits"], content["membrane_bits"])
    except DataError:
        raise
    except OSError as error:
        raise DataError(
            f"{folder} is no memory image: {error.strerror}, {error.filename}"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{folder / _MANIFEST} is damaged: {type(error).__name__} {error}; write the image anew"
        ) from error


def _layer(
    folder: Path,
    k: int,
    entry: Mapping[str, Any],
    image: Mapping[str, Any],
    sums: Mapping[str, str],
) -> IntegerLayer:
    def get(name: str, columns: int, bits: int) -> Integers:
        data = (folder / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != sums[name]:
            raise DataError(f"{folder / name} is damaged: its checksum is not that of the manifest")
        return _from_hex(data.decode("ascii"), columns, bits)

    lanes, weight_bits, membrane_bits = (
        image[key] for key in ("lanes", "weight_bits", "membrane_bits")
    )
    banks = [get(f"layer{k}_bank{b}.hex", lanes, weight_bits) for b in range(entry["banks"])]
    taps, pool, spike_pool = entry["taps"], entry["pool"], entry["spike_pool"]
    return IntegerLayer(
        name=entry["name"],
        neuron=entry["neuron"],
        in_shape=tuple(entry["in_shape"]),
        out_shape=tuple(entry["out_shape"]),
        weights=read_back(np.stack(banks), tuple(entry["weights"])),
        bias=get(f"layer{k}_biases.hex", 1, membrane_bits).ravel(),
        taps=None if taps is None else Taps(**_tuples(taps)),
        pool=None if pool is None else Window(**_tuples(pool)),
        threshold=get(f"layer{k}_thresholds.hex", 1, membrane_bits).ravel(),
        fires_at_threshold=entry["fires_at_threshold"],
        stateful=entry["stateful"],
        resets=entry["resets"],
        spike_pool=None if spike_pool is None else Window(**_tuples(spike_pool)),
        fraction_bits=entry["fraction_bits"],
    )


def _describe(layer: IntegerLayer, banks: int) -> dict[str, Any]:
    return {
        "name": layer.name,
        "neuron": layer.neuron,
        "in_shape": layer.in_shape,
        "out_shape": layer.out_shape,
        "weights": layer.weights.shape,
        "banks": banks,
        "taps": None if layer.taps is None else asdict(layer.taps),
        "pool": None if layer.pool is None else asdict(layer.pool),
        "fires_at_threshold": layer.fires_at_threshold,
        "stateful": layer.stateful,
        "resets": layer.resets,
        "spike_pool": None if layer.spike_pool is None else asdict(layer.spike_pool),
        "fraction_bits": layer.fraction_bits,
    }


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON's lists as tuples, at any depth."""

    def convert(value: Any) -> Any:
        return tuple(map(convert, value)) if isinstance(value, list) else value

    return {key: convert(value) for key, value in values.items()}


def _to_hex(rows: Integers, bits: int) -> str:
    """Return one line per row, the first number in the lowest bits."""
    digits = -(-rows.shape[1] * bits // 4)
    places = (rows[:, :, None] >> np.arange(bits)) & 1  # two's complement, lowest bit first
    packed = np.packbits(places.reshape(len(rows), -1).astype(np.uint8), axis=1, bitorder="little")
    numbers = (int.from_bytes(row.tobytes(), "little") for row in packed)
    return "".join(f"{number:0{digits}x}\n" for number in numbers)


def _from_hex(text: str, columns: int, bits: int) -> Integers:
    size = -(-columns * bits // 8)
    data = b"".join(int(line, 16).to_bytes(size, "little") for line in text.splitlines())
    packed = np.frombuffer(data, np.uint8).reshape(-1, size)
    places = np.unpackbits(packed, axis=1, bitorder="little", count=columns * bits)
    unsigned = places.reshape(-1, columns, bits).astype(np.int64) @ (1 << np.arange(bits))
    signed: Integers = unsigned - ((unsigned >> (bits - 1)) << bits)
    return signed
