"""PopTorch where it can be imported: a network's inference, and whether anything runs at all."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from snnplug.backends.base import Backend, Prepared
from snnplug.backends.ipu.bundle.portable import Network
from snnplug.backends.ipu.export import tensors_of
from snnplug.backends.ipu.spec import describe_network
from snnplug.errors import BackendError

#: The torch that the last PopTorch, 3.4, asserts when it is imported.
POPTORCH_TORCH = "2.0.1"
_REMEDY = "take the network to an IPU host as a bundle: snnplug.backends.ipu.write_bundle"


class Ipu(Backend):
    """Run on Graphcore's IPU through PopTorch, in the network's portable form.

    It trains by ``trainer_kwargs("ipu")``, on the device: no gradient comes back. PopTorch 3.4
    needs torch 2.0.1 and Lightning 2.6 a later one, so that today both are never there, and the way
    to an IPU is a bundle. Tested with a double of PopTorch's contract, never run on an IPU.
    """

    name: ClassVar[str] = "ipu"
    precisions: ClassVar[tuple[str, ...]] = ("32-true", "16-true")
    accelerator: ClassVar[str | None] = "ipu"
    strategy: ClassVar[str | None] = "ipu"
    trains: ClassVar[bool] = False

    def __init__(self, half: bool = False) -> None:
        self.half = half

    def available(self) -> tuple[bool, str]:
        """Return whether PopTorch is here and has a device; if not, why and what helps."""
        try:
            poptorch = import_module("poptorch")
        except ImportError:
            return False, (
                f"poptorch is not installed; it is part of Graphcore's Poplar SDK and needs torch "
                f"{POPTORCH_TORCH}, this is {torch.__version__}; {_REMEDY}"
            )
        except Exception as error:  # it asserts torch's version, and loads the SDK's libraries
            return False, (
                f"poptorch is there and cannot be imported ({error}); it needs torch "
                f"{POPTORCH_TORCH}, this is {torch.__version__}, and an enabled Poplar SDK; "
                f"{_REMEDY}"
            )
        if os.environ.get("POPTORCH_IPU_MODEL") == "1":
            return True, f"PopTorch {poptorch.__version__}, Graphcore's model of an IPU"
        if not poptorch.ipuHardwareIsAvailable():
            return False, (
                "PopTorch sees no IPU; look at the driver, or set POPTORCH_IPU_MODEL=1 for "
                "Graphcore's model of one"
            )
        return True, f"PopTorch {poptorch.__version__}; never run on an IPU by us"

    def _prepared(self, network: nn.Module, example: Tensor | None) -> Prepared:
        runner = OnIpu(import_module("poptorch"), network, self.half)
        if example is not None:
            runner(example)
        return Prepared(network, self.name, "fused", runner)


class OnIpu:
    """A network's portable form as an inference model, with the network's weights of the moment.

    Shapes are fixed: a smaller batch is filled up with silence, and other frames compile anew.

    Args:
        poptorch: The module.
        network: A chain of layers, as ``describe_network`` takes it.
        half: Weights of products in float16.
    """

    def __init__(self, poptorch: Any, network: nn.Module, half: bool) -> None:
        self.network = network
        spec = describe_network(network)
        self.portable = Network(spec).convert(torch.float16 if half else torch.float32).eval()
        self.pair = spec["loss_on"] == "current"
        self.executor = poptorch.inferenceModel(self.portable)
        self._shape: torch.Size | None = None
        self._seen: list[tuple[int, int]] = []

    def __call__(self, frames: Tensor) -> Any:
        """Return what the network returns.

        Raises:
            BackendError: Gradients are asked for, which stay on the device.
        """
        if self.network.training and torch.is_grad_enabled():
            raise BackendError(
                "backend 'ipu' gives no gradients to the host; train by snnplug.backends."
                "trainer_kwargs('ipu'), or call the network under torch.no_grad()"
            )
        size = frames.shape[1]
        wanted = None if self._shape is None else self._shape[1]
        if wanted is not None and size < wanted:
            silence = frames.new_zeros((len(frames), wanted - size, *frames.shape[2:]))
            frames = torch.cat([frames, silence], 1)
        if self._shape is not None and frames.shape != self._shape:
            self.executor.destroy()
            self._seen = []
        self._refresh()
        self._shape = frames.shape
        spk, cur = (x[:, :size] for x in self.executor(frames))
        return (spk, cur) if self.pair else spk

    def _refresh(self) -> None:
        seen = [(x.data_ptr(), x._version) for x in self.network.state_dict().values()]
        if seen != self._seen:
            self.portable.load(tensors_of(self.network))
            if self.executor.isCompiled():
                self.executor.copyWeightsToDevice()
            self._seen = seen
        if self.executor.isCompiled() and not self.executor.isAttachedToDevice():
            self.executor.attachToDevice()

    def release(self) -> None:
        """Leave the device to another model."""
        if self.executor.isCompiled() and self.executor.isAttachedToDevice():
            self.executor.detachFromDevice()
