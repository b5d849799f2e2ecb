"""A double of PopTorch 3.4's contract, for tests: what it refuses and what it does to gradients.

It is no simulator. It differentiates the exported forward graph, as PopART does, so a backward of
its own is lost; fixes the shapes of the first call; takes the optimiser's step itself; leaves host
weights stale until ``copyWeightsToHost``. It knows nothing of numerics in half precision, memory,
scheduling, failing compilations or aliasing of views. Signatures: ``poptorch_api.json``. Weights of
half precision it rounds to the nearest, after a step in the type of the optimiser's states; where
that is not given it takes half precision for them, which is the worse of what can happen.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

__version__ = "3.4.0"
#: The version that the real one asserts at import.
TORCH_VERSION = "2.0.1"


class Error(RuntimeError):
    """What the real one raises for a broken rule."""


class OutputMode(Enum):
    Final = 0
    EveryN = 1
    All = 2
    Sum = 3
    Default = 4


class _TrainingOptions:
    def __init__(self, popart_options: Any) -> None:
        self._options = popart_options

    def gradientAccumulation(self, gradient_accumulation: int) -> _TrainingOptions:  # noqa: N802
        self._options["gradient_accumulation"] = gradient_accumulation
        return self


class _PrecisionOptions:
    def __init__(self, popart_options: Any) -> None:
        self._options = popart_options

    def enableStochasticRounding(self, enabled: bool) -> _PrecisionOptions:  # noqa: N802
        self._options["stochastic_rounding"] = enabled
        return self

    def setPartialsType(self, dtype: torch.dtype) -> _PrecisionOptions:  # noqa: N802
        self._options["partials"] = dtype
        return self


class Options:
    def __init__(self) -> None:
        self._values: dict[str, Any] = {
            "device_iterations": 1,
            "replication_factor": 1,
            "gradient_accumulation": 1,
            "output_mode": OutputMode.Default,
        }
        self._training = _TrainingOptions(self._values)
        self._precision = _PrecisionOptions(self._values)

    @property
    def Training(self) -> _TrainingOptions:  # noqa: N802
        return self._training

    @property
    def Precision(self) -> _PrecisionOptions:  # noqa: N802
        return self._precision

    def deviceIterations(self, device_iterations: int) -> Options:  # noqa: N802
        self._values["device_iterations"] = device_iterations
        return self

    def replicationFactor(self, replication_factor: int) -> Options:  # noqa: N802
        self._values["replication_factor"] = replication_factor
        return self

    def randomSeed(self, random_seed: int) -> Options:  # noqa: N802
        self._values["random_seed"] = random_seed
        return self

    def outputMode(self, output_mode: OutputMode, output_return_period: Any = None) -> Options:  # noqa: N802
        self._values["output_mode"] = output_mode
        return self

    def micro_batches(self) -> int:
        """Of one call; no part of the API."""
        values = self._values
        return int(
            values["device_iterations"]
            * values["replication_factor"]
            * values["gradient_accumulation"]
        )


def identity_loss(x: Tensor, reduction: str) -> Tensor:
    """Mark the loss; the mark is a node of the graph, as the real one's is."""
    if reduction not in ("sum", "mean", "none"):
        raise Error(f"Unsupported reduction type {reduction}")
    value = {"sum": x.sum, "mean": x.mean, "none": x.clone}[reduction]()
    _MARKED.append(value)
    return value


_MARKED: list[Tensor] = []


def for_loop(count: int, body: Callable[..., Any], inputs: list[Tensor]) -> list[Tensor]:
    """Loop on the device; not in training."""
    if _TRAINING[-1]:
        raise Error("poptorch.for_loop() is only supported in inference models")
    for _ in range(count):
        result = body(*inputs)
        inputs = list(result) if isinstance(result, tuple) else [result]
    return inputs


_TRAINING = [False]


def ipuHardwareIsAvailable(num_ipus: int = 1) -> bool:  # noqa: N802
    return True


_TYPES = (
    "accum_type",
    "first_order_momentum_accum_type",
    "second_order_momentum_accum_type",
    "velocity_accum_type",
)


