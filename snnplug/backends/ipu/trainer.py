"""A training model on the device, for a network whose weights live on the host."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor

from snnplug.backends.ipu.bundle.device import BatchFirst, device_optimizer, device_options
from snnplug.backends.ipu.export import take_over, training_step
from snnplug.backends.ipu.readiness import OPTIMIZERS
from snnplug.errors import ArgumentError

#: Options of torch's optimisers that PopTorch's have as well, and those that change nothing here.
_SHARED = ("lr", "betas", "eps", "weight_decay", "momentum", "dampening", "nesterov", "alpha")
_NEUTRAL = ("foreach", "fused", "decoupled_weight_decay", "initial_lr")


class DeviceTrainer:
    """``poptorch.trainingModel`` over the portable form of a module's network and loss.

    Args:
        poptorch: The module.
        module: Has ``network`` and ``loss``.
        optimizers: The host's: one, with one group of parameters, all of the network's.
        factors: ``device_iterations``, ``replication_factor``, ``gradient_accumulation``.
        half: Weights of products in float16.

    Raises:
        ArgumentError: Network, loss or optimiser has no portable form.
        ValueError: The optimiser's ``eps`` is 0 in float16.
    """

    def __init__(
        self, poptorch: Any, module: Any, optimizers: list[Any], factors: dict[str, int], half: bool
    ) -> None:
        self._poptorch, self._half = poptorch, half
        self._network = module.network
        self._given = _only(optimizers, module.network)
        self._calls = prod(factors.values())
        step = training_step(module.network.train(), module.loss, half)
        step.identity = poptorch.identity_loss
        self._portable = step.network
        self._lr = self._given.param_groups[0]["lr"]
        options = device_options(poptorch, factors, torch.initial_seed() % 2**31, half)
        self._model = poptorch.trainingModel(BatchFirst(step), options, self._optimizer())
        self.batch_size: int | None = None

    def _optimizer(self) -> Any:
        group = self._given.param_groups[0]
        arguments = {name: group[name] for name in _SHARED if name in group}
        kind = type(self._given).__name__
        return device_optimizer(
            self._poptorch, kind, arguments, self._portable.parameters(), self._half
        )

    def follow_learning_rate(self) -> None:
        """Tell the device a learning rate that a schedule has changed."""
        lr = self._given.param_groups[0]["lr"]
        if lr != self._lr:
            self._lr = lr
            if self._model.isCompiled():
                self._model.setOptimizer(self._optimizer())

    def step(self, frames: Tensor, targets: Tensor) -> tuple[Tensor, Tensor] | None:
        """Train on a batch: frames ``(T, B, *)`` → counts ``(B, C)`` and mean loss.

        Returns:
            None if the batch is smaller than those before.

        Raises:
            ArgumentError: The batch is not a multiple of the micro batches of a call.
        """
        size = len(targets)
        if self.batch_size is not None and size < self.batch_size:
            return None
        if size % self._calls:
            raise ArgumentError(
                f"a batch of {size} cannot be split into {self._calls} micro batches; give the "
                f"data a batch_size that is a multiple of {self._calls}"
            )
        self.batch_size = size
        counts, loss = self._model(frames.transpose(0, 1).contiguous(), targets)
        return counts, loss.float().mean()

    def bring_back(self) -> None:
        """Copy the device's weights into the network."""
        if self._model.isCompiled():
            self._model.copyWeightsToHost()
            take_over(self._network, self._portable.tensors())

    def attach(self) -> None:
        """Take the device."""
        if self._model.isCompiled() and not self._model.isAttachedToDevice():
            self._model.attachToDevice()

    def release(self) -> None:
        """Leave the device to another model."""
        if self._model.isCompiled() and self._model.isAttachedToDevice():
            self._model.detachFromDevice()

    def destroy(self) -> None:
        """Let go of device and executable."""
        self._model.destroy()


def _only(optimizers: list[Any], network: Any) -> Any:
    """Return the one optimiser, if the device can have it."""
    if len(optimizers) != 1 or len(optimizers[0].param_groups) != 1:
        raise ArgumentError("several optimisers or groups of parameters; give one of one")
    (given,) = optimizers
    kind = type(given).__name__
    if kind not in OPTIMIZERS:
        raise ArgumentError(f"optimizer {kind}; PopTorch has {', '.join(OPTIMIZERS)}")
    (group,) = given.param_groups
    held = {id(p) for p in group["params"]}
    missing = [
        name for name, p in network.named_parameters() if id(p) not in held or not p.requires_grad
    ]
    if missing:
        raise ArgumentError(f"{', '.join(missing)} would stay as they are; a bundle trains all")
    odd = [
        name
        for name, value in group.items()
        if value and name not in ("params", *_SHARED, *_NEUTRAL)
    ]
    if odd:
        raise ArgumentError(f"{kind} with {', '.join(odd)}; an IPU has it without")
    return given
