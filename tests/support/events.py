"""Small recordings made up for tests, in memory and as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from snnplug.data.events import EVENT_DTYPE


def random_events(count: int, seed: int = 0, duration_us: int = 300_000) -> npt.NDArray[np.void]:
    """Return sorted events on a 34x34 sensor."""
    rng = np.random.default_rng(seed)
    events = np.empty(count, dtype=EVENT_DTYPE)
    events["x"], events["y"] = rng.integers(0, 34, (2, count))
    events["p"] = rng.integers(0, 2, count)
    events["t"] = np.sort(rng.integers(0, duration_us, count))
    return events


def to_bytes(events: npt.NDArray[np.void]) -> bytes:
    """Return events in the N-MNIST format."""
    raw = np.empty((len(events), 5), dtype=np.uint8)
    raw[:, 0], raw[:, 1] = events["x"], events["y"]
    raw[:, 2] = events["p"] << 7 | events["t"] >> 16
    raw[:, 3] = events["t"] >> 8 & 255
    raw[:, 4] = events["t"] & 255
    return raw.tobytes()


def write_nmnist(root: Path, train: int = 40, test: int = 20) -> Path:
    """Write a folder in N-MNIST's layout, in which a digit can be told from the column."""
    for split, count in (("Train", train), ("Test", test)):
        for k in range(count):
            digit = k % 10
            events = random_events(300, seed=k)
            events["x"] = digit * 3 + events["x"] % 3
            folder = root / "NMNIST" / split / str(digit)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{k:05d}.bin").write_bytes(to_bytes(events))
    return root


def write_ntidigits(
    root: Path, speakers: int = 4, spoken: tuple[str, ...] = (*"o123456789z", "1z3", "oo")
) -> Path:
    """Write a file in N-TIDIGITS18's layout, in which a digit can be told from the channel."""
    import h5py

    path = root / "NTIDIGITS18" / "n-tidigits.hdf5"
    path.parent.mkdir(parents=True, exist_ok=True)
    words = ["o", *"123456789", "z"]
    rng = np.random.default_rng(0)
    with h5py.File(path, "w", libver="latest") as file:
        for split, first in (("train", "a"), ("test", "m")):
            names = []
            for k in range(speakers):
                for said in spoken:
                    name = f"man-{first}{'abcdefghijkl'[k]}-a-{said}"
                    names.append(name.encode())
                    channels = [words.index(d) * 5 + rng.integers(0, 5, 30) for d in said]
                    # One after the other, within a second, with silence between.
                    times = [k + (0.8 * rng.random(30) if said[1:] else rng.random(30))
                             for k in range(len(said))]  # fmt: skip
                    seconds = np.concatenate([np.sort(t) for t in times]) / len(said)
                    channel = np.concatenate(channels).astype(np.uint8)
                    file[f"{split}_addresses/{name}"] = channel
                    file[f"{split}_timestamps/{name}"] = seconds.astype(np.float32)
            file[f"{split}_labels"] = np.array(names)
    return path


def write_heidelberg(root: Path, name: str, split: str, count: int) -> Path:
    """Write a file in the layout of SHD or SSC: float16 seconds, in no order, and channels."""
    import h5py

    path = root / name.upper() / f"{name}_{split}.h5"
    path.parent.mkdir(parents=True, exist_ok=True)
    classes = {"shd": 20, "ssc": 35}[name]
    rng = np.random.default_rng(len(split))
    with h5py.File(path, "w") as file:
        for field, dtype in (("times", np.float16), ("units", np.uint16)):
            made = file.create_dataset(f"spikes/{field}", count, h5py.vlen_dtype(dtype))
            for k in range(count):
                values = rng.random(k + 1) if field == "times" else rng.integers(0, 700, k + 1)
                made[k] = values.astype(dtype)
        file["labels"] = (np.arange(count) % classes).astype(np.uint16)
        file["extra/keys"] = [f"word {k}".encode() for k in range(classes)]
        file["extra/speaker"] = (np.arange(count) % 6).astype(np.uint16)
    return path
