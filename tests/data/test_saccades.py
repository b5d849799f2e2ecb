"""`simulate_saccades`: its laws, a scalar oracle, and its likeness to real recordings."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from snnplug.data import saccades
from snnplug.data.events import EVENT_DTYPE
from snnplug.data.saccades import SaccadeCamera, simulate_saccades
from snnplug.errors import DataError
from tests.support.datasets import SNNPLUG_DATA, needs_mnist, needs_nmnist

CAMERA = SaccadeCamera()
QUIET = SaccadeCamera(noise_rate_hz=0.0)


def blob(side=28):
    """A disc off the centre, grey at its rim."""
    row, column = np.mgrid[:side, :side] / side
    return np.clip(4 - 16 * np.hypot(row - 0.4, column - 0.55), 0, 1)


def test_same_seed_gives_same_events_whatever_the_global_generator():
    np.random.seed(1)  # noqa: NPY002
    first = simulate_saccades(blob(), seed=3)
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(first, simulate_saccades(blob(), seed=3))


@pytest.mark.parametrize("camera", [CAMERA, QUIET])
def test_seeds_differ_with_and_without_noise(camera):
    first, second = (simulate_saccades(blob(), camera, seed=seed) for seed in (0, 1))
    assert not np.array_equal(first, second)
    assert abs(len(first) - len(second)) < 0.1 * len(first)


def test_events_have_the_dtype_of_recordings_and_are_sorted_on_the_sensor():
    events = simulate_saccades(blob())
    assert events.dtype == EVENT_DTYPE
    assert events.dtype.names == ("x", "y", "t", "p")
    assert len(events) > 1_000
    assert np.all(np.diff(events["t"]) >= 0)
    assert events["t"].min() >= 0
    assert events["t"].max() < CAMERA.duration_us == 309_000
    assert set(np.unique(events["p"])) == {0, 1}


def test_blank_image_gives_on_noise_at_the_configured_rate():
    camera = SaccadeCamera(noise_rate_hz=5.0)
    events = simulate_saccades(np.zeros((28, 28)), camera)
    expected = 5.0 * 0.309 * 34**2
    assert abs(len(events) - expected) < 5 * np.sqrt(expected)
    assert np.all(events["p"] == 1)
    assert abs(events["t"].mean() / camera.duration_us - 0.5) < 0.05
    assert len(np.unique(events["y"] * 34 + events["x"])) > 700


@pytest.mark.parametrize("side", [1, 8, 28, 40])
def test_blank_image_without_noise_gives_no_events(side):
    assert len(simulate_saccades(np.zeros((side, side)), QUIET)) == 0


@pytest.mark.parametrize("refractory_us", [500, 1_000, 1_700, 6_000, 40_000])
def test_no_pixel_fires_twice_within_the_refractory_time(refractory_us):
    camera = SaccadeCamera(refractory_us=refractory_us, noise_rate_hz=20.0)
    events = simulate_saccades(blob(), camera)
    order = np.lexsort((events["t"], events["x"], events["y"]))
    pixel, time = (events["y"] * 34 + events["x"])[order], events["t"][order]
    gaps = np.diff(time)[np.diff(pixel) == 0]
    assert len(gaps) > 300
    assert refractory_us <= gaps.min() < 2 * refractory_us


def test_a_longer_refractory_time_gives_fewer_events():
    counts = [
        len(simulate_saccades(blob(), replace(QUIET, refractory_us=time)))
        for time in (0, 1_000, 4_000, 16_000)
    ]
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == 4


def test_a_moving_edge_fires_one_polarity_in_its_own_columns():
    image = np.zeros((28, 28))
    image[:, 14:] = 1.0
    camera = replace(QUIET, path_px=((-2.0, 0.0), (2.0, 0.0)))
    events = simulate_saccades(image, camera)
    # The left edge lies at 16.5 and the right one at 30.5, both give or take 2 and the blur.
    near_left = np.abs(events["x"] - 16.5) < 2 + 4 * camera.blur_px
    near_right = np.abs(events["x"] - 30.5) < 2 + 4 * camera.blur_px
    assert np.all(near_left ^ near_right)
    assert set(events["p"][near_left]) == {1}  # bright leaves, and bright is dark to the camera
    assert set(events["p"][near_right]) == {0}
    middle = events[near_left & (events["y"] == 17)]
    assert np.all(np.diff([middle["t"][middle["x"] == x].min() for x in (15, 16, 17, 18)]) > 0)


def test_a_still_camera_sees_nothing():
    still = replace(QUIET, path_px=((0.5, -1.0),) * 4)
    assert len(simulate_saccades(blob(), still)) == 0


def test_on_and_off_balance_at_every_pixel_of_a_closed_path():
    path = ((0.0, 0.0), (0.0, 0.0), (2.0, 3.0), (3.0, -1.0), (0.0, 0.0), (0.0, 0.0))
    camera = replace(QUIET, path_px=path, on_threshold=0.2, off_threshold=0.2, refractory_us=0)
    events = simulate_saccades(blob(), camera)
    balance = np.zeros((34, 34), dtype=np.int64)
    np.add.at(balance, (events["y"], events["x"]), 2 * events["p"] - 1)
    assert len(events) > 1_000
    assert np.abs(balance).max() <= 1


def test_on_events_shift_with_the_threshold():
    share = [
        simulate_saccades(blob(), replace(QUIET, on_threshold=on))["p"].mean()
        for on in (0.15, 0.25, 0.5)
    ]
    assert share[0] > share[1] + 0.05 > share[2] + 0.1


def scalar_crossings(level, reference, camera):
    """Events of one pixel, found one after the other: (time in microseconds, is ON)."""
    step_us = camera.saccade_us / saccades.STEPS_PER_SACCADE
    grid = np.arange(len(level))
    ready, found = 0.0, []
    for step in range(len(level) - 1):
        start, end = level[step], level[step + 1]
        while ready < step + 1:
            if end - reference >= camera.on_threshold:
                target = reference + camera.on_threshold
            elif reference - end >= camera.off_threshold:
                target = reference - camera.off_threshold
            else:
                break
            time = step + (target - start) / (end - start)
            found.append((time * step_us, target > reference))
            ready = time + camera.refractory_us / step_us
            reference = np.interp(ready, grid, level)
    return found


@pytest.mark.parametrize("refractory_us", [300, 1_000, 3_300])
def test_crossings_agree_with_a_scalar_oracle(refractory_us):
    camera = replace(QUIET, refractory_us=refractory_us)
    steps = saccades.SACCADES * saccades.STEPS_PER_SACCADE + 1
    walk = np.random.default_rng(5).normal(0, 0.15, (30, steps)).cumsum(axis=1)
    level = walk.astype(np.float32)
    pixel, time_us, is_on = saccades._crossings(level, camera, np.random.default_rng(7))
    least = min(camera.on_threshold, camera.off_threshold)
    start = level[:, 0] + least * np.random.default_rng(7).uniform(-0.5, 0.5, 30)
    for index in range(30):
        expected = scalar_crossings(level[index].astype(np.float64), start[index], camera)
        mine = pixel == index
        assert is_on[mine].tolist() == [on for _, on in expected]
        assert np.allclose(time_us[mine], [time for time, _ in expected], atol=2)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (8, 8), (28, 28), (13, 40), (200, 120)])
def test_any_size_spans_the_field_with_its_longer_side(shape):
    field = saccades._field(np.ones(shape, dtype=np.float32))
    area = 28**2 * min(shape) / max(shape)
    assert field.sum() == pytest.approx(area, rel=1e-4)
    assert field.max() <= 1 + 1e-6
    assert np.allclose(field, field[::-1, ::-1], atol=1e-6)
    assert len(simulate_saccades(np.ones(shape), QUIET)) > 500


def test_an_image_of_the_field_is_taken_as_it_is():
    image = np.random.default_rng(0).random((28, 28), dtype=np.float32)
    assert np.allclose(saccades._field(image), image, atol=1e-6)


def test_uint8_and_float_images_give_the_same_events():
    image = np.rint(blob() * 255).astype(np.uint8)
    assert np.array_equal(
        simulate_saccades(image), simulate_saccades(image.astype(np.float32) / np.float32(255))
    )


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros(9), r"shape \(9,\)"),
        (np.zeros((3, 8, 8)), r"shape \(3, 8, 8\)"),
        (np.zeros((0, 8)), r"shape \(0, 8\)"),
        (np.full((4, 4), np.nan), "nan"),
        (np.full((4, 4), np.inf), "inf"),
        (np.full((4, 4), 1.5), "1.5"),
        (np.full((4, 4), -0.25), "-0.25"),
        (np.zeros((4, 4), dtype=np.int64), "int64"),
        (np.zeros((4, 4), dtype=bool), "bool"),
        (np.zeros((4, 4), dtype=complex), "complex128"),
        (np.full((4, 4), "a"), "<U1"),
    ],
)
def test_a_bad_image_is_refused_with_value_and_remedy(image, words):
    with pytest.raises(DataError, match=words) as caught:
        simulate_saccades(image)
    assert "uint8 in 0..255 or float in [0, 1]" in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sensor_px", 0),
        ("saccade_us", 0),
        ("on_threshold", 0.0),
        ("off_threshold", -1.0),
        ("log_offset", 0.0),
        ("blur_px", 0.1),
        ("refractory_us", -1),
        ("noise_rate_hz", float("nan")),
        ("path_px", ((0.0, 0.0),)),
        ("path_px", ((0.0, 0.0), (np.nan, 0.0))),
    ],
)
def test_a_bad_camera_is_refused_by_name(name, value):
    with pytest.raises(DataError, match=name):
        SaccadeCamera(**{name: value})


@settings(max_examples=60, deadline=None)
@given(
    image=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)),
    seed=st.integers(0, 2**32 - 1),
    sensor_px=st.integers(1, 40),
    saccade_us=st.integers(20_000, 200_000),
)
def test_laws_hold_for_random_images(image, seed, sensor_px, saccade_us):
    camera = SaccadeCamera(sensor_px=sensor_px, saccade_us=saccade_us)
    events = simulate_saccades(image, camera, seed=seed)
    assert events.dtype == EVENT_DTYPE
    assert np.all(np.diff(events["t"]) >= 0)
    assert np.all((events["t"] >= 0) & (events["t"] < 3 * saccade_us))
    assert np.all((events["p"] == 0) | (events["p"] == 1))
    for axis in ("x", "y"):
        assert np.all((events[axis] >= 0) & (events[axis] < sensor_px))


def read_recording(path: Path) -> np.ndarray:
    raw = np.fromfile(path, dtype=np.uint8).astype(np.int64).reshape(-1, 5)
    events = np.empty(len(raw), dtype=EVENT_DTYPE)
    events["x"], events["y"], events["p"] = raw[:, 0], raw[:, 1], raw[:, 2] >> 7
    events["t"] = (raw[:, 2] & 127) << 16 | raw[:, 3] << 8 | raw[:, 4]
    return events


@lru_cache(maxsize=1)
def pairs() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The 100 held-out recordings (no constant was fitted to them), and their simulations."""
    paths = sorted((SNNPLUG_DATA / "NMNIST" / "Test").glob("*/*.bin"))
    with np.load(SNNPLUG_DATA / "mnist" / "mnist_uint8.npz") as mnist:
        images = mnist["x_train"][[int(path.stem) - 1 for path in paths]]
    real = [read_recording(path) for path in paths]
    return real, [simulate_saccades(image, seed=seed) for seed, image in enumerate(images)]


