"""``snnplug data``: the data sets, what is in one, packing one, drawing a recording."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snnplug.data.registry import DATASETS, find_dataset
from snnplug.data.store import EventStore
from snnplug.errors import ArgumentError


def data_command(args: Sequence[str]) -> int:
    """Run ``snnplug data [ls|info|pack|view]``."""
    options = _parser().parse_args(list(args) or ["ls"])
    options.run(options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="snnplug data", description="Event data sets.")
    commands = parser.add_subparsers(required=True, metavar="ls|info|pack|view")
    commands.add_parser("ls", help="list the data sets").set_defaults(run=_ls)
    info = commands.add_parser("info", help="say what a data set or a packed file is")
    info.set_defaults(run=_info)
    info.add_argument("what", metavar="NAME|FILE")
    info.add_argument("--verify", action="store_true", help="compare every checksum of a file")
    pack = commands.add_parser("pack", help="pack the recordings of a data set into the cache")
    pack.set_defaults(run=_pack)
    pack.add_argument("what", metavar="NAME")
    view = commands.add_parser("view", help="draw a recording: frames, and events over time")
    view.set_defaults(run=_view)
    view.add_argument("what", metavar="NAME|FILE")
    view.add_argument("--index", type=int, default=0, help="which recording (0)")
    view.add_argument("--test", action="store_true", help="of the test recordings")
    view.add_argument("--frames", type=int, default=6, help="how many frames (6)")
    view.add_argument("--out", type=Path, metavar="FILE.png", help="write a picture instead")
    for command in (pack, view):
        command.add_argument("--root", help="the folder of the data (data)")
        command.add_argument("--download", action="store_true", help="fetch what is missing")
    return parser


def _ls(options: argparse.Namespace) -> None:
    print(f"{'name':<15} {'samples':<18} {'one step':<13} {'classes':>7}  source")
    for info in DATASETS.values():
        shape = "x".join(map(str, info.shape))
        print(f"{info.name:<15} {info.count:<18} {shape:<13} {info.num_classes:>7}  {info.source}")


def _info(options: argparse.Namespace) -> None:
    path = Path(options.what)
    if path.is_file():
        _print_store(EventStore(path), options.verify)
        return
    info = find_dataset(options.what)
    rows = {
        "samples": info.count,
        "one step": " x ".join(map(str, info.shape)),
        "classes": info.num_classes,
        "download": info.download,
        "licence": info.licence,
        "source": info.source,
        "recipes": f"data: {info.data_module}",
    }
    for name, value in rows.items():
        print(f"{name:<12} {value}")


def _print_store(store: EventStore, verify: bool) -> None:
    if verify:
        store.verify()
    counts = store.num_events
    classes = dict(zip(*np.unique(store.labels, return_counts=True), strict=True))
    rows = {
        "title": store.title,
        "recordings": f"{len(store):,}, {store.path.stat().st_size / 1e6:,.1f} MB",
        "sensor": " x ".join(map(str, store.sensor_size)),
        "per class": ", ".join(f"{label}: {count:,}" for label, count in classes.items()),
        "columns": ", ".join(store.columns) or "none",
        "built from": store.key,
        "checksums": "all right" if verify else "not compared; --verify does",
    }
    if len(store):
        rows["events"] = f"{counts.min():,} to {counts.max():,}, {counts.sum():,} in all"
        rows["last event"] = f"at most {store.last_us.max() / 1000:g} ms"
    for name, value in rows.items():
        print(f"{name:<12} {value}")


def _pack(options: argparse.Namespace) -> None:
    data = _data_module(options)
    data.prepare_data()
    for train in (True, False):
        store = data.store(train)
        print(f"{len(store):>7,} recordings in {store.path}")


def _view(options: argparse.Namespace) -> None:
    from snnplug.data.view import draw, plot

    path = Path(options.what)
    if path.is_file():
        store, classes = EventStore(path), None
    else:
        data = _data_module(options)
        store, classes = data.store(not options.test), data.classes
    if not -len(store) <= options.index < len(store):
        raise ArgumentError(
            f"--index is {options.index}; {store.path} has the recordings 0 to {len(store) - 1}"
        )
    if options.out is None:
        print(draw(store, options.index, options.frames, classes))
    else:
        plot(store, options.index, options.frames, classes, options.out)
        print(options.out)


def _data_module(options: argparse.Namespace) -> Any:
    _, data_module = find_dataset(options.what).load()
    if not hasattr(data_module, "store"):
        raise ArgumentError(f"{options.what} holds images, no events; there is nothing to pack")
    accepted = inspect.signature(data_module).parameters
    given = {"root": options.root, "download": options.download or None}
    arguments = {name: value for name, value in given.items() if value is not None}
    for name in arguments:
        if name not in accepted:
            raise ArgumentError(f"{options.what} is generated; it takes no --{name}")
    return data_module(**arguments)
