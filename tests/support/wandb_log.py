"""Reading an offline run back from its transaction log.

The layout is LevelDB's log: blocks of 32 KiB counted from the start of the file, in which a record
of 7 bytes header and its payload never straddles two; wandb puts 7 bytes of its own first.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK, _FULL, _LAST = 32 * 1024, 1, 4


def records(path: Path) -> list[Any]:
    """Return wandb's records; its writer may close the file a moment after the run's end."""
    from google.protobuf.message import DecodeError

    deadline = time.monotonic() + 10
    while True:
        try:
            found = list(_parsed(path.read_bytes()))
        except (DecodeError, struct.error):
            found = []
        if any(record.HasField("exit") for record in found):
            return found
        assert time.monotonic() < deadline, f"{path} never got its end"
        time.sleep(0.1)


def _parsed(data: bytes) -> Iterator[Any]:
    from wandb.proto.wandb_internal_pb2 import Record

    assert data[:4] in (b":W&B", b""), "no wandb transaction log"
    place, parts = 7, b""
    while place < len(data):
        left = _BLOCK - place % _BLOCK
        if left < 7:
            place += left
            continue
        _, size, kind = struct.unpack("<IHB", data[place : place + 7])
        place += 7
        if kind == 0:
            break
        parts += data[place : place + size]
        place += size
        if kind in (_FULL, _LAST):
            yield Record.FromString(parts)
            parts = b""


def _items(items: Any) -> dict[str, Any]:
    return {(i.key or ".".join(i.nested_key)): json.loads(i.value_json) for i in items}


def history(path: Path) -> list[dict[str, Any]]:
    """Return one dictionary per logged row."""
    return [
        _items(r.history.item) for r in records(path) if r.WhichOneof("record_type") == "history"
    ]


def summary(path: Path) -> dict[str, Any]:
    """Return the run's summary."""
    found: dict[str, Any] = {}
    for record in records(path):
        if record.WhichOneof("record_type") == "summary":
            found.update(_items(record.summary.update))
    return found


def config(path: Path) -> dict[str, Any]:
    """Return the run's config."""
    found: dict[str, Any] = {}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind in ("run", "config"):
            found.update(_items((record.run.config if kind == "run" else record.config).update))
    return found


def log_of(run_dir: Path) -> Path:
    """Return the transaction log of the one offline run under a run's folder."""
    (path,) = run_dir.glob("wandb/offline-run-*/run-*.wandb")
    return path
