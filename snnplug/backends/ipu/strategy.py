"""Lightning's side of an IPU: ``Trainer(accelerator="ipu", strategy="ipu")``, or a refusal.

Lightning has no entry point for either: importing this module registers both, as the command line
and :func:`snnplug.backends.trainer_kwargs` do.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import Accelerator, AcceleratorRegistry
from lightning.pytorch.plugins.precision import HalfPrecision, Precision
from lightning.pytorch.strategies import SingleDeviceStrategy, StrategyRegistry
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from snnplug.backends.ipu.backend import Ipu
from snnplug.backends.ipu.trainer import DeviceTrainer
from snnplug.errors import BackendError
from snnplug.mixed import Mixed


def _refuse(message: str) -> None:
    raise BackendError(f"accelerator 'ipu': {message}. Nothing was trained")


class IPUAccelerator(Accelerator):
    """The IPU, as far as Lightning has to know it; it cannot be made where PopTorch is not.

    Raises:
        BackendError: PopTorch is not here, with what would help; or the strategy is another one,
            with which Lightning would train on the CPU.
    """

    def __init__(self) -> None:
        runs, reason = Ipu().available()
        if not runs:
            _refuse(reason)

    def setup_device(self, device: torch.device) -> None:
        """Do nothing: PopTorch finds its devices."""

    def setup(self, trainer: Trainer) -> None:
        """Refuse any strategy but :class:`IPUStrategy`."""
        if not isinstance(trainer.strategy, IPUStrategy):
            _refuse(
                f"strategy {type(trainer.strategy).__name__} would train on the CPU; give "
                "strategy='ipu'"
            )

    def teardown(self) -> None:
        """Do nothing: the strategy has let go of the device."""

    @staticmethod
    def parse_devices(devices: Any) -> int:
        """Return 1; several are replicas of one model, which the strategy makes."""
        if str(devices) not in ("1", "auto", "-1"):
            _refuse(
                f"devices={devices!r}; replicas are an option of the strategy: "
                "devices=1, strategy=IPUStrategy(replication_factor=…)"
            )
        return 1

    @staticmethod
    def get_parallel_devices(devices: int) -> list[torch.device]:
        """Return the host, where PopTorch takes its tensors from."""
        return [torch.device("cpu")] * devices

    @staticmethod
    def auto_device_count() -> int:
        """Return 1."""
        return 1

    @staticmethod
    def is_available() -> bool:
        """Whether PopTorch is here; never raises, as Lightning asks every accelerator."""
        return Ipu().available()[0]

    @staticmethod
    def name() -> str:
        """Return "ipu"."""
        return "ipu"


class IPUPrecision(Precision):
    """Leaves backward pass and optimiser's step to the device.

    Args:
        half: Weights of products in float16; the rest in float32.
    """

    def __init__(self, half: bool = False) -> None:
        self.half = half
        self.precision = "16-true" if half else "32-true"

    def backward(self, tensor: Tensor, model: Any, optimizer: Any, *args: Any, **kw: Any) -> None:
        """Do nothing: the step has been differentiated on the device."""

    def optimizer_step(  # type: ignore[override]
        self, optimizer: Any, model: Any, closure: Callable[[], Any], **kwargs: Any
    ) -> Any:
        """Run the closure, which runs the step on the device, optimiser included."""
        optimizer._opt_called = True  # a schedule warns of an optimiser that never steps
        return closure()


class IPUStrategy(SingleDeviceStrategy):
    """Train a :class:`~snnplug.training.classifier.SpikingClassifier` through PopTorch.

    A batch of the loader is what one call to the device takes: micro batch times the three
    factors. Weights come back before validation, before a checkpoint and at the end. The last batch
    of an epoch is left out if it is smaller, with a warning; training accuracy is by spike counts.

    Args:
        device_iterations: Optimiser steps of one call.
        replication_factor: Replicas of the model, each on its own IPU.
        gradient_accumulation: Micro batches of one optimiser step.
        accelerator: As Lightning gives it.
        checkpoint_io: As Lightning gives it.
        precision_plugin: As Lightning gives it; 32-true and 16-true are taken.

    Raises:
        BackendError: Accelerator, precision, network, loss, optimiser or an option of the trainer
            has no counterpart on the device.
    """

    strategy_name = "ipu"

    def __init__(
        self,
        device_iterations: int = 1,
        replication_factor: int = 1,
        gradient_accumulation: int = 1,
        accelerator: Accelerator | None = None,
        checkpoint_io: Any = None,
        precision_plugin: Precision | None = None,
    ) -> None:
        self.factors = {
            "device_iterations": device_iterations,
            "replication_factor": replication_factor,
            "gradient_accumulation": gradient_accumulation,
        }
        for name, value in self.factors.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise BackendError(f"{name} is {value!r}; give a whole number of at least 1")
        super().__init__("cpu", accelerator, checkpoint_io, precision_plugin)
        self.device_trainer: DeviceTrainer | None = None

    @property
    def precision_plugin(self) -> Precision:
        """An :class:`IPUPrecision`, always: another would run the optimiser on the host too."""
        return self._precision_plugin if self._precision_plugin is not None else IPUPrecision()

    @precision_plugin.setter
    def precision_plugin(self, plugin: Precision | None) -> None:
        if plugin is None or isinstance(plugin, IPUPrecision):
            self._precision_plugin = plugin
        elif plugin.precision == "32-true":
            self._precision_plugin = IPUPrecision()
        elif isinstance(plugin, HalfPrecision) and plugin.precision == "16-true":
            self._precision_plugin = IPUPrecision(half=True)
        else:
            _refuse(
                f"precision {plugin.precision!r}; an IPU has 32-true, and 16-true with float32 "
                "states (PopTorch turns bfloat16 into float16)"
            )

    @property
    def handles_gradient_accumulation(self) -> bool:
        """Whether gradients are accumulated without Lightning: on the device."""
        return True

    def setup(self, trainer: Trainer) -> None:
        """Refuse what the device has no counterpart for, before anything runs."""
        module: Any = self.lightning_module
        if not isinstance(self.accelerator, IPUAccelerator):
            found = type(self.accelerator).__name__
            _refuse(f"strategy 'ipu' with {found}; give accelerator='ipu' as well")
        if not all(hasattr(module, name) for name in ("network", "loss", "observe", "backend")):
            _refuse(f"{type(module).__name__} is no SpikingClassifier")
        if not isinstance(module.backend, Ipu):
            _refuse(
                f"the network runs by backend {module.backend.name!r}, which would validate on the "
                "CPU; give it backend='ipu'"
            )
        module.backend.half = self._half
        if "training_step" in vars(module):
            _refuse("a callback (EnergyPenalty?) adds to the loss on the host; leave it out")
        if trainer.accumulate_grad_batches != 1:
            k = trainer.accumulate_grad_batches
            _refuse(
                f"accumulate_grad_batches={k}; give strategy=IPUStrategy(gradient_accumulation={k})"
                f" and batches of {k} micro batches"
            )
        if trainer.gradient_clip_val:
            _refuse("gradient_clip_val; gradients never come to the host")
        super().setup(trainer)
        if self.optimizers:
            try:
                self.device_trainer = DeviceTrainer(
                    import_module("poptorch"), module, self.optimizers, self.factors, self._half
                )
            except ValueError as error:  # of our own: no portable form, or no such optimiser
                _refuse(str(error))

    @property
    def _half(self) -> bool:
        return isinstance(self.precision_plugin, IPUPrecision) and self.precision_plugin.half

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Take the device, and give it the learning rate of now."""
        if self.device_trainer is not None:
            self._release_inference()
            self.device_trainer.attach()
            self.device_trainer.follow_learning_rate()

    def training_step(self, batch: Any, batch_idx: int, *args: Any) -> Any:
        """Run a step on the device, and log what the host would have logged."""
        module: Any = self.lightning_module
        if self.device_trainer is None or len(batch) != 2:
            _refuse("recordings of different lengths; shapes are fixed, give num_steps to the data")
            return None
        samples, targets = batch
        if isinstance(targets, Mixed):
            _refuse("recordings that are mixed; leave augmentation.mix and cut_mix at 0")
        frames = samples if module.encoder is None else module.encoder(samples)
        result = self.device_trainer.step(frames, targets)
        if result is None:
            rank_zero_warn(
                f"a batch of {len(targets)} is left out: shapes are fixed, batches have "
                f"{self.device_trainer.batch_size}; give the data drop_last"
            )
            return None
        counts, loss = result
        module.observe("train", loss, counts.argmax(1), targets)
        return loss

    def on_validation_start(self) -> None:
        """Bring the weights back, and leave the device to inference."""
        self._bring_back(release=True)

    def on_train_end(self) -> None:
        """Bring the weights back."""
        self._bring_back(release=True)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return the module's state with the device's weights."""
        self._bring_back()
        return super().lightning_module_state_dict()

    def load_optimizer_state_dict(self, checkpoint: Any) -> None:
        """Say that the optimiser begins anew: its states never came back."""
        rank_zero_warn(
            "the optimiser's states stayed on the device: a resumed run begins with fresh ones"
        )

    def _bring_back(self, release: bool = False) -> None:
        if self.device_trainer is not None:
            self.device_trainer.bring_back()
            if release:
                self.device_trainer.release()

    def _release_inference(self) -> None:
        prepared = getattr(self.lightning_module, "_prepared", None)
        if prepared is not None:
            prepared.release()

    def teardown(self) -> None:
        """Let go of the device."""
        if self.device_trainer is not None:
            self.device_trainer.destroy()
            self.device_trainer = None
        super().teardown()


def register() -> None:
    """Make ``accelerator="ipu"`` and ``strategy="ipu"`` known to Lightning."""
    if "ipu" not in AcceleratorRegistry.available_accelerators():
        AcceleratorRegistry.register("ipu", IPUAccelerator, description="Graphcore IPU")
    if "ipu" not in StrategyRegistry.available_strategies():
        StrategyRegistry.register("ipu", IPUStrategy, description="PopTorch's training model")


register()
