"""Boosting is training on the weighted loss, with weights that a loop of its own computes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from math import exp
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from snnplug.callbacks.sample_boosting import SampleBoosting
from snnplug.data.event_batches import EpochSampler
from snnplug.data.mnist import MNISTDataModule
from snnplug.errors import ArgumentError
from snnplug.networks.spike_train import SpikeTrainSNN
from snnplug.training.classifier import SpikingClassifier
from snnplug.training.losses import CountSquaredError, count_squared_error
from tests.callbacks.test_spike_metrics import trainer
from tests.data.test_mnist import blank, write_archive

EPOCHS, BATCH, SCALE = 3, 5, 2.0
ORDERS = [torch.randperm(13, generator=torch.Generator().manual_seed(s)) for s in range(EPOCHS)]


class Orders(Sampler[int]):
    """Each of the orders once."""

    def __init__(self) -> None:
        self.drawn: list[int] = []
        self._epochs = iter(ORDERS)

    def __len__(self) -> int:
        return 13

    def __iter__(self) -> Iterator[int]:
        self.drawn = []
        for index in next(self._epochs).tolist():
            self.drawn.append(index)
            yield index


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    frames = (torch.rand(40, 13, 9, generator=generator) < 0.3).float()
    return frames, torch.arange(13) % 3


def model() -> SpikingClassifier:
    torch.manual_seed(0)
    network = SpikeTrainSNN(
        (9,), 3, (0.5, 0.5), hidden=(8,), init_ranges=(0.5, 0.5), inhibition=0.0, revived_spikes=0
    )
    return SpikingClassifier(
        network,
        num_classes=3,
        loss=CountSquaredError(8.0, 1.0, 0.0),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1e-4),
    )


def fit(folder: Path, net: SpikingClassifier, *callbacks: Any) -> pl.Trainer:
    frames, targets = data()

    def batch(samples: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        return torch.stack([x for x, _ in samples], 1), torch.stack([y for _, y in samples])

    samples: Any = [(frames[:, k], targets[k]) for k in range(13)]
    loader = DataLoader(samples, BATCH, sampler=Orders(), collate_fn=batch)
    run = trainer(folder, *callbacks, max_epochs=EPOCHS)
    run.fit(net, loader)
    return run


def test_it_trains_on_the_weighted_loss(tmp_path: Path) -> None:
    net, boosting = model(), SampleBoosting(SCALE)
    network = copy.deepcopy(net.network)
    run = fit(tmp_path, net, boosting)
    frames, targets = data()
    optimizer, weights = torch.optim.SGD(network.parameters(), lr=1e-4), [1.0] * 13
    for order in ORDERS:
        wrong = [False] * 13
        for chosen in order.split(BATCH):
            optimizer.zero_grad()
            for k in chosen.tolist():
                spk = network(frames[:, k : k + 1])
                loss = count_squared_error(spk, targets[k : k + 1], 8.0, 1.0, 0.0)
                (weights[k] / len(chosen) * loss).backward()
                wrong[k] = int(spk.sum(0).argmax()) != int(targets[k])
            optimizer.step()
        before = list(weights)
        for k in range(13):
            of_class = [m for m in range(13) if targets[m] == targets[k]]
            error = sum(before[m] for m in of_class if wrong[m]) / sum(before[m] for m in of_class)
            weights[k] *= exp(error / SCALE) if wrong[k] else 1
        mean = sum(weights) / 13
        weights = [w / mean for w in weights]
        assert 0 < sum(wrong) < 13
    assert boosting.weights is not None
    assert boosting.weights.values.tolist() == pytest.approx(weights)
    assert run.callback_metrics["train/largest_sample_weight"].item() == pytest.approx(max(weights))
    for ours, theirs in zip(net.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert not net._forward_hooks


def test_a_run_goes_on_with_its_weights(tmp_path: Path) -> None:
    first = SampleBoosting(SCALE)
    fit(tmp_path, model(), first)
    assert first.weights is not None
    other = SampleBoosting(SCALE)
    other.load_state_dict(copy.deepcopy(first.state_dict()))
    seen: list[Tensor] = []

    class Look(pl.Callback):
        def on_train_epoch_start(self, *args: Any) -> None:
            assert other.weights is not None
            seen.append(other.weights.values.clone())

    fit(tmp_path, model(), other, Look())
    assert torch.equal(seen[0], first.weights.values)
    assert not torch.equal(seen[1], seen[0])


def test_samplers_keep_what_they_draw(tmp_path: Path) -> None:
    sampler = EpochSampler(7, shuffle=True, seed=3)
    for _ in range(2):
        assert [index for _, index in sampler] == sampler.drawn
    arrays = blank()
    arrays["y_train"][:] = torch.arange(60_000) % 10
    write_archive(tmp_path, arrays)
    module = MNISTDataModule(str(tmp_path), batch_size=500, download=False)
    module.setup("fit")
    loader: Any = module.train_dataloader()
    for number, (_, digits) in enumerate(loader):
        drawn = loader.sampler.drawn[500 * number :][: len(digits)]
        assert torch.equal(loader.dataset.digits[drawn], digits)
        if number == 2:
            break


class Plain(pl.LightningModule):
    """No classifier of spikes."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(9, 3)

    def training_step(self, batch: Any, index: int) -> Tensor:
        loss: Tensor = self.fc(batch[0]).sum()
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_says_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="scale"):
        SampleBoosting(0.0)
    samples: Any = [(torch.zeros(9), torch.tensor(0))]
    with pytest.raises(ArgumentError, match="Plain is no SpikingClassifier"):
        trainer(tmp_path, SampleBoosting(), max_epochs=1).fit(Plain(), DataLoader(samples))
    with pytest.raises(ArgumentError, match="SequentialSampler, does not keep"):
        trainer(tmp_path, SampleBoosting(), max_epochs=1).fit(model(), DataLoader(samples))
