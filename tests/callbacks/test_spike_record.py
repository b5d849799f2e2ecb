"""The record of one sample's spikes: those that the network makes, where the report looks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from snnplug.callbacks.energy_front import EnergyFront
from snnplug.callbacks.hardware_target import HardwareTarget
from snnplug.callbacks.spike_record import SpikeRecord, record
from snnplug.errors import ArgumentError
from tests.callbacks.test_hardware_target import model, trainer
from tests.support.toy import loader


def logger(tmp_path: Path) -> tuple[CSVLogger, Path]:
    made = CSVLogger(tmp_path)
    return made, Path(made.log_dir)


def dense(layer: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Return the spikes of a layer as they were, from those that were kept."""
    spk = np.zeros((layer["num_steps"], layer["neurons"]))
    spk[layer["step"], layer["neuron"]] = 1
    return spk


def test_the_first_sample_of_the_last_epoch_is_kept(tmp_path: Path) -> None:
    to, folder = logger(tmp_path)
    net, data = model(), loader()
    fit = trainer(tmp_path, SpikeRecord(), logger=to, max_epochs=2)
    fit.fit(net, data, data)
    frames, _ = next(iter(data))
    net.eval()
    with torch.no_grad():
        alone = net.network(frames)
    layers = json.loads((folder / "spikes.json").read_text(encoding="utf-8"))["layers"]
    spikes = alone[0] if isinstance(alone, tuple) else alone
    assert np.array_equal(dense(layers[-1]), (spikes[:, 0] != 0).flatten(1).numpy())
    assert sum(len(layer["step"]) for layer in layers) > 0
    assert all(not module._forward_hooks for module in net.modules())
    assert not (folder / "spikes_test.json").exists()
    fit.test(net, data, verbose=False)
    assert (folder / "spikes_test.json").read_text() == (folder / "spikes.json").read_text()


def test_pictures_of_a_run_lie_in_its_folder(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    to, folder = logger(tmp_path)
    callbacks = (HardwareTarget(), EnergyFront(), SpikeRecord())
    trainer(tmp_path, *callbacks, logger=to).fit(model(), loader(), loader())
    plots = {path.name: path.read_bytes()[:8] for path in (folder / "plots").iterdir()}
    assert set(plots) == {"front.png", "layers.png", "raster.png", "rivals.png"}
    assert set(plots.values()) == {b"\x89PNG\r\n\x1a\n"}


def test_without_what_draws_the_spikes_are_kept_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("matplotlib", "matplotlib.figure", "PIL", "PIL.Image"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    to, folder = logger(tmp_path)
    trainer(tmp_path, SpikeRecord(), HardwareTarget(), logger=to).fit(model(), loader(), loader())
    assert (folder / "spikes.json").is_file()
    assert not (folder / "plots").exists()


@pytest.mark.filterwarnings("ignore:Experiment logs directory")
def test_pictures_that_cannot_be_written_end_no_run(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    to, folder = logger(tmp_path)
    folder.mkdir(parents=True)
    (folder / "plots").write_text("a file where the folder would be", encoding="utf-8")
    fit = trainer(tmp_path, SpikeRecord(), logger=to)
    with pytest.warns(UserWarning, match=r"cannot write .*raster\.png.*goes on"):
        fit.fit(model(), loader(), loader())
    assert (folder / "spikes.json").is_file()


def test_training_is_the_same_with_and_without(tmp_path: Path) -> None:
    weights = []
    for callbacks in ([], [SpikeRecord()]):
        net = model()
        pl.seed_everything(3, verbose=False)
        run = trainer(tmp_path, *callbacks, logger=logger(tmp_path)[0])
        run.fit(net, loader(), loader())
        weights.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    assert torch.equal(weights[0], weights[1])


@pytest.mark.parametrize("max_neurons", [1, 3, 4, 100])
def test_of_a_wide_layer_every_so_many_neurons_are_kept(max_neurons: int) -> None:
    spk = (np.random.default_rng(0).random((5, 10)) < 0.4).astype(float)
    (layer,) = record({"a": spk}, max_neurons)["layers"]
    kept = np.arange(0, 10, layer["every"])
    assert len(kept) <= max_neurons
    expected = np.zeros_like(spk)
    expected[:, kept] = spk[:, kept]
    assert np.array_equal(dense(layer), expected)


def test_keeping_no_neuron_is_refused() -> None:
    with pytest.raises(ArgumentError, match="max_neurons is 0"):
        SpikeRecord(max_neurons=0)
