"""Frames of a batch: every event counted once, natively as in numpy."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from snnplug.data.addresses import encode_events
from snnplug.data.frames import Framing
from snnplug.errors import ArgumentError, DataError
from snnplug.kernels import native
from snnplug.kernels.frames import _reference, _Task, frames
from snnplug.kernels.located import Located, Recording
from tests.support.events import random_events
from tests.support.slow_frames import slow_frames


def recordings(rng: np.random.Generator, sites: int, last_us: int) -> list[Recording]:
    batch = []
    for _ in range(int(rng.integers(1, 9))):
        t = rng.integers(0, last_us, int(rng.integers(0, 60))).astype(np.uint32)
        dtype = rng.choice([np.uint16, np.uint32])
        batch.append(
            (np.sort(t) if rng.random() < 0.5 else t, rng.integers(0, sites, len(t), dtype))
        )
    return batch


def test_a_loop_over_events_gives_the_same_and_nothing_is_lost() -> None:
    """Over 10,000 recordings; the loop shares nothing with the kernel or its reference."""
    assert native.library() is not None, native.available()[1]
    rng, seen = np.random.default_rng(0), 0
    while seen < 10_000:
        sites, steps = int(rng.integers(1, 7)), int(rng.integers(1, 9))
        duration, start = int(rng.integers(1, 400)), int(rng.integers(0, 50))
        dtype = (torch.float32, torch.uint8)[seen % 2]
        most = int(rng.integers(1, 5)) if rng.random() < 0.5 else None
        batch = recordings(rng, sites, int(rng.integers(1, 500)))
        settings: Any = (sites, steps, duration, start)
        out, counts = frames(batch, *settings, most=most, dtype=dtype)
        assert out.dtype == dtype
        expected = np.zeros(out.shape, dtype=np.int64)
        for b, (t, site) in enumerate(batch):
            for u, s in zip((t.astype(int) - start).tolist(), site.tolist(), strict=True):
                if 0 <= u < duration:
                    expected[u * steps // duration, b, s] += 1
        clipped = np.minimum(expected, most or 255)
        assert np.array_equal(out.numpy(), clipped)
        assert np.array_equal(counts.kept, clipped.sum((0, 2)))
        assert np.array_equal(counts.clipped, expected.sum((0, 2)) - counts.kept)
        assert np.array_equal(sum(counts), [len(t) for t, _ in batch])
        task = _Task(sites, sites, *settings[1:], most or 255, dtype)
        twin = torch.empty_like(out)
        fates = _reference(batch, None, task, twin)
        assert torch.equal(twin, out)
        assert np.array_equal(fates[:, :6].T, np.stack(counts))
        seen += len(batch)


def test_a_byte_stops_at_255_and_says_so() -> None:
    t, site = np.zeros(300, dtype=np.uint32), np.zeros(300, dtype=np.uint16)
    out, counts = frames([(t, site)], 1, 1, 10, dtype=torch.uint8)
    assert (out.item(), counts.kept[0], counts.clipped[0]) == (255, 255, 45)


def test_equals_frames_of_single_recordings_at_full_size() -> None:
    events = [random_events(4000, seed) for seed in range(40)]
    batch = [encode_events(e, (34, 34, 2), "here") for e in events]
    for binary in (False, True):
        framing = Framing(25, 250_000, binary=binary)
        out, counts = frames(batch, 34 * 34 * 2, 25, 250_000, most=1 if binary else None)
        expected, outside = zip(*(slow_frames(e, framing) for e in events), strict=True)
        assert np.array_equal(out.view(25, 40, 2, 34, 34).numpy(), np.stack(expected, axis=1))
        assert counts.after.tolist() == [fates["after"] for fates in outside]


def test_times_and_steps_at_the_limits_do_not_overflow() -> None:
    t, site = np.array([0, 2**32 - 1], np.uint32), np.zeros(2, np.uint16)
    out, counts = frames([(t, site)], 1, 2**20, 2**32)
    assert out.flatten().nonzero().flatten().tolist() == [0, 2**20 - 1]
    assert counts.kept[0] == 2


def test_refuses_foreign_sites_and_bad_arguments() -> None:
    t, site = np.zeros(2, np.uint32), np.array([0, 9], np.uint16)
    with pytest.raises(DataError, match="site 9, beyond site 8"):
        frames([(t, site)], 9, 1, 10)
    good: dict[str, Any] = {"sites": 10, "num_steps": 1, "duration_us": 10}
    for bad in ({"sites": 0}, {"num_steps": 0}, {"duration_us": 0}, {"start_us": -1}, {"most": 0}):
        with pytest.raises(ArgumentError):
            frames([(t, site)], **{**good, **bad})
    fits = np.arange(10, dtype=np.int32)
    for maps in ([], [fits[:9]], [fits.astype(np.int64)], [fits - 1], [fits + 3]):
        with pytest.raises(ArgumentError, match="map"):
            frames([(t, site)], **good, maps=maps)
    with pytest.raises(ArgumentError, match="maps have to say"):
        frames([(t, site)], **good, frame_sites=4)
    with pytest.raises(ArgumentError, match="dtype"):
        frames([(t, site)], **good, dtype=torch.int32)
    with pytest.raises(ArgumentError, match="uint32"):
        frames([(t.astype(int), site)], **good)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
@pytest.mark.parametrize("isa", [0, 1, 2])
def test_large_batches_pass_the_caches_and_are_the_same(isa: int, dtype: torch.dtype) -> None:
    """Odd sizes, so that rows begin anywhere in a cache line; on every instruction set."""
    library: Any = native.library()
    if not library.snp_use_isa(isa):
        pytest.skip("this processor has not these instructions")
    try:
        rng = np.random.default_rng(isa)
        batch = []
        for count in (0, 70_000, 3000, 1):
            t = np.sort(rng.integers(0, 1000, count)).astype(np.uint32)
            batch.append((t, rng.integers(0, 9_001, count, np.uint16)))
        # More at one site than a byte holds, after bins that hold less.
        hot = np.where(rng.random(70_000) < 0.3, 7, batch[1][1]).astype(np.uint16)
        batch.append((batch[1][0], hot))
        maps = [rng.integers(0, 8_003, 9_001).astype(np.int32) for _ in batch]
        for most in (None, 2):
            highest = 255 if dtype == torch.uint8 else 2**24
            task = _Task(9_001, 8_001, 37, 900, 50, most or highest, dtype)
            expected = torch.empty(37, len(batch), 8_001, dtype=dtype)
            fates = _reference(batch, maps, task, expected)
            out, counts = frames(batch, 9_001, 37, 900, 50, most, dtype, maps, 8_001)
            assert torch.equal(out, expected)
            assert np.array_equal(fates[:, :6].T, np.stack(counts))
    finally:
        library.snp_use_isa(2) or library.snp_use_isa(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_lines_that_rows_share_hold_both_for_any_batch_and_threads(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of 513 … 800 values begin anywhere in a line; threads write runs of them."""
    module: Any = importlib.import_module("snnplug.kernels.frames")
    monkeypatch.setattr(module, "_STREAM_FROM", 0)
    rng, before = np.random.default_rng(3), torch.get_num_threads()
    try:
        for case in range(30):
            torch.set_num_threads(1 + case % 3)
            sites, batch = int(rng.integers(513, 800)), []
            for _ in range(int(rng.integers(1, 40))):
                t = np.sort(rng.integers(0, 90, int(rng.integers(0, 700)))).astype(np.uint32)
                batch.append((t, rng.integers(0, sites, len(t), np.uint16)))
            task = _Task(sites, sites, 4, 80, 5, 255, dtype)
            expected = torch.empty(4, len(batch), sites, dtype=dtype)
            _reference(batch, None, task, expected)
            # As much again on both sides, which has to stay.
            around = torch.full((3 * expected.numel(),), 77, dtype=dtype)
            out = around[expected.numel() : 2 * expected.numel()].view(expected.shape)
            frames(batch, sites, 4, 80, 5, 255, dtype, out=out)
            assert torch.equal(out, expected)
            assert (around[: expected.numel()] == 77).all()
            assert (around[2 * expected.numel() :] == 77).all()
    finally:
        torch.set_num_threads(before)


