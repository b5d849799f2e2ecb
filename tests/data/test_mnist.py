"""MNIST from local copies and from a download that is checked."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from snnplug.data import mnist
from snnplug.data.mnist import MNISTDataModule, load_mnist
from snnplug.errors import DataError, DataNotFoundError
from tests.support.datasets import SNNPLUG_DATA, needs_mnist
from tests.support.mutations import COUNT, damaged


def blank() -> dict[str, np.ndarray]:
    arrays = {key: np.zeros(shape, dtype=np.uint8) for key, shape in mnist._SHAPES.items()}
    for key in ("y_train", "y_test"):
        arrays[key][:] = np.arange(len(arrays[key])) % 10
    arrays["x_test"][5, 14, 14] = 51
    return arrays


def write_archive(root: Path, arrays: dict[str, np.ndarray]) -> None:
    (root / "mnist").mkdir()
    np.savez_compressed(root / "mnist" / "mnist_uint8.npz", **arrays)


def write_originals(root: Path, arrays: dict[str, np.ndarray]) -> None:
    (root / "mnist").mkdir(parents=True)
    for key, (name, _) in mnist._FILES.items():
        header = bytes([0, 0, 8, arrays[key].ndim]) + b"".join(
            size.to_bytes(4, "big") for size in arrays[key].shape
        )
        (root / "mnist" / name).write_bytes(gzip.compress(header + arrays[key].tobytes(), 1))


@pytest.fixture(autouse=True)
def _no_other_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SNNPLUG_DATA", raising=False)


@pytest.mark.parametrize("write", [write_archive, write_originals])
def test_reads_either_local_form(
    tmp_path: Path, write: Callable[[Path, dict[str, np.ndarray]], None]
) -> None:
    write(tmp_path, blank())
    arrays = load_mnist(tmp_path)
    assert all(np.array_equal(arrays[key], value) for key, value in blank().items())


def test_the_environment_names_a_second_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_archive(tmp_path, blank())
    monkeypatch.setenv("SNNPLUG_DATA", str(tmp_path))
    assert load_mnist(tmp_path / "elsewhere")["y_test"][3] == 3


def test_missing_names_the_folder_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError) as raised:
        load_mnist(tmp_path)
    assert str(tmp_path / "mnist") in str(raised.value)
    assert "download: true" in str(raised.value)


@pytest.mark.parametrize("error", [OSError("no route"), ValueError("MD5 hash does not match")])
def test_a_failed_download_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    asked: list[dict[str, object]] = []

    def fail(url: str, **arguments: object) -> None:
        asked.append({"url": url, **arguments})
        raise error

    monkeypatch.setattr("pooch.retrieve", fail)
    with pytest.raises(DataNotFoundError) as raised:
        load_mnist(tmp_path, download=True)
    assert str(error) in str(raised.value)
    assert str(tmp_path / "mnist") in str(raised.value)
    assert asked[0]["known_hash"] == "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873"
    assert str(asked[0]["url"]).endswith("train-images-idx3-ubyte.gz")


def test_downloaded_originals_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_originals(tmp_path / "server", blank())

    def serve(url: str, fname: str, path: Path, **arguments: object) -> None:
        path.mkdir(parents=True, exist_ok=True)
        (path / fname).write_bytes((tmp_path / "server" / "mnist" / fname).read_bytes())

    monkeypatch.setattr("pooch.retrieve", serve)
    arrays = load_mnist(tmp_path / "here", download=True)
    assert all(np.array_equal(arrays[key], value) for key, value in blank().items())


def test_damaged_copies_are_refused(tmp_path: Path) -> None:
    arrays = blank()
    arrays["x_test"] = arrays["x_test"][:100]
    write_archive(tmp_path, arrays)
    with pytest.raises(DataError, match="x_test is uint8"):
        load_mnist(tmp_path)
    (tmp_path / "mnist" / "mnist_uint8.npz").write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(DataError, match="cannot be read"):
        load_mnist(tmp_path)


def test_truncated_originals_are_refused(tmp_path: Path) -> None:
    write_originals(tmp_path, blank())
    path = tmp_path / "mnist" / mnist._FILES["x_test"][0]
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match=path.name):
        load_mnist(tmp_path)


@pytest.mark.parametrize("write", [write_archive, write_originals])
def test_every_mutation_is_refused_or_gives_images(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Path, dict[str, np.ndarray]], None],
) -> None:
    small = {"x_train": (3, 4, 4), "y_train": (3,), "x_test": (2, 4, 4), "y_test": (2,)}
    monkeypatch.setattr(mnist, "_SHAPES", small)
    write(tmp_path, {key: np.full(shape, 7, dtype=np.uint8) for key, shape in small.items()})
    path = min((tmp_path / "mnist").iterdir())
    refused = 0
    for _ in damaged(path):
        try:
            arrays = load_mnist(tmp_path)
        except DataError as error:
            refused += str(path) in str(error)
            continue
        assert {key: array.shape for key, array in arrays.items()} == small
        assert max(arrays["y_train"].max(), arrays["y_test"].max()) < 10
    assert COUNT / 5 < refused < COUNT


def test_batches_are_images_between_zero_and_one(tmp_path: Path) -> None:
    write_archive(tmp_path, blank())
    data = MNISTDataModule(root=str(tmp_path), batch_size=100, download=False)
    data.prepare_data()
    data.setup("fit")
    images, digits = next(iter(data.test_dataloader()))
    assert images.shape == (500, 1, 28, 28)
    assert images[5, 0, 14, 14].item() == pytest.approx(0.2)
    assert torch.equal(digits, torch.arange(500) % 10)
    sizes = [len(data._sets[name]) for name in ("train", "val", "test")]
    assert sizes == [55_000, 5_000, 10_000]
    assert next(iter(data.train_dataloader()))[1].shape == (100,)


@needs_mnist
def test_the_real_images_are_there() -> None:
    arrays = load_mnist(SNNPLUG_DATA)
    assert np.bincount(arrays["y_test"]).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    assert arrays["x_test"].mean() / 255 == pytest.approx(0.1325, abs=5e-4)


def test_shifting_moves_each_training_image_by_itself() -> None:
    images = np.zeros((50, 28, 28), dtype=np.uint8)
    images[:, 10, 20] = 255
    shifted = mnist._Images(images, np.zeros(50, dtype=np.uint8), shift_px=2)
    torch.manual_seed(0)
    moved, _ = shifted.__getitems__(list(range(50)))
    places = {tuple(place) for place in (moved[:, 0] == 1).nonzero()[:, 1:].tolist()}
    assert moved.sum() == 50
    assert places <= {(y, x) for y in range(8, 13) for x in range(18, 23)}
    assert len(places) > 10
