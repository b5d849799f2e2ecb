"""What counting and pricing add to an epoch: ``python -m tests.benchmarks.hardware_overhead``.

The same validation pass with and without counting, in every other epoch of one fit; the CPU time
of the process is compared, which other programs on the machine disturb least. What is added is
given as a share of the validation pass, and of a whole epoch: training, and one validation pass.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from snnplug.callbacks.hardware_target import HardwareTarget
from snnplug.data.saccade_digits import SaccadeDigitsDataModule
from snnplug.networks.conv import ConvSNN
from snnplug.networks.dense import DenseSNN
from snnplug.training.classifier import SpikingClassifier
from snnplug.training.encoding import BernoulliEncoding

Batches = DataLoader[Any]


def events() -> tuple[Batches, Batches]:
    """Return SaccadeDigits: the 1,295 training recordings, and the 359 of the test set."""
    data = SaccadeDigitsDataModule(num_steps=10, batch_size=32)
    data.setup("fit")
    data.setup("test")
    return data.train_dataloader(), data.test_dataloader()


def images(count: int) -> Batches:
    """Return images of MNIST's size and mean, in batches of 500."""
    generator = torch.Generator().manual_seed(0)
    pixels = (torch.rand(count, 1, 28, 28, generator=generator) < 0.1325).float() * 0.99
    batches = [
        (pixels[k : k + 500], torch.zeros(500, dtype=torch.int64)) for k in range(0, count, 500)
    ]
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]  # a list is a data set


def cases() -> dict[str, tuple[SpikingClassifier, Batches, Batches]]:
    """Return a model, its training and its validation data for each packaged recipe."""
    torch.manual_seed(0)
    dense = DenseSNN((2, 34, 34), 10, hidden=(128,))
    conv = ConvSNN((2, 34, 34), 10)
    discontinuous = DenseSNN((1, 28, 28), 10, hidden=(256, 256), neuron="discontinuous")
    encoder = BernoulliEncoding(num_steps=4, train_num_steps=1)
    recordings = events()
    return {
        "quickstart (dense, 10 steps)": (SpikingClassifier(dense, 10), *recordings),
        "nmnist_snn_ct (conv, 10 steps)": (SpikingClassifier(conv, 10), *recordings),
        "mnist_snn_dc (dense, 4 steps)": (
            SpikingClassifier(discontinuous, 10, encoder=encoder),
            images(55_000),
            images(5_000),
        ),
    }


class EveryOther(HardwareTarget):
    """Counts in every second epoch, so that the others show what the pass takes without."""

    def _start(self, pl_module: pl.LightningModule) -> None:
        if pl_module.current_epoch % 2:
            super()._start(pl_module)


class Stopwatch(pl.Callback):
    """Takes the CPU time of each pass, everything that is logged in it included."""

    def __init__(self) -> None:
        self.seconds: list[float] = []  # of validation
        self.epochs: list[float] = []  # of training, and validation where there is one

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start."""
        self._epoch = time.process_time()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop."""
        self.epochs.append(time.process_time() - self._epoch)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start."""
        self._start = time.process_time()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop."""
        if not trainer.sanity_checking:
            self.seconds.append(time.process_time() - self._start)


def fit(model: SpikingClassifier, train: Batches, val: Batches | None, **options: Any) -> Stopwatch:
    """Train, and return the times that it took."""
    watch = Stopwatch()
    trainer = pl.Trainer(
        accelerator="cpu",
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=[EveryOther(), watch],
        **options,
    )
    trainer.fit(model, train, val)
    return watch


def main() -> None:
    """Print the medians and their ratios for each recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=42)
    epochs = parser.parse_args().epochs
    torch.set_num_threads(1)
    print(f"{'recipe':<32}{'without':>12}{'with':>12}{'of the pass':>14}{'of an epoch':>14}")
    for name, (model, train, val) in cases().items():
        watch = fit(model, val, val, max_epochs=epochs, limit_train_batches=1)
        without, counted = (statistics.median(watch.seconds[2 + k :: 2]) for k in (0, 1))
        training = fit(model, train, None, max_epochs=2, limit_val_batches=0).epochs[-1]
        added = counted - without
        print(
            f"{name:<32}{1e3 * without:>9.1f} ms{1e3 * counted:>9.1f} ms"
            f"{added / without:>14.1%}{added / (training + without):>14.2%}"
        )


if __name__ == "__main__":
    main()
