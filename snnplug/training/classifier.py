"""The LightningModule that recipes train."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from snnplug import backends
from snnplug.backends.base import Prepared
from snnplug.errors import ArgumentError, BackendError
from snnplug.mixed import Mixed
from snnplug.neurons.base import hidden_state, release, reset
from snnplug.training import fully_sharded
from snnplug.training.ctc import CTC
from snnplug.training.decoding import Decoding, decode
from snnplug.training.encoding import Encoding
from snnplug.training.lengths import loss_over_lengths, loss_over_mixtures, same_length, silenced
from snnplug.training.losses import SquaredHinge
from snnplug.training.scores import Scores


def _adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=1e-3)


class SpikingClassifier(pl.LightningModule):
    """Trains a spiking network to name the class of a sequence.

    Logs ``train/loss`` and ``train/acc``, ``val/loss`` and ``val/acc``, ``test/loss`` and
    ``test/acc``. The state of every neuron is reset before each batch.

    With the loss :class:`~snnplug.training.ctc.CTC` it names several classes in their order.
    ``acc`` is then the share of samples without any error, and ``train/wer``, ``val/wer`` and
    ``test/wer`` are logged as well: the word error rate, classes to be changed, added or left out
    per class that is right.

    Args:
        network: Takes frames ``(T, B, *)`` and returns output spikes ``(T, B, C)``, or a pair of
            output spikes and the currents or membranes that drive them.
        num_classes: Classes :math:`C`.
        loss: Called with the second of the pair (the spikes, if there is none) and the targets
            ``(B,)``.
        encoder: Turns static samples ``(B, *)`` into sequences; None for data that are sequences.
        decoding: ``"count"`` decides by the most output spikes, ``"first"`` by the first one,
            ``"current"`` by the current that the output neurons received.
        optimizer: Makes the optimiser from the parameters.
        lr_scheduler: Makes the schedule from the optimiser; stepped after every epoch.
        backend: Name of the backend that runs the network: one of ``snnplug.backends.names()``.

    Shape:
        - batch: frames ``(T, B, *)``, or with an encoder static samples ``(B, *)``; targets
          ``(B,)``; and, where the recordings differ in length, the steps of each, ``(B,)``: each
          is learned from, decided by, measured and priced over its own steps, as if it were alone
        - batch of sequences: frames ``(T, B, *)``, targets ``(B, L)`` filled up with -1, steps of
          each ``(B,)``, classes of each ``(B,)``; ``num_classes`` counts the blank

    Raises:
        ArgumentError: The network's output does not have ``num_classes`` columns; the targets are
            sequences and the loss is not for them, or the other way round; or ``"first"`` is to
            decide on sequences.
        BackendError: The backend is unknown, does not run here, or cannot run the network.

    Example:
        >>> from snnplug.networks.dense import DenseSNN
        >>> model = SpikingClassifier(DenseSNN((1, 8, 8), 10, hidden=(16,)), num_classes=10)
        >>> spk, cur = model(torch.zeros(5, 3, 1, 8, 8))
        >>> spk.shape
        torch.Size([5, 3, 10])
    """

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        loss: nn.Module | None = None,
        encoder: Encoding | None = None,
        decoding: Decoding = "count",
        optimizer: OptimizerCallable = _adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        backend: str = "fused",
    ) -> None:
        super().__init__()
        if isinstance(loss, CTC) and decoding == "first":
            raise ArgumentError(
                "decoding 'first' decides once for a sample; with the loss CTC give count or "
                "current"
            )
        self.network = network
        self.num_classes = num_classes
        self.loss = SquaredHinge() if loss is None else loss
        self.encoder = encoder
        self.decoding: Decoding = decoding
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.backend = backends.get(backend)
        self._prepared: Prepared | None = None
        self.scores = nn.ModuleDict({f"{stage}_scores": Scores(num_classes) for stage in _STAGES})

    def setup(self, stage: str) -> None:
        """Keep the hidden state of each process out of what DDP copies from the first one.

        Its shape is that of the process's own batch, so copying it would even fail.
        """
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(  # type: ignore[no-untyped-call]
            self, hidden_state(self)
        )

    def configure_model(self) -> None:
        """Part the weights among the processes of an ``fsdp2`` strategy."""
        mesh = self.device_mesh
        if mesh is not None:
            if self.backend.name not in ("fused", "eager"):
                raise BackendError(
                    f"backend {self.backend.name!r} does not run a network whose weights are "
                    "parted among processes (strategy fsdp2); use backend fused, or strategy ddp"
                )
            fully_sharded.shard(self.network, mesh["data_parallel"])

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Return output spikes and what the loss looks at, each ``(T, B, C)``."""
        reset(self.network)
        frames = samples if self.encoder is None else self.encoder(samples)
        if self._prepared is None or self._prepared.network is not self.network:
            self._prepared = self.backend.prepare(self.network, frames)
            if self._prepared.note:
                rank_zero_info(f"backend {self._prepared.backend}: {self._prepared.note}")
        out = self._prepared(frames)
        release(self.network)
        # What is summed over time, counts and losses, is summed in single precision at least.
        spk, cur = (_single(x) for x in (out if isinstance(out, tuple) else (out, out)))
        if spk.shape[-1] != self.num_classes:
            raise ArgumentError(
                f"the network has {spk.shape[-1]} outputs, the data {self.num_classes} classes; "
                "give the network num_classes outputs"
            )
        return spk, cur

    def _decided(self, samples: Tensor, *lengths: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`forward`, with zeros from the end of each recording on.

        While it learns, the network runs once on the padded batch: what it says before the end of a
        recording does not depend on what follows. Otherwise once for each length, so that whatever
        watches it, as the hardware's bill does, sees no step that only pads.
        """
        if not lengths:
            out: tuple[Tensor, Tensor] = self(samples)
            return out
        if self.training:
            spk, cur = self(samples)
            return silenced(spk, lengths[0]), silenced(cur, lengths[0])
        spk = cur = torch.zeros(0)
        for where, part in same_length(samples, lengths[0]):
            some, driven = self(part)
            if not len(spk):
                shape = (len(samples), len(lengths[0]), self.num_classes)
                spk, cur = some.new_zeros(shape), driven.new_zeros(shape)
            spk[: len(some), where], cur[: len(driven), where] = some, driven
        return spk, cur

    def _step(self, batch: tuple[Any, ...], stage: str) -> tuple[Tensor, Tensor]:
        """Return the loss and what was decided, ``(B,)``, or ``(B, L)`` of sequences."""
        samples, targets, *lengths = batch
        self._check_kind(targets)
        spk, cur = self._decided(samples, *lengths[:1])
        if isinstance(targets, Mixed):
            loss = loss_over_mixtures(self.loss, cur, targets, *lengths)
            targets = targets.targets
        elif isinstance(self.loss, CTC):
            loss = self.loss(cur, targets, *lengths)
        elif lengths:
            loss = loss_over_lengths(self.loss, cur, targets, *lengths)
        else:
            loss = self.loss(cur, targets)
        decided = self._decide(spk.detach(), cur.detach(), *lengths)
        self.observe(stage, loss, decided, targets)
        return loss, decided

    def _check_kind(self, targets: Any) -> None:
        """Refuse a loss of one class for targets of several, and the other way round."""
        several = isinstance(targets, Tensor) and targets.dim() == 2
        if several and not isinstance(self.loss, CTC):
            raise ArgumentError(
                f"the targets are sequences, of shape {tuple(targets.shape)}, and the loss "
                f"{type(self.loss).__name__} takes one class for each sample; give the model loss "
                "CTC, or the data single classes (data.digits: single)"
            )
        if not several and isinstance(self.loss, CTC):
            raise ArgumentError(
                "the loss CTC takes sequences of classes, and the data have one class for each "
                "sample; give the model another loss, such as CountCrossEntropy, or the data "
                "sequences (data.digits: sequences or joined)"
            )

    def _decide(self, spk: Tensor, cur: Tensor, *lengths: Tensor) -> Tensor:
        if isinstance(self.loss, CTC):
            return self.loss.transcribe(cur if self.decoding == "current" else spk, lengths[0])
        return decode(spk, cur, self.decoding)

    def observe(self, stage: str, loss: Tensor, decided: Tensor, targets: Tensor) -> None:
        """Log the loss of a batch, and how many of its decisions are right, as Scores says."""
        scores = cast(Scores, self.scores[f"{stage}_scores"])
        for name, metric, arguments in scores.of(decided, targets):
            metric(*arguments)
            self.log(f"{stage}/{name}", metric, on_step=False, on_epoch=True, prog_bar=True)
        scores.mean_loss.update(loss, len(targets))
        self.log(f"{stage}/loss", scores.mean_loss, on_step=False, on_epoch=True)

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        return self._step(batch, "train")[0]

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> dict[str, Tensor]:
        """Log loss and accuracy of a validation batch; return what callbacks may count."""
        return self._counted(batch, "val")

    def test_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> dict[str, Tensor]:
        """Log loss and accuracy of a test batch; return what callbacks may count."""
        return self._counted(batch, "test")

    def _counted(self, batch: tuple[Tensor, ...], stage: str) -> dict[str, Tensor]:
        _, decided = self._step(batch, stage)
        # A class of a sequence has no one that was decided in its place.
        return {} if decided.dim() == 2 else {"decided": decided, "targets": batch[1]}

    def predict_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Return the decided classes of a batch, ``(B,)``; of sequences as :class:`CTC` does."""
        samples, targets, *lengths = batch
        self._check_kind(targets)
        spk, cur = self._decided(samples, *lengths[:1])
        return self._decide(spk, cur, *lengths)

    def on_validation_epoch_start(self) -> None:
        """Give every validation the same encoded spikes."""
        self._restart_encoder()

    def on_test_epoch_start(self) -> None:
        """Give every test the same encoded spikes."""
        self._restart_encoder()

    def _restart_encoder(self) -> None:
        if self.encoder is not None:
            self.encoder.restart()

    @property
    def lr(self) -> float | None:
        """Learning rate of the optimiser; None before there is one.

        Setting it, as Lightning's ``LearningRateFinder`` does, moves the schedule along.
        """
        optimizers = self._trainer.optimizers if self._trainer is not None else []
        return float(optimizers[0].param_groups[0]["lr"]) if optimizers else None

    @lr.setter
    def lr(self, lr: float) -> None:
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr
                if "initial_lr" in group:
                    group["initial_lr"] = lr
        for config in self.trainer.lr_scheduler_configs:
            scheduler: Any = config.scheduler
            if hasattr(scheduler, "base_lrs"):
                scheduler.base_lrs = [lr] * len(scheduler.base_lrs)

    def __deepcopy__(self, memo: dict[int, Any]) -> SpikingClassifier:
        """Copy all but what makes optimisers, which holds on to the whole command line."""
        memo |= {id(maker): maker for maker in (self.optimizer, self.lr_scheduler)}
        memo[id(self)] = copy = type(self).__new__(type(self))
        vars(copy).update(deepcopy(self.__getstate__(), memo))
        return copy

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what holds on to this very network; a copy prepares its own."""
        return super().__getstate__() | {"_prepared": None}

    def configure_optimizers(self) -> Any:
        """Return the optimiser, and the schedule if there is one."""
        optimizer = self.optimizer(self.parameters())
        if self.lr_scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self.lr_scheduler(optimizer)}


def _single(x: Tensor) -> Tensor:
    """Return half precision as float32, anything else as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


_STAGES = ("train", "val", "test")
