"""Pictures and the front: right, seldom enough, and nothing changes for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import snntorch as snn
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn

from snnplug.callbacks.energy_front import EnergyFront, undominated
from snnplug.callbacks.hardware_target import HardwareTarget
from snnplug.callbacks.pictures import Pictures
from snnplug.callbacks.pixel_pictures import (
    draw_confusion,
    draw_frames,
    draw_raster,
    png,
    signed_sums,
    steps_of,
)
from snnplug.callbacks.spike_probe import SpikeProbe
from snnplug.errors import ArgumentError
from snnplug.layers.sequential import SpikingSequential
from snnplug.neurons.leaky import Leaky
from tests.callbacks.test_hardware_target import KEY, model, trainer
from tests.support.toy import loader

pytest.importorskip("matplotlib")
pytest.importorskip("PIL")


class Recorder(CSVLogger):
    """Keeps what it is asked to show."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.shown: list[tuple[str, Any]] = []

    def log_image(self, key: str, images: list[Any], step: int | None = None) -> None:
        self.shown.append((key, images[0]))

    def log_histogram(self, key: str, values: Any, step: int | None = None) -> None:
        self.shown.append((key, values))

    def log_table(self, key: str, columns: Any, data: Any, step: int | None = None) -> None:
        self.shown.append((key, [dict(zip(columns, row, strict=True)) for row in data]))

    def log_summary(self, figures: dict[str, float]) -> None:
        self.shown.append(("summary", figures))

    def of(self, key: str) -> list[Any]:
        return [what for name, what in self.shown if name == key]


class SnntorchLoop(nn.Module):
    """snnTorch's usual loop over time."""

    def __init__(self, hidden: bool) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(4, 3), snn.Leaky(beta=0.9, init_hidden=hidden)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        mem = self.lif.reset_mem()
        out = []
        for now in frames:
            if self.lif.init_hidden:
                spk = self.lif(self.fc(now))
            else:
                spk, mem = self.lif(self.fc(now), mem)
            out.append(spk)
        return torch.stack(out), mem


@pytest.mark.parametrize("hidden", [False, True])
def test_a_probe_sees_the_spikes_and_membranes_of_snntorchs_loop(hidden: bool) -> None:
    torch.manual_seed(0)
    net, frames = SnntorchLoop(hidden), 3 * torch.rand(7, 5, 4)
    probe = SpikeProbe(net, sample=2)
    probe.start()
    spk, mem = net(frames)
    probe.stop()
    net(frames)  # is not recorded
    assert torch.equal(probe.spikes()["lif"], spk[:, 2])
    assert spk[:, 2].sum() > 0
    assert torch.equal(probe.membranes["lif"], (net.lif.mem if hidden else mem).detach())
    assert not net.lif._forward_hooks


def test_a_probe_sees_a_whole_sequence_and_leaves_wide_layers_out() -> None:
    torch.manual_seed(0)
    net = SpikingSequential(nn.Linear(4, 9), Leaky(beta=0.9), nn.Linear(9, 3), Leaky(beta=0.9))
    frames = 3 * torch.rand(7, 5, 4)
    probe = SpikeProbe(net, max_neurons=5)
    probe.start()
    out = net(frames)
    probe.stop()
    assert set(probe.spikes()) == {"3"}
    assert torch.equal(probe.spikes()["3"], out[:, 0])
    cur = net[2](net[1].run(net[0](frames))[0])
    assert torch.equal(probe.membranes["3"], net[3].run(cur)[1][0].detach())


