"""The benchmark of event data, on tiny sizes: all of it runs, and compares the same work."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tonic.io
import torch

from snnplug.data.augmentation import Augmentation
from snnplug.data.event_batches import EventBatches
from snnplug.data.events import EVENT_DTYPE
from snnplug.data.frames import Framing
from snnplug.data.recording import read_arrays
from snnplug.kernels.frames import frames
from snnplug.kernels.located import Located
from tests.benchmarks.data import memory
from tests.benchmarks.data.__main__ import main
from tests.benchmarks.data.kernels import _bincount
from tests.benchmarks.data.loaders import _Framed, _stacked, our_loader
from tests.benchmarks.data.recordings import DURATION_US, SENSOR, SITES, STEPS, prepare
from tests.benchmarks.data.table import Row
from tests.benchmarks.neurons.timing import medians_ms


@pytest.mark.slow
def test_writes_every_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = "--recordings 12 --batch 4 --repeats 1 --workers 0 --many 2 --full-size 40"
    main([*sizes.split(), "--write", str(tmp_path)])
    text = (tmp_path / "data.md").read_text()
    assert text in capsys.readouterr().out
    for title in (
        "DataLoader",
        "kernel alone",
        "packing",
        "first batch",
        "Memory",
        "40 recordings",
    ):
        assert title in text
    for name in ("uncached", "MemoryCachedDataset", "DiskCachedDataset", "np.bincount", "GB/s"):
        assert name in text


def test_all_ways_make_the_same_frames_but_for_tonics_last_events(tmp_path: Path) -> None:
    files = prepare(tmp_path, 6)
    pair = files.store.arrays(3)
    ours = frames([pair], SITES, STEPS, DURATION_US)[0].numpy()
    assert np.array_equal(ours.ravel(), _bincount(pair))
    (loaded, targets), *_ = our_loader(files, 6, 0, "uint8")
    theirs, labels = _stacked([_Framed(files)[index] for index in range(6)])
    assert loaded.shape == theirs.shape
    assert sorted(targets.tolist()) == sorted(labels.tolist())
    missing = loaded.to(torch.float32).sum() - theirs.sum()
    assert 6 <= missing <= 60


def test_kernels_keep_their_lead_with_a_wide_margin(tmp_path: Path) -> None:
    """In the thread's own time, taking turns: half of what a quiet machine shows."""
    files = prepare(tmp_path, 64)
    pairs, paths = files.store.recordings(np.arange(64)), files.paths
    batch = np.empty((STEPS, 64, SITES), np.uint8)

    def counted() -> None:
        for b, pair in enumerate(pairs):
            batch[:, b] = _bincount(pair).reshape(STEPS, SITES)

    # Bytes last: what comes first finds the caches full of something else.
    kernels: dict[str, Callable[[], object]] = {
        "np.bincount": counted,
        "float32": lambda: frames(pairs, SITES, STEPS, DURATION_US),
        "uint8": lambda: frames(pairs, SITES, STEPS, DURATION_US, dtype=torch.uint8),
    }
    taken = medians_ms(kernels, 11, clock=time.thread_time)
    assert taken["float32"] > 1.15 * taken["uint8"]
    assert taken["np.bincount"] > 2.5 * taken["uint8"]
    readers: dict[str, Callable[[], object]] = {
        "read": lambda: [read_arrays(path) for path in paths],
        "tonic reads": lambda: [tonic.io.read_mnist_file(path, EVENT_DTYPE) for path in paths],
    }
    taken = medians_ms(readers, 7, clock=time.thread_time)
    assert taken["tonic reads"] > 2 * taken["read"]


def test_a_store_needs_no_object_for_each_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor a copy of its events, moved or not: what frames are made from stays as it lies there."""
    files = prepare(tmp_path, 6)
    seen: list[object] = []
    module = importlib.import_module("snnplug.data.frames")

    def noted(recordings: object, *rest: Any) -> object:
        seen.append(recordings)
        return frames(recordings, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "frames", noted)
    framing = Framing(STEPS, DURATION_US, SENSOR)
    moved = Augmentation(shift_px=2, flip=0.5, cut_px=3)
    for augmentation in (Augmentation(), moved):
        batches = EventBatches(files.store, framing, augmentation=augmentation)
        batches.__getitems__([(0, k) for k in range(6)])
    assert [type(recordings) for recordings in seen] == [Located, Located]
    assert all(held.in_order for held in seen if isinstance(held, Located))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_eight_workers_share_what_one_has(tmp_path: Path) -> None:
    *_, row = memory.workers(prepare(tmp_path, 100), 16, 8).rows
    assert row.ratio is not None
    assert 0.8 < row.ratio <= 1.2


def test_a_row_says_whether_its_target_is_reached() -> None:
    assert Row("a", 1.0, "/s", 3.0, 2.0).verdict == ">= 2: reached"
    assert Row("a", 1.0, "/s", 1.0, 2.0).verdict == ">= 2: missed"
    assert Row("a", 60.0, "ms", None, 50.0, is_most=True).verdict == "<= 50: missed"
    assert Row("a", 1.0, "/s").verdict == ""