def maps(events: np.ndarray) -> np.ndarray:
    """Counts per (saccade, polarity, row, column)."""
    counts = np.zeros((3, 2, 34, 34))
    third = np.minimum(events["t"] // 105_000, 2)
    np.add.at(counts, (third, events["p"], events["y"], events["x"]), 1)
    return counts


def likeness(real: np.ndarray, simulated: np.ndarray) -> float:
    """Mean over recordings of the Pearson correlation of their maps."""
    pair = zip(real, simulated, strict=True)
    return float(np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pair]))


def time_profile(recordings: list[np.ndarray]) -> np.ndarray:
    """Events per 5 ms and recording."""
    times = np.concatenate([events["t"] for events in recordings])
    return np.histogram(times, bins=np.arange(0, 320_001, 5_000))[0] / len(recordings)


def bursts(profile: np.ndarray) -> list[int]:
    """Edges, in bins of 5 ms, of the runs in which the rate is above a third of its highest."""
    busy = np.concatenate([[0], profile > profile.max() / 3, [0]])
    return np.flatnonzero(np.diff(busy)).tolist()


@needs_nmnist
@needs_mnist
def test_counts_are_those_of_real_recordings():
    real, simulated = pairs()
    assert len(real) == 100
    counts = np.array([[len(events) for events in group] for group in (real, simulated)])
    assert counts[1].mean() == pytest.approx(counts[0].mean(), rel=0.1)
    assert counts[1].std() == pytest.approx(counts[0].std(), rel=0.2)
    assert np.corrcoef(counts)[0, 1] >= 0.9
    on = [np.concatenate(group)["p"].mean() for group in (real, simulated)]
    assert on[1] == pytest.approx(on[0], abs=0.03)