def test_pictures_come_in_the_first_epoch_every_few_and_the_last(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    fit = trainer(tmp_path, Pictures(every_n_epochs=3), logger=recorder, max_epochs=5)
    net = model()
    fit.fit(net, loader(), loader())  # epochs 0, 3 and 4
    for key in ("val/frames", "val/confusion", "activity/raster"):
        assert len(recorder.of(key)) == 3
        assert recorder.of(key)[0].shape[2] == 3
    weights = recorder.of("train/weight/layers_2_weight")
    assert len(weights) == 3
    assert np.array_equal(weights[-1], net.network.layers[2].weight.detach().numpy().ravel())
    assert all(not m._forward_hooks for m in net.modules())
    fit.test(net, loader(), verbose=False)
    assert len(recorder.of("test/confusion")) == 1


def test_confusions_are_those_of_the_whole_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []

    def note(counts: Any) -> Any:
        drawn.append(counts)
        return draw_confusion(counts)

    monkeypatch.setattr("snnplug.callbacks.pictures.draw_confusion", note)
    net = model()
    trainer(tmp_path, Pictures(), logger=Recorder(tmp_path)).test(net, loader(), verbose=False)
    expected = np.zeros((3, 3), dtype=int)
    for frames, targets in loader(batch_size=7):
        spk, _ = net.eval()(frames)
        # as SpikingClassifier decides: by the most spikes
        for target, decided in zip(targets, spk.sum(0).argmax(-1), strict=True):
            expected[target, decided] += 1
    assert drawn[0].sum() == 60
    assert np.array_equal(np.diag(drawn[0]).sum(), np.diag(expected).sum())
    assert np.array_equal(drawn[0], expected)


@pytest.mark.parametrize("every_n_epochs", [0, 1])
def test_no_picture_where_none_is_wanted_or_none_can_be_shown(
    tmp_path: Path, every_n_epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(tmp_path) if every_n_epochs == 0 else CSVLogger(tmp_path)
    monkeypatch.setattr(SpikeProbe, "start", lambda self: pytest.fail("it watches"))
    fit = trainer(tmp_path, Pictures(every_n_epochs), logger=recorder, max_epochs=1)
    fit.fit(model(), loader(), loader())


def test_without_matplotlib_a_run_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    recorder = Recorder(tmp_path)
    callbacks = (HardwareTarget(), EnergyFront(), Pictures(1))
    with caplog.at_level("INFO"):
        trainer(tmp_path, *callbacks, logger=recorder).fit(model(), loader(), loader())
    assert caplog.text.count("pip install 'snnplug[viz]'") == 1
    assert {key for key, _ in recorder.shown} == {
        "hardware/yin2017_28nm/layers",
        "hardware/yin2017_28nm/front",
        "summary",
    }


def test_training_is_the_same_with_and_without(tmp_path: Path) -> None:
    weights = []
    for callbacks in ([], [Pictures(1), EnergyFront()]):
        net = model()
        pl.seed_everything(3, verbose=False)
        trainer(tmp_path, *callbacks, logger=Recorder(tmp_path)).fit(net, loader(), loader())
        weights.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    assert torch.equal(weights[0], weights[1])


def test_hooks_are_gone_after_an_exception(tmp_path: Path) -> None:
    net = model()
    net.loss = nn.Identity()  # takes one argument, so that a batch fails
    run = trainer(tmp_path, Pictures(1), logger=Recorder(tmp_path), num_sanity_val_steps=0)
    with pytest.raises(TypeError):
        run.validate(net, loader(), verbose=False)
    assert all(not m._forward_hooks for m in net.modules())


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
@pytest.mark.parametrize(("mode", "best"), [("max", max), ("min", min)])
def test_the_front_tells_the_epoch_whose_checkpoint_is_kept(
    tmp_path: Path, mode: str, best: Any
) -> None:
    monitor = "val/loss" if mode == "min" else "val/acc"
    recorder = Recorder(tmp_path)
    kept = ModelCheckpoint(tmp_path / "kept", monitor=monitor, mode=mode, filename="best")
    fit = trainer(
        tmp_path,
        HardwareTarget(),
        EnergyFront(),
        kept,
        logger=recorder,
        max_epochs=4,
        enable_checkpointing=True,
    )
    fit.fit(model(), loader(), loader())
    (rows,) = recorder.of("hardware/yin2017_28nm/front")
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    (summary,) = recorder.of("summary")
    checkpoint = torch.load(kept.best_model_path, weights_only=True)
    assert summary["best/epoch"] == checkpoint["epoch"]
    assert summary[f"best/{monitor}"] == best(row[monitor] for row in rows)
    assert summary[f"best/{KEY}"] == rows[checkpoint["epoch"]]["energy_nj"]
    assert len(recorder.of("hardware/yin2017_28nm/front_plot")) == 1

    # Going on from the checkpoint, the epochs before it are still there.
    more = Recorder(tmp_path)
    same = ModelCheckpoint(tmp_path / "more", monitor=monitor, mode=mode)
    callbacks = (HardwareTarget(), EnergyFront(), same)
    going_on = {"max_epochs": 6, "enable_checkpointing": True}
    fit = trainer(tmp_path, *callbacks, logger=more, **going_on)
    fit.fit(model(), loader(), loader(), ckpt_path=kept.best_model_path, weights_only=True)
    (again,) = more.of("hardware/yin2017_28nm/front")
    first = checkpoint["epoch"] + 1
    assert [row["epoch"] for row in again] == list(range(6))
    assert [row["energy_nj"] for row in again[:first]] == [r["energy_nj"] for r in rows[:first]]


def test_the_front_is_what_nothing_beats() -> None:
    draw = np.random.default_rng(0)
    points = [(float(a), float(c)) for a, c in draw.integers(0, 8, (40, 2))]
    on_front = undominated(points)
    assert 0 < sum(on_front) < 40
    for (good, cost), kept in zip(points, on_front, strict=True):
        better = [(a, c) for a, c in points if (a > good and c <= cost) or (a >= good and c < cost)]
        assert kept == (not better)


@pytest.mark.parametrize("shape", [(7, 2, 8, 8), (3, 1, 8, 8), (4, 3, 8, 8), (7, 9), (1, 8, 8)])
def test_any_sample_can_be_drawn(shape: tuple[int, ...]) -> None:
    picture = draw_frames(np.random.default_rng(0).random(shape))
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert picture.std() > 0
    assert png(picture).startswith(b"\x89PNG")


def test_an_event_of_each_polarity_has_its_colour() -> None:
    frames = np.zeros((1, 2, 4, 4))
    frames[0, 1, 0, 0], frames[0, 0, 3, 3] = 1, 1
    picture = draw_frames(frames)[4:, 8:]  # the margins
    cell = 96 // 4
    red, blue = picture[cell // 2, cell // 2], picture[7 * cell // 2, 7 * cell // 2]
    assert red.tolist() == [180, 4, 38]
    assert blue.tolist() == [59, 76, 192]
    assert picture[cell // 2, 7 * cell // 2].tolist() == [245, 245, 245]


def test_frames_are_sums_under_their_steps() -> None:
    frames = np.zeros((5, 2, 4, 16))
    frames[3, 1, 2, 7] = 1
    shares = np.array_split(frames, 2)
    assert [steps_of(shares, place) for place in (0, 1)] == ["t = 0 … 2", "t = 3 … 4"]
    sums = signed_sums(shares)
    assert sums.shape == (2, 4, 16)
    assert sums[1, 2, 7] == sums.sum() == 1
    scale = 96 // 16
    assert draw_frames(frames, num_frames=2).shape[1] == 2 * 16 * scale + 8 + 16


def cells_of(picture: Any, rows: int, columns: int, high: int, wide: int) -> Any:
    """Return the middle of every cell of a raster, whatever stands beside it."""
    coloured = (picture != picture.max(2, keepdims=True)).any(2)  # letters are grey
    right = picture.shape[1] - 8
    left = right - columns * wide
    area = coloured[4 : 4 + rows * high, left:right]
    return area[high // 2 :: high, wide // 2 :: wide]


def test_a_raster_has_a_cell_for_every_spike() -> None:
    spikes = {"a": np.eye(3), "b": np.array([[0, 1], [0, 0], [1, 1]])}
    seen = cells_of(draw_raster(spikes), rows=5, columns=3, high=8, wide=160)
    above_one_another = np.concatenate([spikes["a"], spikes["b"]], axis=1)
    assert np.array_equal(seen[::-1], above_one_another.T != 0)


def test_a_raster_of_many_neurons_and_steps_stays_a_picture() -> None:
    spikes = np.zeros((3000, 2000), dtype=bool)
    spikes[2999, 0] = True
    picture = draw_raster({"wide": spikes})
    assert max(picture.shape) < 1100
    assert cells_of(picture, 667, 750, 1, 1).sum() == 1


def test_every_confusion_has_its_figure() -> None:
    counts = np.array([[3, 1], [0, 2]])
    seen = draw_confusion(counts)
    assert not np.array_equal(seen, draw_confusion(np.array([[6, 2], [0, 2]])))  # same shares
    assert draw_confusion(np.eye(60)).shape[0] < 500


def test_negative_numbers_are_refused() -> None:
    with pytest.raises(ArgumentError, match="every_n_epochs is -1"):
        Pictures(every_n_epochs=-1)
