"""The benchmark of event data, on tiny sizes: all of it runs, and compares the same work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from snnplug.kernels.frames import frames
from tests.benchmarks.data.__main__ import main
from tests.benchmarks.data.kernels import _bincount
from tests.benchmarks.data.loaders import _Framed, _stacked, our_loader
from tests.benchmarks.data.recordings import DURATION_US, SITES, STEPS, prepare
from tests.benchmarks.data.table import Row


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


def test_a_row_says_whether_its_target_is_reached() -> None:
    assert Row("a", 1.0, "/s", 3.0, 2.0).verdict == ">= 2: reached"
    assert Row("a", 1.0, "/s", 1.0, 2.0).verdict == ">= 2: missed"
    assert Row("a", 60.0, "ms", None, 50.0, is_most=True).verdict == "<= 50: missed"
    assert Row("a", 1.0, "/s").verdict == ""
