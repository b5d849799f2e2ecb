"""The spikes of one sample, kept in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import numpy as np
from torch import nn

from snnplug.callbacks.pixel_pictures import Array, draw_raster, png
from snnplug.callbacks.run_folder import run_folder, write_json, write_plots
from snnplug.callbacks.spike_probe import SpikeProbe
from snnplug.errors import ArgumentError


class SpikeRecord(pl.Callback):
    """Writes ``spikes.json`` and ``plots/raster.png``: the spikes that one sample causes.

    Watches the first sample of the first validation batch in each epoch, which costs a copy of that
    sample's spikes, and writes those of the last epoch at the end of the fit; in a test pass those
    of the first test batch, as ``spikes_test.json``. ``snnplug report`` draws them.

    Args:
        max_neurons: Of a layer with more neurons every second is kept, or every third, ….

    Raises:
        ArgumentError: ``max_neurons`` is not positive.

    Example:
        >>> import lightning.pytorch as pl
        >>> trainer = pl.Trainer(callbacks=[SpikeRecord()], logger=False, accelerator="cpu",
        ...                      enable_checkpointing=False, enable_progress_bar=False,
        ...                      enable_model_summary=False)
    """

    def __init__(self, max_neurons: int = 256) -> None:
        if max_neurons < 1:
            raise ArgumentError(f"max_neurons is {max_neurons}; keep at least 1 of each layer")
        self.max_neurons = max_neurons
        self._probe: SpikeProbe | None = None

    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Watch the first batch."""
        if batch_idx == 0 and dataloader_idx == 0 and not trainer.sanity_checking:
            self._start(pl_module)

    def on_test_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Watch the first batch."""
        if batch_idx == 0 and dataloader_idx == 0:
            self._start(pl_module)

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        """Let the network go."""
        self._stop()

    def on_test_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        """Let the network go."""
        self._stop()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what the last validation saw."""
        self._write(trainer, "")

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what the test saw."""
        self._write(trainer, "_test")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave the network as it was."""
        self._stop()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Leave the network as it was."""
        self._stop()

    def _start(self, pl_module: Any) -> None:
        self._stop()
        network = getattr(pl_module, "network", None)
        if isinstance(network, nn.Module):
            self._probe = SpikeProbe(network, max_neurons=2**31)
            self._probe.start()

    def _stop(self) -> None:
        if self._probe is not None:
            self._probe.stop()

    def _write(self, trainer: pl.Trainer, of: str) -> None:
        folders = [f for f in map(run_folder, trainer.loggers) if f is not None]
        if self._probe is None or not folders:
            return
        spikes = {name: spk.numpy() for name, spk in self._probe.spikes().items()}
        kept = {name: spk[:, :: every(spk, self.max_neurons)] for name, spk in spikes.items()}
        for folder in folders:
            write_json(folder / f"spikes{of}.json", record(spikes, self.max_neurons), indent=None)
            write_plots(folder, of, lambda: {"raster": png(draw_raster(kept))})


def every(spk: Array, max_neurons: int) -> int:
    """Return how many neurons apart those lie that are kept of ``(T, N)``."""
    return max(1, -(-int(spk.shape[1]) // max_neurons))


def record(spikes: Mapping[str, Array], max_neurons: int) -> dict[str, Any]:
    """Return when each neuron spikes, as plain values.

    Args:
        spikes: Of each layer, ``(T, N)``; what is not 0 is a spike.
        max_neurons: Neurons to keep of a layer.

    Example:
        >>> record({"fc": np.array([[0, 1, 0], [1, 0, 1]])}, max_neurons=2)["layers"]
        [{'name': 'fc', 'neurons': 3, 'num_steps': 2, 'every': 2, 'step': [1, 1], 'neuron': [0, 2]}]
    """
    layers = []
    for name, spk in spikes.items():
        apart = every(spk, max_neurons)
        step, neuron = np.nonzero(spk[:, ::apart])
        layers.append(
            {
                "name": name,
                "neurons": spk.shape[1],
                "num_steps": spk.shape[0],
                "every": apart,
                "step": step.tolist(),
                "neuron": (neuron * apart).tolist(),
            }
        )
    return {"layers": layers}