def test_recordings_of_one_array_need_no_views_of_their_own() -> None:
    rng, raw, batch = np.random.default_rng(1), bytearray(8), []
    at = []
    for count in (0, 7, 300):
        t = np.sort(rng.integers(0, 99, count)).astype(np.uint32)
        batch.append((t, rng.integers(0, 5, count, np.uint16)))
        at.append(len(raw))
        raw += t.tobytes() + batch[-1][1].tobytes() + bytes(-6 * count % 4)
    events = np.array([0, 7, 300])
    held = Located(np.frombuffer(raw, np.uint8), np.array(at), events, np.dtype("u2"))
    expected, counts = frames(batch, 5, 7, 90)
    out, same = frames(held, 5, 7, 90)
    assert torch.equal(out, expected)
    assert np.array_equal(np.stack(counts), np.stack(same))
    assert torch.equal(frames(held[1:], 5, 7, 90)[0], expected[:, 1:])
    assert torch.equal(frames(replace(held, in_order=True), 5, 7, 90)[0], expected)
    assert np.array_equal(held[2][1], batch[2][1])


def test_a_recording_out_of_order_among_others_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    batch = [
        (np.sort(rng.integers(0, 99, 50)).astype(np.uint32), rng.integers(0, 5, 50, np.uint16))
        for _ in range(4)
    ]
    out, _ = frames(batch, 5, 7, 99)
    batch[2] = batch[2][0][::-1], batch[2][1][::-1]
    assert torch.equal(frames(batch, 5, 7, 99)[0], out)
