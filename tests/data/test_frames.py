"""Frames: every event in the bin of its time and the pixel of its place, or dropped and counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tonic.transforms import ToFrame

from snnplug.data.addresses import encode_events
from snnplug.data.events import EVENT_DTYPE
from snnplug.data.frames import EventCounts, FrameOptions, Framing
from snnplug.data.site_maps import Move
from snnplug.errors import ArgumentError
from snnplug.kernels import event_filter, native
from snnplug.kernels import frames as kernel
from tests.support.events import random_events
from tests.support.slow_frames import slow_frames

SENSOR = (34, 34, 2)


def arrays(
    events: npt.NDArray[np.void], sensor: tuple[int, ...] = SENSOR
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    return encode_events(events, sensor, "here")


def random_case(rng: np.random.Generator) -> tuple[Framing, list[npt.NDArray[np.void]]]:
    """Settings and recordings, small enough that all fates are common."""
    width, height, polarities = (int(n) for n in rng.integers(1, (9, 7, 4)))
    crop = None
    if rng.random() < 0.5:
        left, top = (int(n) for n in rng.integers(0, (width, height)))
        across, down = (int(n) for n in rng.integers(1, (width - left + 1, height - top + 1)))
        crop = (left, top, across, down)
    options = FrameOptions(
        start_us=int(rng.integers(0, 40)) * int(rng.random() < 0.5),
        dt_us=int(rng.integers(1, 60)) if rng.random() < 0.3 else None,
        most=int(rng.integers(1, 4)) if rng.random() < 0.3 else None,
        crop=crop,
        downsample=int(rng.integers(1, 4)),
        merge_polarities=bool(rng.random() < 0.3),
        refractory_us=int(rng.integers(0, 40)) if rng.random() < 0.3 else 0,
        background_us=int(rng.integers(0, 40)) if rng.random() < 0.3 else 0,
        dtype="uint8" if rng.random() < 0.5 else "float32",
    )
    framing = Framing(
        int(rng.integers(1, 9)),
        int(rng.integers(1, 300)),
        (width, height, polarities),
        bool(rng.random() < 0.3),
        options,
    )
    batch = []
    for _ in range(10):
        events = np.empty(int(rng.integers(0, 30)), dtype=EVENT_DTYPE)
        for name, size in zip("xyp", framing.sensor_size, strict=True):
            events[name] = rng.integers(0, size, len(events))
        events["t"] = np.sort(rng.integers(0, 300, len(events)))
        batch.append(events)
    return framing, batch


def drawn(rng: np.random.Generator) -> Move:
    dx, dy = rng.integers(-3, 4, 2).tolist()
    left, top = rng.integers(-2, 6, 2).tolist()
    return Move(dx, dy, bool(rng.random() < 0.5), (left, top, int(rng.integers(0, 4))))


class _Given:
    """Augmentation that moves each recording as it was told."""

    def __init__(self, moves: list[Move], is_moving_only: bool) -> None:
        self.moves = iter(moves)
        self.is_moving_only = is_moving_only

    def move(self, *_: Any) -> Move:
        return next(self.moves)

    def __call__(self, recording: Any, *_: Any) -> tuple[Any, int, Move]:
        return recording, 0, next(self.moves)


@pytest.mark.parametrize("natively", [True, False])
def test_10000_recordings_equal_a_loop_over_events_and_none_is_lost(
    natively: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert native.library() is not None, native.available()[1]
    if not natively:
        monkeypatch.setattr(kernel.native, "library", lambda: None)
    rng = np.random.default_rng(0)
    seen = np.zeros(len(EventCounts._fields), dtype=np.int64)
    for case in range(1000 if natively else 100):
        framing, batch = random_case(rng)
        moves = [drawn(rng) for _ in batch]
        unchanged = [arrays(events, framing.sensor_size) for events in batch]
        given: Any = _Given(moves, case % 2 == 0)
        out, counts, _ = framing(unchanged, given, lambda _: rng)
        assert out.dtype == getattr(torch, framing.options.dtype)
        for b, events in enumerate(batch):
            expected, fates = slow_frames(events, framing, moves[b])
            assert np.array_equal(out[:, b].numpy(), expected), framing
            assert {k: n for k, n in fates.items() if n} == {
                name: column[b] for name, column in counts._asdict().items() if column[b]
            }
        total = counts.kept + counts.dropped
        assert total.tolist() == [len(events) for events in batch]
        seen += [column.sum() for column in counts]
    # Each reason occurred; `thinned` is augmentation's.
    assert (seen[:-1] > (300 if natively else 30)).all()


def test_order_of_events_does_not_matter() -> None:
    t, site = arrays(random_events(1000))
    order = np.random.default_rng(0).permutation(len(t))
    framing = Framing(10, 300_000, SENSOR, binary=False)
    (sorted_, *_), (mixed, *_) = framing([(t, site)]), framing([(t[order], site[order])])
    assert torch.equal(sorted_, mixed)


def test_channels_alone_are_a_sensor_too() -> None:
    recording = np.array([1, 9], "u4"), np.array([5, 63], "u2")
    frames, *_ = Framing(2, 10, (64,))([recording])
    assert frames.shape == (2, 1, 64)
    assert frames.nonzero().tolist() == [[0, 0, 5], [1, 0, 63]]
    options = FrameOptions(crop=(4, 0, 60, 1), downsample=4)
    frames, counts, _ = Framing(2, 10, (64,), options=options)([recording])
    assert frames.shape == (2, 1, 15)
    assert frames.nonzero().tolist() == [[0, 0, 0], [1, 0, 14]]
    assert counts.cropped.tolist() == [0]


def test_fixed_bins_and_lengths() -> None:
    options = FrameOptions(start_us=100, dt_us=10, variable_length=True)
    framing = Framing(7, 1, (4,), options=options)
    assert framing.window_us == (100, 70)
    recordings = [
        (np.array(times, "u4"), np.zeros(len(times), "u2"))
        for times in ([], [5], [100], [109, 110], [169], [130, 170])
    ]
    frames, counts, lengths = framing(recordings)
    # A recording without an event in the window has one step, and it is empty.
    assert lengths.tolist() == [1, 1, 1, 2, 7, 4]
    assert counts.after.tolist() == [0, 0, 0, 0, 0, 1]
    for b, length in enumerate(lengths.tolist()):
        assert frames[length:, b].sum() == 0


def test_tonic_agrees_where_it_is_right() -> None:
    """Sorted events, a window that begins at the first, none in the bin that tonic loses."""
    events = random_events(5000)
    events["t"][0], events["t"][-1] = 0, 300_000
    theirs = ToFrame(sensor_size=SENSOR, time_window=10_000)(events)
    ours, counts, _ = Framing(30, 300_000, SENSOR, binary=False)([arrays(events)])
    assert theirs.shape == (30, 2, 34, 34)
    assert np.array_equal(ours[:, 0].numpy(), theirs)
    assert counts.after.tolist() == [1]
    steps = ToFrame(sensor_size=SENSOR, n_time_bins=30)(events)
    assert np.array_equal(ours[:, 0].numpy(), steps)


def test_tonic_loses_what_we_keep() -> None:
    events = random_events(4000)
    ours = Framing(25, 300_000, SENSOR, binary=False)
    assert ours([arrays(events)])[0].sum() == 4000
    assert ToFrame(sensor_size=SENSOR, n_time_bins=25)(events).sum() < 4000
    assert ToFrame(sensor_size=SENSOR, time_window=7_000)(events).sum() < 4000
    mixed = np.random.default_rng(0).permutation(events)
    assert ToFrame(sensor_size=SENSOR, n_time_bins=25)(mixed).sum() < 400
    assert ours([arrays(mixed)])[0].sum() == 4000
    late = events.copy()
    late["t"] += 500_000
    # Tonic begins at the first event; we do not move a recording in time.
    assert ToFrame(sensor_size=SENSOR, n_time_bins=25)(late).sum() > 3900
    assert ours([arrays(late)])[1].after.tolist() == [4000]


def test_a_stabilised_picture_stays_where_it_is() -> None:
    """Simulated digits move along the path that is taken out."""
    from snnplug.data.saccade_digits import SaccadeDigits

    recordings = SaccadeDigits(train=False)
    batch = [arrays(recordings[index][0]) for index in range(8)]

    def wander(options: FrameOptions) -> float:
        """How far the middle of the events goes; their edges lead and trail it, so not to 0."""
        framing = Framing(30, 300_000, SENSOR, binary=False, options=options)
        frames, counts, _ = framing(batch)
        assert (counts.kept + counts.dropped).tolist() == [len(t) for t, _ in batch]
        column = (frames.sum((1, 2, 3)) * torch.arange(34)).sum(1) / frames.sum((1, 2, 3, 4))
        return float(column.std())

    assert wander(FrameOptions(stabilize=True)) < 0.6 * wander(FrameOptions())


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_steps": 0},
        {"duration_us": 0},
        {"sensor_size": (0, 34, 2)},
        {"options": FrameOptions(start_us=-1)},
        {"options": FrameOptions(dt_us=0)},
        {"options": FrameOptions(most=0)},
        {"options": FrameOptions(crop=(0, 0, 35, 34))},
        {"options": FrameOptions(crop=(-1, 0, 3, 3))},
        {"options": FrameOptions(downsample=0)},
        {"options": FrameOptions(refractory_us=-1)},
        {"options": FrameOptions(dtype="int8")},  # type: ignore[arg-type]
        {"options": FrameOptions(stabilize=True), "sensor_size": (30, 34, 2)},
    ],
)
def test_refuses_settings_that_are_none(arguments: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        Framing(**{"num_steps": 3, "duration_us": 10, "sensor_size": SENSOR, **arguments})


def test_filters_refuse_impossible_numbers() -> None:
    recording = np.zeros(1, "u4"), np.zeros(1, "u2")
    for bad in ((0, 1, 1, 1), (1, 1, -1, 0), (1, 1, 0, 2**33)):
        with pytest.raises(ArgumentError):
            event_filter.filter_events(recording, *bad)