def _on_device(base: Any) -> Any:
    """Return torch's optimiser with what ``poptorch.optim`` adds, and a type that says so."""

    class Optimizer(base):  # type: ignore[misc]
        def __init__(self, params: Any, **given: Any) -> None:
            self.loss_scaling = given.pop("loss_scaling", None) or 1.0
            self.state_types = {given.pop(n, None) for n in _TYPES} - {None}
            super().__init__(params, **given)

    Optimizer.__name__ = base.__name__
    Optimizer.base = base
    return Optimizer


class _Optim:
    """``poptorch.optim``: what the device has."""

    SGD, Adam, AdamW, RMSprop = map(
        _on_device, (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop)
    )


optim = _Optim()
_ON_DEVICE = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop)


class PoplarExecutor:
    def __init__(
        self,
        model: nn.Module,
        options: Options | None,
        training: bool,
        poptorch_version: str,
        optimizer: torch.optim.Optimizer | None = None,
        user_model: nn.Module | None = None,
    ) -> None:
        if getattr(model, "_wrapped_by_poptorch", False):
            raise Error("model has already been wrapped")
        if (
            training
            and optimizer is not None
            and getattr(optimizer, "base", type(optimizer)) not in _ON_DEVICE
        ):
            raise Error(f"Unsupported optimizer type {type(optimizer).__name__}")
        model._wrapped_by_poptorch = True  # type: ignore[assignment]
        self._host, self._training, self._given = model, training, optimizer
        self._options = options if options is not None else Options()
        self._graph: nn.Module | None = None
        self._shapes: list[tuple[torch.Size, torch.dtype]] = []
        self._attached = False

    def isCompiled(self) -> bool:  # noqa: N802
        return self._graph is not None

    def compile(self, *args: Tensor, **kwargs: Any) -> None:
        self._check_tensors(args)
        micro = tuple(_converted(x) for x in self._micro(args, 0))
        before = {name: b.data_ptr() for name, b in self._host.named_buffers()}
        traced = copy.deepcopy(self._host)
        _TRAINING.append(self._training)
        _MARKED.clear()
        try:
            self._host_dry_run(micro)
            for name, buffer in self._host.named_buffers():
                if before[name] != buffer.data_ptr():
                    raise Error(f"Buffer {name} changed address: assign in place")
            marked = bool(_MARKED)
            program = torch.export.export(traced, micro, strict=False)
        finally:
            _TRAINING.pop()
        if self._training and not marked and not _ends_in_a_loss(program):
            raise Error("The last operation is no loss; use poptorch.identity_loss")
        self._graph = program.module()
        self._shapes = [(x.shape, x.dtype) for x in args]
        self._attached = True
        self._make_optimizer()

    def _host_dry_run(self, micro: tuple[Tensor, ...]) -> None:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            self._host(*micro)

    def _make_optimizer(self) -> None:
        if not self._training or self._graph is None:
            return
        given = (
            self._given
            if self._given is not None
            else torch.optim.SGD(self._host.parameters(), 0.01)
        )
        kind = getattr(given, "base", type(given))
        settings = {
            key: value
            for key, value in given.defaults.items()
            if key in inspect.signature(kind).parameters and key != "fused"
        }
        settings |= {"lr": given.param_groups[0]["lr"]}
        self._scale = getattr(given, "loss_scaling", 1.0)
        wide = getattr(given, "state_types", set()) == {torch.float32}
        self._stepped = [
            (p, p.detach().float().requires_grad_() if wide and p.dtype is torch.half else p)
            for p in self._graph.parameters()
        ]
        self._device_optimizer = kind([q for _, q in self._stepped], **settings)

    def _update(self) -> None:
        """Step in the type of the states, then round."""
        for p, q in self._stepped:
            if p.grad is not None:
                grad = p.grad.to(q.dtype) / self._scale
                with torch.no_grad():
                    q.copy_(p)
                q.grad = grad
        self._device_optimizer.step()
        with torch.no_grad():
            for p, q in self._stepped:
                p.copy_(q)
                p.grad = None

    def setOptimizer(self, optimizer: torch.optim.Optimizer) -> None:  # noqa: N802
        for group, new in zip(
            self._device_optimizer.param_groups, optimizer.param_groups, strict=True
        ):
            group["lr"] = new["lr"]

    def copyWeightsToHost(self) -> None:  # noqa: N802
        assert self._graph is not None
        device = dict(self._graph.named_parameters())
        with torch.no_grad():
            for name, parameter in self._host.named_parameters():
                parameter.copy_(device[name])

    def copyWeightsToDevice(self) -> None:  # noqa: N802
        assert self._graph is not None
        host = dict(self._host.named_parameters())
        with torch.no_grad():
            for name, parameter in self._graph.named_parameters():
                parameter.copy_(host[name])

    def attachToDevice(self) -> None:  # noqa: N802
        if self._attached or self._graph is None:
            raise Error("attached already, or not compiled")
        self._attached = True

    def detachFromDevice(self) -> None:  # noqa: N802
        if not self._attached:
            raise Error("not attached")
        self._attached = False

    def isAttachedToDevice(self) -> bool:  # noqa: N802
        return self._attached

    def destroy(self) -> None:
        self._graph, self._shapes, self._attached = None, [], False

    def __call__(self, *args: Tensor, **kwargs: Any) -> Any:
        if self._graph is None:
            self.compile(*args)
        if not self._attached:
            raise Error("the model is not attached to a device")
        self._check_tensors(args)
        if [(x.shape, x.dtype) for x in args] != self._shapes:
            raise Error(f"Input shapes {[tuple(x.shape) for x in args]} changed after compilation")
        count = self._options.micro_batches() if self._training else 1
        accumulate = self._options._values["gradient_accumulation"]
        steps = [self._step(self._micro(args, k), k, accumulate) for k in range(count)]
        if self._options._values["output_mode"] is not OutputMode.All:
            return steps[-1]  # OutputMode.Final, the default of training
        outputs, losses = zip(*steps, strict=True)
        return torch.cat(outputs), torch.stack(losses)

    def _step(self, micro: tuple[Tensor, ...], number: int, accumulate: int) -> Any:
        assert self._graph is not None
        converted = tuple(_converted(x) for x in micro)
        if not self._training:
            with torch.no_grad():
                return self._graph(*converted)
        output, loss = self._graph(*converted)
        if loss.requires_grad:
            (loss * (self._scale / accumulate)).backward()
        if (number + 1) % accumulate == 0:
            self._update()
        return output.detach(), loss.detach()  # the backward pass ran on the device

    def _micro(self, args: tuple[Tensor, ...], number: int) -> tuple[Tensor, ...]:
        """Return one micro batch: an equal share of axis 0."""
        count = self._options.micro_batches() if self._training else 1
        if any(x.shape[0] % count for x in args):
            raise Error(f"Batch of {args[0].shape[0]} cannot be split into {count} micro batches")
        return tuple(x.chunk(count)[number] for x in args)

    def _check_tensors(self, args: tuple[Tensor, ...]) -> None:
        held = [*self._host.named_parameters(), *self._host.named_buffers()]
        for name, tensor in [*held, *((f"input {i}", x) for i, x in enumerate(args))]:
            if tensor.numel() == 0:
                raise Error(f"Zero-sized tensor: {name}")
        if any(x.requires_grad for x in args):
            raise Error("An input requires grad")


def _converted(x: Tensor) -> Tensor:
    """Return the tensor as the device has it; indices stay long, which torch's gather wants."""
    narrower = {torch.float64: torch.float32, torch.bfloat16: torch.float16}
    return x.to(narrower.get(x.dtype, x.dtype))


def _ends_in_a_loss(program: torch.export.ExportedProgram) -> bool:
    (output,) = (node for node in program.graph.nodes if node.op == "output")
    last = output.args[0][-1]
    return "loss" in str(last.target)


def trainingModel(  # noqa: N802
    model: nn.Module, options: Options | None = None, optimizer: torch.optim.Optimizer | None = None
) -> PoplarExecutor:
    return PoplarExecutor(model, options, True, __version__, optimizer, model)


def inferenceModel(model: nn.Module, options: Options | None = None) -> PoplarExecutor:  # noqa: N802
    return PoplarExecutor(model, options, False, __version__, None, model)
