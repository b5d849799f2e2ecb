"""MNIST as static images: from a local copy, or downloaded and checked."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler, SequentialSampler

from snnplug.data.download import fetch
from snnplug.data.split import stratified_split
from snnplug.errors import ArgumentError, DataError, DataNotFoundError

# torch's mirror, and the MD5 sums of the files that torchvision checks as well.
_MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_FILES = {
    "x_train": ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    "y_train": ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
    "x_test": ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
    "y_test": ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
}
_SHAPES = {
    "x_train": (60_000, 28, 28),
    "y_train": (60_000,),
    "x_test": (10_000, 28, 28),
    "y_test": (10_000,),
}
_ARCHIVE = Path("mnist", "mnist_uint8.npz")


def load_mnist(root: str | Path, download: bool = False) -> dict[str, npt.NDArray[np.uint8]]:
    """Return MNIST's four arrays from a local copy.

    Looked for, in this order, under ``root`` and under the folder that the environment variable
    ``SNNPLUG_DATA`` names: ``mnist/mnist_uint8.npz`` with the arrays below, and the four original
    ``mnist/*-ubyte.gz``.

    Args:
        root: Folder that holds ``mnist/``.
        download: Fetch the original files into ``root/mnist`` when there are none, checked against
            their MD5 sums (11 MB).

    Returns:
        ``x_train (60000, 28, 28)``, ``y_train (60000,)``, ``x_test``, ``y_test``; uint8.

    Raises:
        DataNotFoundError: There is no copy, and ``download`` is false or failed.
        DataError: The copy is damaged.
    """
    folders = [Path(root)]
    if "SNNPLUG_DATA" in os.environ:
        folders.append(Path(os.environ["SNNPLUG_DATA"]))
    for folder in folders:
        if (folder / _ARCHIVE).is_file():
            return _checked(_from_archive(folder / _ARCHIVE), folder / _ARCHIVE)
        if all((folder / "mnist" / name).is_file() for name, _ in _FILES.values()):
            return _checked(_from_originals(folder / "mnist"), folder / "mnist")
    if not download:
        raise DataNotFoundError(
            f"no MNIST under {' or '.join(str(f.resolve() / 'mnist') for f in folders)}; set root "
            "(or SNNPLUG_DATA) to the folder that holds mnist/mnist_uint8.npz or the four original "
            "*-ubyte.gz files, or download: true to fetch them (11 MB)"
        )
    _download(Path(root) / "mnist")
    return _checked(_from_originals(Path(root) / "mnist"), Path(root) / "mnist")


def _download(folder: Path) -> None:
    for name, md5 in _FILES.values():
        fetch(_MIRROR + name, folder / name, f"md5:{md5}")


def _from_archive(path: Path) -> dict[str, npt.NDArray[np.uint8]]:
    try:
        # Opened here, because numpy leaves a file that is no archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            # A member that is no array comes as bytes.
            return {key: np.asarray(archive[key]) for key in _FILES}
    # Zip, zlib and numpy, which reads a header as an expression of Python, each fail in many ways.
    except Exception as error:
        raise DataError(f"{path} cannot be read: {error}; copy or download it again") from error


def _from_originals(folder: Path) -> dict[str, npt.NDArray[np.uint8]]:
    """Read IDX files: a header of 4 bytes and 4 per axis, then the values."""
    arrays = {}
    for key, (name, _) in _FILES.items():
        try:
            content = gzip.decompress((folder / name).read_bytes())
            header = 4 + 4 * len(_SHAPES[key])
            arrays[key] = np.frombuffer(content, dtype=np.uint8, offset=header).reshape(
                _SHAPES[key]
            )
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise DataError(f"{folder / name} is damaged: {error}; download it again") from error
    return arrays


def _checked(
    arrays: dict[str, npt.NDArray[np.uint8]], origin: Path
) -> dict[str, npt.NDArray[np.uint8]]:
    for key, shape in _SHAPES.items():
        if arrays[key].shape != shape or arrays[key].dtype != np.uint8:
            raise DataError(
                f"{origin}: {key} is {arrays[key].dtype} {arrays[key].shape}; MNIST has uint8 "
                f"{shape}"
            )
    return arrays


class _Images(Dataset[tuple[Tensor, Tensor]]):
    """Images and digits, fetched a whole batch at a time; images moved at random if asked for."""

    def __init__(
        self,
        images: npt.NDArray[np.uint8],
        digits: npt.NDArray[np.uint8],
        shift_px: int = 0,
    ) -> None:
        self.shift_px = shift_px
        self.images = torch.from_numpy(images.copy()).unsqueeze(1)
        self.digits = torch.from_numpy(digits.astype(np.int64))

    def __len__(self) -> int:
        return len(self.digits)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        images, digits = self.__getitems__([index])
        return images[0], digits[0]

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        chosen = torch.as_tensor(indices)
        images = self.images[chosen].to(torch.float32) / 255.0
        return self._shifted(images) if self.shift_px else images, self.digits[chosen]

    def _shifted(self, images: Tensor) -> Tensor:
        """Move each image by its own whole pixels; black comes in from outside."""
        batch, _, height, width = images.shape
        by = torch.randint(0, 2 * self.shift_px + 1, (2, batch))
        rows = (by[0].unsqueeze(1) + torch.arange(height)).view(batch, 1, height, 1)
        columns = (by[1].unsqueeze(1) + torch.arange(width)).view(batch, 1, 1, width)
        padded = torch.nn.functional.pad(images, (self.shift_px,) * 4)
        which = torch.arange(batch).view(batch, 1, 1, 1)
        return padded[which, 0, rows, columns]


class _Shuffled(RandomSampler):
    """torch's order of a shuffled epoch, and a list of what it has drawn."""

    def __init__(self, images: _Images) -> None:
        super().__init__(images)
        self.drawn: list[int] = []

    def __iter__(self) -> Iterator[int]:
        self.drawn = []
        for index in super().__iter__():
            self.drawn.append(index)
            yield index


def _as_is(batch: Any) -> Any:
    """Collate nothing: `__getitems__` has returned the whole batch."""
    return batch


class MNISTDataModule(pl.LightningDataModule):
    """MNIST images in [0, 1]; an encoder of the classifier turns them into sequences.

    60,000 + 10,000 images of 28x28, ten digits; 11 MB. The validation set is held out of the
    training images, class by class and seeded; the test set is never used for it.

    Args:
        root: The folder that holds ``mnist/``; the one that SNNPLUG_DATA names is tried as well.
        batch_size: Images per training batch; evaluation takes larger ones.
        val_fraction: Share of the training images held out for validation.
        split_seed: Seed of that choice.
        shift_px: Move each training image by up to so many pixels, anew each epoch.
        download: Fetch the original files when there are none, checked against their sums.

    Shape:
        - batch: images ``(B, 1, 28, 28)``, targets ``(B,)``

    Raises:
        DataNotFoundError: There is no MNIST and it may not, or could not, be fetched.
        DataError: The copy is damaged.

    Example:
        >>> MNISTDataModule().in_shape
        (1, 28, 28)

    Reference:
        Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits".
    """

    classes: ClassVar[tuple[str, ...]] = tuple(str(digit) for digit in range(10))
    num_classes = 10
    in_shape = (1, 28, 28)

    def __init__(
        self,
        root: str = "data",
        batch_size: int = 128,
        val_fraction: float = 1 / 12,
        split_seed: int = 0,
        shift_px: int = 0,
        download: bool = True,
    ) -> None:
        super().__init__()
        if batch_size < 1 or shift_px < 0:
            raise ArgumentError(
                f"batch_size is {batch_size}, shift_px {shift_px}; they have to be at least 1 and 0"
            )
        self.root = root
        self.batch_size = batch_size
        self.val_fraction = val_fraction
        self.split_seed = split_seed
        self.shift_px = shift_px
        self.download = download
        self._sets: dict[str, _Images] = {}

    def prepare_data(self) -> None:
        """Download the images if they are missing and may be fetched."""
        load_mnist(self.root, download=self.download)

    def setup(self, stage: str) -> None:
        """Read the images and hold out the validation set."""
        if self._sets:
            return
        arrays = load_mnist(self.root)
        kept, held_out = stratified_split(arrays["y_train"], self.val_fraction, self.split_seed)
        x, y = arrays["x_train"], arrays["y_train"]
        self._sets["train"] = _Images(x[kept], y[kept], self.shift_px)
        self._sets["val"] = _Images(x[held_out], y[held_out])
        self._sets["test"] = _Images(arrays["x_test"], arrays["y_test"])

    def _loader(
        self, name: str, batch_size: int, shuffle: bool = False
    ) -> DataLoader[tuple[Tensor, Tensor]]:
        images = self._sets[name]
        sampler: Sampler[int] = _Shuffled(images) if shuffle else SequentialSampler(images)
        return DataLoader(images, batch_size=batch_size, sampler=sampler, collate_fn=_as_is)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return shuffled training batches."""
        return self._loader("train", self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return validation batches."""
        return self._loader("val", max(self.batch_size, 500))

    def test_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return test batches."""
        return self._loader("test", max(self.batch_size, 500))

    def predict_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return test batches."""
        return self.test_dataloader()
