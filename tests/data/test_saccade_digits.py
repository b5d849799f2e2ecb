"""The data set that needs no data."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits

from snnplug.data.augmentation import Augmentation
from snnplug.data.events import check_events
from snnplug.data.saccade_digits import SaccadeDigits, SaccadeDigitsDataModule


def test_parts_are_the_digits_once_each_and_keep_the_classes() -> None:
    train, test = SaccadeDigits(train=True), SaccadeDigits(train=False)
    assert (len(train), len(test)) == (1438, 359)
    assert not set(train._indices) & set(test._indices)
    assert sorted([*train.targets, *test.targets]) == sorted(load_digits().target)
    assert min(np.bincount(test.targets)) > 30


def test_recordings_are_valid_alike_each_time_and_differ_from_each_other() -> None:
    recordings = SaccadeDigits(train=False)
    events, digit = recordings[7]
    check_events(events, (34, 34, 2), "here")
    assert 1000 < len(events) < 20_000
    assert digit == recordings.targets[7]
    assert np.array_equal(SaccadeDigits(train=False)[7][0], events)
    assert not np.array_equal(SaccadeDigits(train=False, seed=1)[7][0], events)
    assert not np.array_equal(recordings[8][0], events)


def test_batches_are_time_first_and_nothing_falls_outside_the_window() -> None:
    data = SaccadeDigitsDataModule(num_steps=5, batch_size=16)
    data.setup("test")
    frames, targets = next(iter(data.test_dataloader()))
    assert frames.shape == (5, 16, 2, 34, 34)
    assert targets.shape == (16,)
    assert data._sets["test"].count_events()[1] == 0


def test_shifting_moves_training_recordings_only() -> None:
    data = SaccadeDigitsDataModule(num_steps=5, augmentation=Augmentation(shift_px=3))
    data.setup("fit")
    still = SaccadeDigitsDataModule(num_steps=5)
    still.setup("fit")
    assert torch.equal(data._sets["val"][0, 0][0], still._sets["val"][0, 0][0])
    plain = still._sets["train"][0, 0][0]
    assert not all(torch.equal(data._sets["train"][epoch, 0][0], plain) for epoch in range(3))
