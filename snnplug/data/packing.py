"""Packing recordings into a store: once, resumable, and never a half-written file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from snnplug.data import store_format as fmt
from snnplug.data.addresses import SensorSize, encode_events, site_dtype
from snnplug.data.store import EventStore
from snnplug.errors import ArgumentError, DataError
from snnplug.files import locked


class _Source(Protocol):
    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.void], Any]: ...


def pack(
    source: _Source,
    path: str | Path,
    sensor_size: SensorSize,
    key: Mapping[str, Any],
    title: str = "",
    columns: Mapping[str, npt.NDArray[Any]] | None = None,
    progress: bool = False,
) -> EventStore:
    """Pack every recording of a data set into one file, or open the file if that was done.

    An interrupted packing is taken up where it stopped: whole recordings in ``path.partial`` are
    kept. The finished file appears under its name in one step. Processes that pack the same file
    wait for the first of them (``path.lock``) and open what it wrote. A file that is damaged, or
    was built from something else, is packed again.

    Args:
        source: Any data set of tonic's shape: ``source[i]`` is ``(events, class)``, events with
            fields t (µs) and x, and y and p on a camera. Out of order, they are sorted by time.
            One that has ``arrays(i)`` gives times and sites themselves, as a store does, and its
            classes as ``targets``.
        path: The file to write.
        sensor_size: ``(channels,)`` or ``(width, height, polarities)``.
        key: What the recordings are and depend on, of JSON's types: name, split, version,
            parameters. Another key packs again.
        title: What a result on these recordings is a result on.
        columns: Further values, one per recording, such as its speaker.
        progress: Show a progress bar.

    Returns:
        The open store.

    Raises:
        DataError: A recording is outside the sensor or has no integer class, or the file cannot
            be written.
        ArgumentError: ``sensor_size`` is not one, a column has another length, or ``key`` cannot
            be written as JSON.

    Example:
        >>> import tempfile
        >>> events = np.zeros(3, dtype=[("t", int), ("x", int)])
        >>> store = pack([(events, 1)], tempfile.mkdtemp() + "/a.events", (64,), {"name": "three"})
        >>> len(store), store.targets
        (1, [1])
    """
    path, extra = Path(path), dict(columns or {})
    site_dtype(sensor_size)
    for name, column in extra.items():
        kind, length = np.asarray(column).dtype.kind, len(column)
        if length != len(source) or kind not in "iufbSU":
            raise ArgumentError(
                f"column {name} has {length} values of kind {kind!r} for {len(source)} recordings; "
                "give one number or string each"
            )
    digest = _digest(key, sensor_size, len(source), title, extra)
    found = _existing(path, digest)
    if found is not None:
        return found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(path.name + ".lock")):
            found = _existing(path, digest)
            if found is None:
                _write(source, path, sensor_size, dict(key), digest, title, extra, progress)
    except OSError as error:
        raise DataError(
            f"cannot pack into {path}: {error.strerror or error}; make room or choose another "
            "folder, and start again: what is packed already is kept"
        ) from error
    return found or EventStore(path)


def _digest(
    key: Mapping[str, Any],
    sensor_size: SensorSize,
    count: int,
    title: str,
    columns: Mapping[str, npt.NDArray[Any]],
) -> bytes:
    try:
        text = json.dumps([dict(key), list(sensor_size), count, title], sort_keys=True)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"the key {key} cannot be written as JSON: {error}") from error
    digest = hashlib.sha256(text.encode())
    for name in sorted(columns):
        column = np.asarray(columns[name])
        digest.update(f"{name} {column.dtype.str} {column.shape}".encode() + column.tobytes())
    return digest.digest()


def _existing(path: Path, digest: bytes) -> EventStore | None:
    """Return the store if it is there, whole as far as opening tells, and built from the same."""
    if not path.is_file():
        return None
    try:
        store = EventStore(path)
    except DataError:
        return None
    return store if store.digest == digest else None


def _write(
    source: _Source,
    path: Path,
    sensor_size: SensorSize,
    key: dict[str, Any],
    digest: bytes,
    title: str,
    extra: dict[str, npt.NDArray[Any]],
    progress: bool,
) -> None:
    partial = path.with_name(path.name + ".partial")
    arrays, name = getattr(source, "arrays", None), title or path.stem
    with partial.open("r+b" if partial.exists() else "w+b") as file:
        records = _resume(file, digest, site_dtype(sensor_size).itemsize)
        for index in _tracked(range(len(records), len(source)), path.name, progress):
            origin = f"recording {index} of {name}"
            if arrays is None:
                events, target = source[index]
                t, site = encode_events(events, sensor_size, origin)
            else:
                t, site = arrays(index)
                target = source.targets[index]  # type: ignore[attr-defined]
            head, pieces = fmt.record(index, _label(target, origin), t, site)
            for piece in pieces:
                file.write(piece)
            records.append(head)
        footer_at = file.tell()
        columns = {
            column: np.array([getattr(r, column) for r in records], dtype="<i8")
            for column in ("label", "num_events", "last_us")
        }
        description = {"key": key, "sensor_size": list(sensor_size), "title": title}
        extras = {column: np.asarray(values) for column, values in extra.items()}
        file.write(fmt.footer(description, columns | extras))
        size = file.tell()
        file.seek(0)
        file.write(fmt.header(digest, footer_at, size))
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def _label(target: Any, origin: str) -> int:
    if not isinstance(target, (int, np.integer)) or not -(2**63) <= int(target) < 2**63:
        raise DataError(
            f"{origin} has the class {target!r}, no integer; map the classes to 0, 1, …"
        )
    return int(target)


def _resume(file: BinaryIO, digest: bytes, site_bytes: int) -> list[fmt.Record]:
    """Return the whole recordings that are there, and place the file behind them."""
    records: list[fmt.Record] = []
    try:
        found, footer_at, _ = fmt.parse_header(file.read(fmt.HEADER_BYTES))
        usable = found == digest and footer_at == 0
    except ValueError:
        usable = False
    at = fmt.HEADER_BYTES
    while usable:
        head = file.read(fmt.HEAD_BYTES)
        try:
            stated = fmt.parse_head(head)
            length = fmt.record_bytes(stated.num_events, site_bytes)
            body = file.read(length - fmt.HEAD_BYTES)
            whole = len(body) == length - fmt.HEAD_BYTES and fmt.record_is_whole(head + body)
        except ValueError:
            break
        if not whole or stated.index != len(records):
            break
        records.append(stated)
        at += length
    file.seek(0)
    file.write(fmt.header(digest, 0, 0))
    file.seek(at)
    file.truncate()
    return records


def _tracked(indices: range, name: str, progress: bool) -> Iterator[int]:
    if not progress:
        yield from indices
        return
    from rich.progress import track

    yield from track(indices, description=f"packing {name}")
