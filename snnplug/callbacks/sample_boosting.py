"""Training harder on the samples that the network keeps getting wrong."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from snnplug.errors import ArgumentError
from snnplug.learning.sample_weights import SampleWeights, weighted
from snnplug.mixed import Mixed
from snnplug.training.decoding import decode


class SampleBoosting(pl.Callback):
    r"""Multiplies the error of each training sample with a weight of its own.

    The weights begin at 1 and are raised after each epoch where the sample was misclassified, as
    :class:`~snnplug.learning.sample_weights.SampleWeights` says. The gradient at the network's
    output is multiplied, so any loss that is a mean over samples is that of weighted samples;
    the logged loss is the one without weights. The weights are kept in checkpoints.

    Logged key:

    - ``train/largest_sample_weight`` — the largest weight of an epoch

    Args:
        scale: The larger, the slower weights grow; the authors' 20 unless given.

    Raises:
        ArgumentError: The scale is not above 0; the module is no
            :class:`~snnplug.training.classifier.SpikingClassifier`; the data module does not tell
            which samples a batch holds (those of snnplug do); or the run has several processes,
            each of which would have weights of its own.

    Example:
        >>> import lightning.pytorch as pl
        >>> trainer = pl.Trainer(callbacks=[SampleBoosting()], logger=False, accelerator="cpu",
        ...                      enable_checkpointing=False, enable_progress_bar=False,
        ...                      enable_model_summary=False)

    Reference:
        As :class:`~snnplug.learning.sample_weights.SampleWeights`.
    """

    def __init__(self, scale: float = 20.0) -> None:
        SampleWeights(1, scale)  # refuses a scale now, not after the data were read
        self.scale = scale
        self.weights: SampleWeights | None = None
        self._kept: Tensor | None = None
        self._indices: Tensor | None = None
        self._decided: list[Tensor] = []
        self._hook: Any = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give every training sample a weight, and the gradients their factors."""
        if trainer.world_size > 1:
            raise ArgumentError(
                f"the run has {trainer.world_size} processes, and each would weight the samples by "
                "what it alone has seen; SampleBoosting takes devices: 1"
            )
        if not hasattr(pl_module, "decoding"):
            raise ArgumentError(
                f"{type(pl_module).__name__} is no SpikingClassifier: SampleBoosting weights the "
                "outputs (spikes, currents) of its forward, and decides as its `decoding` says"
            )
        loader: Any = trainer.train_dataloader
        sampler = getattr(loader, "sampler", None)
        if not hasattr(sampler, "drawn"):
            raise ArgumentError(
                f"the training loader's sampler, {type(sampler).__name__}, does not keep which "
                "samples it has drawn; SampleBoosting takes data modules of snnplug, or a sampler "
                "with a list `drawn`"
            )
        self.weights = SampleWeights(len(loader.dataset), self.scale)
        if self._kept is not None and len(self._kept) == len(self.weights.values):
            self.weights.values = self._kept
        self._hook = pl_module.register_forward_hook(self._weighted)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look up which samples the batch holds."""
        if isinstance(batch[1], Mixed):
            raise ArgumentError(
                "samples that are mixed have no weight; leave augmentation.mix and cut_mix at 0"
            )
        if batch[1].dim() == 2:
            raise ArgumentError(
                "sequences have no weight: each of their classes is right or wrong; leave "
                "SampleBoosting out"
            )
        loader: Any = trainer.train_dataloader
        first = batch_idx * loader.batch_size
        drawn = loader.sampler.drawn[first : first + len(batch[1])]
        self._indices = torch.tensor(drawn)
        self._decided.clear()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep what was decided."""
        if self.weights is not None and self._indices is not None and self._decided:
            self.weights.record(self._indices, batch[1], self._decided[0])
        self._indices = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Raise the weights."""
        if self.weights is not None:
            self.weights.end_epoch()
            pl_module.log("train/largest_sample_weight", self.weights.values.max())

    def _weighted(self, module: Any, args: Any, out: Any) -> Any:
        if self.weights is None or self._indices is None:
            return out
        spk, cur = out
        self._decided.append(decode(spk.detach(), cur.detach(), module.decoding))
        weights = self.weights.values[self._indices].to(cur.device)
        return spk, weighted(cur, weights)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave the module as it was."""
        self._stop()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Leave the module as it was."""
        self._stop()

    def _stop(self) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._hook = self._indices = None

    def state_dict(self) -> dict[str, Any]:
        """Return the weights."""
        return {} if self.weights is None else {"weights": self.weights.values}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the weights of a checkpoint."""
        self._kept = state_dict.get("weights")
