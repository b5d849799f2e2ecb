"""Whole epochs through a ``DataLoader``: ours beside tonic's four ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tonic
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from snnplug.data.event_batches import EpochSampler, EventBatches, as_is, widened
from snnplug.data.frames import FrameOptions, Framing
from tests.benchmarks.data.recordings import DURATION_US, SENSOR, STEPS, Files
from tests.benchmarks.data.table import Row, Table, rates
from tests.benchmarks.neurons.timing import medians_ms

_ASKED = {"uncached": 20.0, "MemoryCachedDataset": 2.0, "DiskCachedDataset": 40.0}
_AS_A_DEVICE = "ours, uint8, as a device gets it"


class _Framed(Dataset[Any]):
    """tonic's own reading and framing of each recording."""

    def __init__(self, files: Files) -> None:
        self.paths, self.targets = files.paths, files.source.targets
        self.to_frame = tonic.transforms.ToFrame(sensor_size=SENSOR, n_time_bins=STEPS)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        events = tonic.io.read_mnist_file(self.paths[index], dtype=tonic.io.events_struct)
        return self.to_frame(events), self.targets[index]


def _stacked(samples: Sequence[tuple[Any, int]]) -> tuple[Tensor, Tensor]:
    """Collate time-first and to float, quicker than tonic's ``PadTensors``."""
    frames = torch.from_numpy(np.stack([frame for frame, _ in samples], axis=1)).float()
    return frames, torch.tensor([target for _, target in samples])


def our_loader(files: Files, batch: int, workers: int, dtype: Any = "float32") -> DataLoader[Any]:
    """Return our loader of the recordings, shuffled."""
    framing = Framing(STEPS, DURATION_US, SENSOR, False, FrameOptions(dtype=dtype))
    return DataLoader(
        EventBatches(files.store, framing).sending(),
        batch_size=batch,
        sampler=EpochSampler(len(files.store), shuffle=True),
        num_workers=workers,
        collate_fn=as_is,
        persistent_workers=workers > 0,
    )


def _tonic_loader(data: Any, batch: int, workers: int) -> DataLoader[Any]:
    return DataLoader(
        data,
        batch_size=batch,
        shuffle=True,
        num_workers=workers,
        collate_fn=_stacked,
        persistent_workers=workers > 0,
    )


def _epoch(loader: DataLoader[Any], widen: bool = False) -> Callable[[], None]:
    def run() -> None:
        for frames, _ in loader:
            if widen:
                widened(frames)

    return run


def end_to_end(files: Files, batch: int, repeats: int, workers: Sequence[int]) -> Table:
    """Time epochs; caches are warm."""
    rows = []
    for number in workers:
        data = _Framed(files)
        cached = tonic.DiskCachedDataset(data, cache_path=str(Path(files.folder, "tonic")))
        loaders = {
            "uncached": _tonic_loader(data, batch, number),
            "MemoryCachedDataset": _tonic_loader(tonic.MemoryCachedDataset(data), batch, number),
            "DiskCachedDataset": _tonic_loader(cached, batch, number),
        }
        wide, narrow = (our_loader(files, batch, number, d) for d in ("float32", "uint8"))
        ways = {
            "ours, float32": _epoch(wide),
            "ours, uint8, widened after loading": _epoch(narrow, widen=True),
            _AS_A_DEVICE: _epoch(narrow),
            **{f"tonic, {name}": _epoch(loader) for name, loader in loaders.items()},
        }
        speed = rates(medians_ms(ways, repeats), len(files.store))
        ours, bytes_ = speed["ours, float32"], speed[_AS_A_DEVICE]
        for name, rate in speed.items():
            asked, ratio = _ASKED.get(name.removeprefix("tonic, ")), ours / rate
            if name.startswith("ours, uint8"):
                asked, ratio = 2.0, rate / ours
            row = Row(f"{number} workers: {name}", rate, "/s", ratio, asked)
            rows.append(Row(row.name, rate, "/s") if name == "ours, float32" else row)
        for name, asked in _ASKED.items():
            ratio = bytes_ / speed[f"tonic, {name}"]
            row = f"{number} workers: {_AS_A_DEVICE}, to tonic, {name}"
            rows.append(Row(row, ratio, "x", ratio, 2 * asked))
    note = (
        f"{len(files.store)} {files.title} to float32 `({STEPS}, B, 2, 34, 34)` in batches of "
        f"{batch}. Ratio: ours in float32 to tonic's; uint8 to ours in float32, then to tonic's. "
        "tonic's frames lack each recording's last event."
    )
    return Table("Events to frames, through a DataLoader", note, rows)
