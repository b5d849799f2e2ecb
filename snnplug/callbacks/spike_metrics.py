"""How a network spikes and when it decides, every epoch, beside its accuracy."""

from __future__ import annotations

import json
from typing import Any, cast

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from snnplug.callbacks.figures import log_figures
from snnplug.callbacks.processes import gather_texts
from snnplug.errors import ArgumentError
from snnplug.hardware.dynamics import dynamics_of, is_spiking
from snnplug.metrics.dead_neurons import DeadNeurons
from snnplug.metrics.firing_rate import ActivationSparsity
from snnplug.metrics.latency_to_decision import LatencyToDecision
from snnplug.metrics.saturated_neurons import SaturatedNeurons


class SpikeMetrics(pl.Callback):
    """Logs sparsity, dead and saturated neurons, and the latency of the decision.

    Looks at what every layer of neurons of ``pl_module.network`` puts out in the normal validation
    and test passes. The counts are integers and are added up over all processes, so the figures do
    not depend on how many there are. Other metrics of :mod:`snnplug.metrics` stand in the bill of
    :class:`~snnplug.callbacks.hardware_target.HardwareTarget`.

    Logged keys, in a test pass under ``test/``:

    - ``activity/sparsity`` — share of outputs that are zero, over all layers; NeuroBench's
      activation sparsity
    - ``activity/dead_fraction/<layer>`` — share of neurons that never spiked
    - ``activity/saturated_fraction/<layer>`` — share of neurons that always spiked
    - ``activity/latency_steps`` — mean step from which on the decision is the final one; for a
      module that has a ``decoding``

    Raises:
        ArgumentError: The module has no ``network``.

    Example:
        >>> import lightning.pytorch as pl
        >>> trainer = pl.Trainer(callbacks=[SpikeMetrics()], logger=False, accelerator="cpu",
        ...                      enable_checkpointing=False, enable_progress_bar=False,
        ...                      enable_model_summary=False)
    """

    def __init__(self) -> None:
        self._handles: list[Any] = []
        self._layers: dict[str, tuple[DeadNeurons, SaturatedNeurons]] = {}
        self._sparsity: ActivationSparsity | None = None
        self._latency: LatencyToDecision | None = None
        self._out: list[Tensor] | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check the module."""
        if not isinstance(getattr(pl_module, "network", None), nn.Module):
            raise ArgumentError(
                f"{type(pl_module).__name__} has no attribute `network`; SpikeMetrics looks at the "
                "neurons of that module"
            )

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to look."""
        if not trainer.sanity_checking:
            self._start(pl_module)

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to look."""
        self._start(pl_module)

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        """Add the decisions of the batch."""
        self._decided(args[1])

    def on_test_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        """Add the decisions of the batch."""
        self._decided(args[1])

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log what was seen."""
        self._finish(trainer, pl_module, prefix="")

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log what was seen."""
        self._finish(trainer, pl_module, prefix="test/")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave the network as it was."""
        self._stop()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Leave the network as it was."""
        self._stop()

    def _start(self, pl_module: pl.LightningModule) -> None:
        self._stop()
        network = cast(nn.Module, pl_module.network)  # setup has checked that there is one
        self._sparsity, self._layers = ActivationSparsity().to(pl_module.device), {}
        decoding = getattr(pl_module, "decoding", None)
        self._latency = None
        if decoding is not None:
            self._latency = LatencyToDecision(decoding).to(pl_module.device)
            self._handles.append(network.register_forward_hook(self._end_network))
        for name, module in network.named_modules():
            if is_spiking(module):
                hook = self._seen(name or type(module).__name__, module)
                self._handles.append(module.register_forward_hook(hook, with_kwargs=True))

    def _stop(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._out = None

    def _seen(self, name: str, module: nn.Module) -> Any:
        """Return the hook on a layer of neurons."""
        dynamics = dynamics_of(module)
        whole = dynamics is not None and dynamics.sequence

        def hook(module: nn.Module, args: Any, kwargs: dict[str, Any], out: Any) -> None:
            spk = out[0] if isinstance(out, tuple) else out
            leading = 2 if whole or kwargs.get("sequence") else 1
            if name not in self._layers:
                self._add(name, tuple(spk.shape[leading:]), spk.device)
            for metric in (cast(ActivationSparsity, self._sparsity), *self._layers[name]):
                metric.update(spk)

        return hook

    def _add(self, name: str, shape: tuple[int, ...], device: torch.device) -> None:
        self._layers[name] = (DeadNeurons(shape).to(device), SaturatedNeurons(shape).to(device))

    def _end_network(self, module: nn.Module, args: Any, out: Any) -> None:
        """Keep what the decision is made from until the batch says how long its samples are."""
        spk, cur = out if isinstance(out, tuple) else (out, out)
        latency = cast(LatencyToDecision, self._latency)
        self._out = [*(self._out or []), cur if latency.decoding == "current" else spk]

    def _decided(self, batch: Any) -> None:
        if self._latency is None or self._out is None:
            return
        outs, self._out = self._out, None
        if batch[1].dim() == 2:  # what is decided class by class has no one latency
            self._latency = None
            return
        for out in outs:  # one for each length, without padding: silent from there on
            silent = len(batch[0]) - len(out) if len(batch) > 2 else 0
            self._latency.update(torch.cat([out, out.new_zeros((silent, *out.shape[1:]))]))

    def _finish(self, trainer: pl.Trainer, pl_module: pl.LightningModule, prefix: str) -> None:
        if self._sparsity is None or trainer.sanity_checking:
            return
        self._stop()
        # A process that had no batch has to know the layers, since all of them add up together.
        mine = json.dumps({name: pair[0].shape for name, pair in self._layers.items()})
        for theirs in gather_texts(mine, trainer, pl_module.device):
            for name, shape in json.loads(theirs).items():
                if name not in self._layers:
                    self._add(name, tuple(shape), pl_module.device)
        figures: dict[str, Tensor] = {}
        if self._layers:
            figures["sparsity"] = self._sparsity.compute()
        for name in sorted(self._layers):
            dead, saturated = self._layers[name]
            key = name.replace(".", "_")
            figures[f"dead_fraction/{key}"] = dead.compute()
            figures[f"saturated_fraction/{key}"] = saturated.compute()
        if self._latency is not None:
            figures["latency_steps"] = self._latency.compute()
        self._sparsity = None
        log_figures(pl_module, {f"{prefix}activity/{k}": v.item() for k, v in figures.items()})
