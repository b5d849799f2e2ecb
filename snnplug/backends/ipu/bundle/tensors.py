"""Files of tensors in the safetensors format, read and written with numpy alone.

Python 3.8 and torch 2.0: a bundle has a copy of this file, so that it needs no other package.
"""

from __future__ import annotations

import json
import os
import pathlib
import struct
from typing import Any

import numpy as np
import torch
from torch import Tensor

_DTYPES = {"F32": "<f4", "F16": "<f2", "I64": "<i8"}
#: A header of more bytes is no header.
_LARGEST_HEADER = 100_000_000


def write_tensors(path: pathlib.Path, tensors: dict[str, Tensor]) -> None:
    """Write the tensors; the file appears under its name only when it is whole."""
    header: dict[str, Any] = {}
    blocks, end = [], 0
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name].detach().cpu().numpy())
        kind = {"f4": "F32", "f2": "F16", "i8": "I64"}.get(array.dtype.str[1:])
        if kind is None:
            raise ValueError(f"{name} is {array.dtype}, no float32, float16 or int64")
        data = array.astype(_DTYPES[kind]).tobytes()
        header[name] = {
            "dtype": kind,
            "shape": list(tensors[name].shape),
            "data_offsets": [end, end + len(data)],
        }
        blocks.append(data)
        end += len(data)
    text = json.dumps(header).encode("utf-8")
    text += b" " * (-len(text) % 8)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for block in blocks:
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
    os.replace(str(partial), str(path))


def read_tensors(path: pathlib.Path) -> dict[str, Tensor]:
    """Return the tensors of a file by their names.

    Raises:
        ValueError: The file is truncated or no file of tensors.
    """
    data = path.read_bytes()
    try:
        (length,) = struct.unpack("<Q", data[:8])
        if length > min(_LARGEST_HEADER, len(data) - 8):
            raise ValueError(f"header of {length} bytes")
        header = json.loads(data[8 : 8 + length].decode("utf-8"))
        body = data[8 + length :]
        return {
            name: _tensor(entry, body) for name, entry in header.items() if name != "__metadata__"
        }
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no whole file of tensors: {error}") from error


def _tensor(entry: dict[str, Any], body: bytes) -> Tensor:
    start, end = entry["data_offsets"]
    dtype = np.dtype(_DTYPES[entry["dtype"]])
    size = int(np.prod(entry["shape"], dtype=np.int64)) * dtype.itemsize
    if not 0 <= start <= end <= len(body) or end - start != size:
        raise ValueError(f"offsets {start} {end}")
    array = np.frombuffer(body[start:end], dtype).reshape(entry["shape"])
    return torch.from_numpy(array.astype(dtype.newbyteorder("=")))
