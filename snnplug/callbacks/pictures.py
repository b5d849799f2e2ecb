"""Pictures of the network being trained, for loggers that can show them."""

from __future__ import annotations

from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torchmetrics.classification import MulticlassConfusionMatrix

from snnplug.callbacks.pixel_pictures import draw_confusion, draw_frames, draw_raster
from snnplug.callbacks.spike_probe import SpikeProbe
from snnplug.errors import ArgumentError
from snnplug.training.fully_sharded import whole
from snnplug.training.media import log_histogram, log_pixels, shows_pictures


class Pictures(pl.Callback):
    """Shows event frames, spikes, confusions, weights and membranes now and then.

    Drawn in the first epoch, then every ``every_n_epochs`` and in the last, from what the normal
    validation pass computes; no pass of its own is made. Loggers that can show no pictures
    (``CSVLogger``) cost nothing.

    Logged keys:

    - ``val/frames`` — what the first sample of the first validation batch gives the network
    - ``activity/raster`` — the spikes that it causes in every layer
    - ``activity/membrane/<layer>`` — histogram of the membranes after the last step of that batch
    - ``val/confusion`` and ``test/confusion`` — which class is taken for which
    - ``train/weight/<parameter>`` — histogram of each weight

    Args:
        every_n_epochs: Epochs between pictures; 0 draws none.
        max_neurons: Layers with more neurons are in no raster and have no membrane histogram.
        max_weights: Parameters with more values have no histogram.

    Raises:
        ArgumentError: A number is negative.

    Example:
        >>> import lightning.pytorch as pl
        >>> trainer = pl.Trainer(callbacks=[Pictures(every_n_epochs=5)], logger=False,
        ...                      enable_checkpointing=False, enable_progress_bar=False,
        ...                      enable_model_summary=False, accelerator="cpu")
    """

    def __init__(
        self, every_n_epochs: int = 10, max_neurons: int = 2048, max_weights: int = 4_000_000
    ) -> None:
        if min(every_n_epochs, max_neurons, max_weights) < 0:
            raise ArgumentError(
                f"every_n_epochs is {every_n_epochs}, max_neurons {max_neurons}, max_weights "
                f"{max_weights}; none can be negative, and every_n_epochs=0 draws no pictures"
            )
        self.every_n_epochs = every_n_epochs
        self.max_neurons = max_neurons
        self.max_weights = max_weights
        self._probe: SpikeProbe | None = None
        self._frames: Tensor | None = None
        self._confusion: MulticlassConfusionMatrix | None = None

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prepare to watch the first batch, in an epoch that is drawn."""
        self._forget()
        if self._draws(trainer) and self._is_due(trainer):
            self._confusion = _confusion(pl_module)
            network = getattr(pl_module, "network", None)
            if isinstance(network, nn.Module):
                self._probe = SpikeProbe(network, max_neurons=self.max_neurons)

    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Watch the first batch."""
        if self._probe is not None and batch_idx == 0:
            samples = batch[0]
            encoded = getattr(pl_module, "encoder", None) is not None
            self._frames = (samples[:1] if encoded else samples[:, 0]).detach().cpu()
            self._probe.start()

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Count the confusions, and let the network go."""
        if self._probe is not None:
            self._probe.stop()
        self._count(outputs)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw what was seen."""
        if trainer.sanity_checking:
            return
        self._show_confusion(trainer, "val")
        if self._probe is not None:
            self._show_activity(trainer, self._probe)
            self._show_weights(trainer, pl_module)
        self._forget()

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prepare to count the confusions."""
        self._forget()
        if self._draws(trainer):
            self._confusion = _confusion(pl_module)

    def on_test_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Count the confusions."""
        self._count(outputs)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the confusions."""
        self._show_confusion(trainer, "test")
        self._forget()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave the network as it was."""
        self._forget()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Leave the network as it was."""
        self._forget()

    def _draws(self, trainer: pl.Trainer) -> bool:
        """Whether anything would be seen; says so once where only what draws is missing."""
        if not self.every_n_epochs or trainer.sanity_checking:
            return False
        if not shows_pictures(trainer.loggers):
            return False
        try:
            import matplotlib  # noqa: F401  # pillow comes with it
        except ModuleNotFoundError:
            self.every_n_epochs = 0
            rank_zero_info("no pictures are logged: run pip install 'snnplug[viz]' for them")
            return False
        return True

    def _is_due(self, trainer: pl.Trainer) -> bool:
        epoch = trainer.current_epoch
        return epoch % self.every_n_epochs == 0 or epoch + 1 == trainer.max_epochs

    def _forget(self) -> None:
        if self._probe is not None:
            self._probe.stop()
        self._probe = self._frames = self._confusion = None

    def _count(self, outputs: Any) -> None:
        if self._confusion is not None and isinstance(outputs, dict) and "decided" in outputs:
            self._confusion.update(outputs["decided"], outputs["targets"])

    def _show_confusion(self, trainer: pl.Trainer, stage: str) -> None:
        if self._confusion is None or not self._confusion.update_called:
            return
        counts = self._confusion.compute().cpu().numpy()  # of all processes together
        log_pixels(
            trainer.loggers, f"{stage}/confusion", draw_confusion(counts), trainer.global_step
        )

    def _show_activity(self, trainer: pl.Trainer, probe: SpikeProbe) -> None:
        loggers, step = trainer.loggers, trainer.global_step
        if self._frames is not None:
            log_pixels(loggers, "val/frames", draw_frames(self._frames.float().numpy()), step)
        spikes = {name: spk.numpy() for name, spk in probe.spikes().items()}
        if spikes:
            log_pixels(loggers, "activity/raster", draw_raster(spikes), step)
        for name, mem in probe.membranes.items():
            key = f"activity/membrane/{name.replace('.', '_')}"
            log_histogram(loggers, key, _array(mem), step)

    def _show_weights(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        network = cast(nn.Module, pl_module.network)
        for name, weight in network.named_parameters():
            if weight.dim() > 1 and weight.numel() <= self.max_weights:
                key = f"train/weight/{name.replace('.', '_')}"
                log_histogram(trainer.loggers, key, _array(whole(weight)), trainer.global_step)


def _array(values: Tensor) -> np.ndarray[Any, Any]:
    return values.detach().to("cpu", torch.float32).numpy()


def _confusion(pl_module: pl.LightningModule) -> MulticlassConfusionMatrix | None:
    """Return a count of confusions, if the module says what it decides."""
    num_classes = getattr(pl_module, "num_classes", None)
    if not isinstance(num_classes, int):
        return None
    return MulticlassConfusionMatrix(num_classes).to(pl_module.device)
