"""The bytes of a packed event store.

A header of 64 bytes; per recording a head of 32 bytes, its times (uint32, µs) and its sites (uint16
or uint32), filled up to a multiple of 8; then a description in JSON and the columns, one value per
recording. All little-endian. Header, recording, description and column each carry their CRC-32.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

VERSION = 1
_MAGIC = b"SNPEVENT"
_RECORD = b"EVT1"
_HEADER = struct.Struct("<8sIIQQ32s")
_HEAD = struct.Struct("<4sIIIqq")
_FOOTER = struct.Struct("<II")
HEADER_BYTES, HEAD_BYTES, FOOTER_BYTES = _HEADER.size, _HEAD.size, _FOOTER.size


@dataclass(frozen=True)
class Record:
    """The head of one recording: events, place in the order, class, last time (-1: no event)."""

    num_events: int
    index: int
    label: int
    last_us: int
    crc: int


def header(digest: bytes, footer_at: int, file_bytes: int) -> bytes:
    """Return the header; ``footer_at`` is 0 while the store is being written."""
    fields = (footer_at, file_bytes, digest)
    crc = zlib.crc32(_HEADER.pack(_MAGIC, VERSION, 0, *fields))
    return _HEADER.pack(_MAGIC, VERSION, crc, *fields)


def parse_header(raw: bytes) -> tuple[bytes, int, int]:
    """Return digest, place of the description and size of the file.

    Raises:
        ValueError: This is no header, or one of another version.
    """
    if len(raw) != HEADER_BYTES or raw[:8] != _MAGIC:
        raise ValueError("it does not begin as a store does")
    _, version, _, footer_at, file_bytes, digest = _HEADER.unpack(raw)
    if version != VERSION:
        raise ValueError(f"its format is {version}; this version reads {VERSION}")
    if header(digest, footer_at, file_bytes) != raw:
        raise ValueError("the checksum of its header is wrong")
    return digest, footer_at, file_bytes


def record_bytes(num_events: int, site_bytes: int) -> int:
    """Return the length of a recording with its head."""
    return HEAD_BYTES + -(-num_events * (4 + site_bytes) // 8) * 8


def record(
    index: int, label: int, t: npt.NDArray[Any], site: npt.NDArray[Any]
) -> tuple[Record, tuple[memoryview, ...]]:
    """Return the head of one recording, and its bytes in pieces: the arrays are not copied."""
    last_us = int(t[-1]) if len(t) else -1
    filler = memoryview(bytes(-(t.nbytes + site.nbytes) % 8))
    body = [np.ascontiguousarray(array).view(np.uint8).data for array in (t, site)]
    crc = zlib.crc32(_HEAD.pack(_RECORD, len(t), index, 0, label, last_us))
    for piece in (*body, filler):
        crc = zlib.crc32(piece, crc)
    head = memoryview(_HEAD.pack(_RECORD, len(t), index, crc, label, last_us))
    return Record(len(t), index, label, last_us, crc), (head, *body, filler)


def parse_head(raw: bytes) -> Record:
    """Return the head of a recording, its checksum not yet compared.

    Raises:
        ValueError: This is no head.
    """
    if len(raw) != HEAD_BYTES or raw[:4] != _RECORD:
        raise ValueError("no recording begins here")
    _, num_events, index, crc, label, last_us = _HEAD.unpack(raw)
    return Record(num_events, index, label, last_us, crc)


def record_is_whole(raw: bytes) -> bool:
    """Whether a recording, head and all, has the checksum that it states."""
    head = parse_head(raw[:HEAD_BYTES])
    plain = _HEAD.pack(_RECORD, head.num_events, head.index, 0, head.label, head.last_us)
    return zlib.crc32(memoryview(raw)[HEAD_BYTES:], zlib.crc32(plain)) == head.crc


def footer(description: dict[str, Any], columns: dict[str, npt.NDArray[Any]]) -> bytes:
    """Return the description followed by the columns."""
    stated = {
        name: {
            "dtype": column.dtype.str,
            "shape": column.shape,
            "crc": zlib.crc32(column.tobytes()),
        }
        for name, column in columns.items()
    }
    text = json.dumps({**description, "columns": stated}).encode()
    body = b"".join(column.tobytes() for column in columns.values())
    return _FOOTER.pack(len(text), zlib.crc32(text)) + text + body


def parse_footer(raw: bytes) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Return the description and the columns.

    Raises:
        ValueError: They are damaged.
    """
    if len(raw) < FOOTER_BYTES:
        raise ValueError("its description is missing")
    length, crc = _FOOTER.unpack_from(raw)
    text = raw[FOOTER_BYTES : FOOTER_BYTES + length]
    if len(text) != length or zlib.crc32(text) != crc:
        raise ValueError("the checksum of its description is wrong")
    description = json.loads(text)
    columns, at = {}, FOOTER_BYTES + length
    for name, stated in description.pop("columns").items():
        dtype, shape = np.dtype(stated["dtype"]), tuple(stated["shape"])
        count = int(np.prod(shape, dtype=np.int64))
        body = raw[at : at + count * dtype.itemsize]
        if dtype.kind not in "iufbSU" or zlib.crc32(body) != stated["crc"]:
            raise ValueError(f"the checksum of its column {name} is wrong")
        columns[name] = np.frombuffer(body, dtype=dtype, count=count).reshape(shape)
        at += len(body)
    if at != len(raw):
        raise ValueError("bytes follow its last column")
    return description, columns