@needs_nmnist
@needs_mnist
def test_maps_are_those_of_real_recordings_in_each_saccade_and_polarity():
    real, simulated = (np.stack([maps(events) for events in group]) for group in pairs())
    assert likeness(real.sum((1, 2)), simulated.sum((1, 2))) >= 0.93
    for saccade in range(3):
        for polarity in range(2):
            here = (slice(None), saccade, polarity)
            assert likeness(real[here], simulated[here]) >= 0.9
            assert likeness(real[here], simulated[:, saccade, 1 - polarity]) < 0.5


@needs_nmnist
@needs_mnist
def test_the_three_bursts_are_those_of_real_recordings():
    real, simulated = (time_profile(group) for group in pairs())
    assert np.corrcoef(real, simulated)[0, 1] >= 0.95
    assert len(bursts(real)) == len(bursts(simulated)) == 6
    assert np.abs(np.subtract(bursts(real), bursts(simulated))).max() <= 1
    for gap in (slice(17, 19), slice(43, 45)):  # 85 to 95 ms and 215 to 225 ms
        assert real[gap].mean() < 0.2 * real.mean()
        assert simulated[gap].mean() < 0.2 * simulated.mean()
    last = np.array([[events["t"][-1] for events in group] for group in pairs()])
    assert abs(last[1].mean() - last[0].mean()) < 3_000
