"""What a backend is: a way to run a network, and a network made ready to run in that way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from snnplug.errors import BackendError
from snnplug.kernels import execution
from snnplug.kernels.hooks import has_global_hooks

Run = Callable[[Tensor], Any]


class Prepared:
    """A network that runs by a backend; called with frames as the network itself.

    It shares modules and parameters with the network. Where a module of it has hooks (counting,
    probes), the network runs as it stands, so that they see what they expect.

    Attributes:
        network: The network.
        backend: Name of the backend.
        note: How it will run, and what it cost to find out, for a log.
    """

    def __init__(
        self,
        network: nn.Module,
        backend: str,
        mode: execution.Mode,
        run: Run | None = None,
        note: str = "",
    ) -> None:
        self.network = network
        self.backend = backend
        self.note = note
        self._mode: execution.Mode = mode
        self._run = run

    def __call__(self, frames: Tensor) -> Any:
        """Return what the network returns."""
        if self._run is not None and not watched(self.network):
            with execution.running(self._mode):
                return self._run(frames)
        with execution.running("fused" if self._run is not None else self._mode):
            return self.network(frames)

    def release(self) -> None:
        """Leave the device to another model, where only one at a time can be on it."""
        if callable(release := getattr(self._run, "release", None)):
            release()


def watched(network: nn.Module) -> bool:
    """Whether a module has a hook; a compiled graph would run past those that came later."""
    return has_global_hooks() or any(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        for module in network.modules()
    )


class Backend(ABC):
    """A way to run networks.

    A request is honoured or refused: :meth:`prepare` never falls back to another backend.

    Attributes:
        name: In the registry.
        precisions: Lightning's names of the precisions that it is tested or meant for.
        accelerator: The Lightning accelerator that it needs; None: any.
        strategy: The Lightning strategy that it needs; None: any.
        trains: Whether gradients come back to the host.
    """

    name: ClassVar[str]
    precisions: ClassVar[tuple[str, ...]] = ("32-true", "bf16-mixed", "64-true")
    accelerator: ClassVar[str | None] = None
    strategy: ClassVar[str | None] = None
    trains: ClassVar[bool] = True

    @abstractmethod
    def available(self) -> tuple[bool, str]:
        """Return whether it runs here, and how, or why not and what would help."""

    def prepare(self, network: nn.Module, example: Tensor | None = None) -> Prepared:
        """Return the network, ready to run by this backend.

        Args:
            network: Any network that takes frames ``(T, B, *)``.
            example: Frames such as it will be given; what takes time is then done now.

        Raises:
            BackendError: The backend does not run here, or cannot run this network.
        """
        runs, reason = self.available()
        if not runs:
            raise BackendError(f"backend {self.name!r} does not run here: {reason}")
        return self._prepared(network, example)

    @abstractmethod
    def _prepared(self, network: nn.Module, example: Tensor | None) -> Prepared:
        """Do what :meth:`prepare` says, where the backend runs."""
