"""A network on one stream, one time step at a time, with its state kept between steps."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from snnplug.errors import ArgumentError
from snnplug.layers.step_pieces import NativePiece, flatten, is_flatten, pieces
from snnplug.neurons.base import SequenceNeuron, State


@runtime_checkable
class Chained(Protocol):
    """A network that can say what it is as one chain, from a frame to the output spikes."""

    def chain(self) -> nn.Sequential:
        """Return the layers in order."""


class Stepper:
    r"""Runs a trained network on a single stream: one frame in, one step's output out.

    What ``SpikingSequential`` computes for a batch of one, without knowing the steps to come. Each
    run of Linear layers and neurons (``Leaky``, ``Synaptic``, ``RLeaky``, ``RSynaptic``,
    ``ContinuousIF``, ``DiscontinuousIF``) takes one native call per step, and reads only the
    weights of inputs that are not zero. Any other layer is stepped in torch; so is everything in
    another dtype than float32, on another device, or without the native library. Spikes equal those
    of the whole sequence as far as the order of summation in a product allows; a zero adds nothing,
    even where the weight is not finite.

    No gradients. Dropout does nothing; other layers that torch runs have to be in eval mode.
    Weights are packed here, and again by the step after a parameter was changed in place (by an
    optimiser, or ``load_state_dict``). After replacing a parameter or a setting of a layer, or
    writing through ``.data``, call :meth:`refresh`. Hooks that are put on layers later are not
    called; :func:`~snnplug.hardware.counting.measure` counts the network, not a stepper. A stepper
    belongs to one thread.

    Args:
        network: ``nn.Sequential``, ``SpikingSequential``, or a network that gives one by its method
            ``chain``, as the packaged ones do.
        copy: Return outputs of their own. False returns a view that the next step overwrites.

    Raises:
        ArgumentError: The network is no chain, or keeps a spiking neuron inside a layer that is not
            ours.

    Example:
        >>> from snnplug import ContinuousIF
        >>> stepper = Stepper(nn.Sequential(nn.Linear(4, 3), ContinuousIF()))
        >>> stepper(torch.ones(4)).shape
        torch.Size([1, 3])
        >>> stepper.events([0, 2]).shape  # ones at 0 and 2
        torch.Size([1, 3])
        >>> stepper.reset()
    """

    def __init__(self, network: nn.Module, copy: bool = True) -> None:
        self.network = network
        self.copy = copy
        self._read()

    def __call__(self, frame: Tensor | np.ndarray[Any, Any]) -> Tensor:
        """Take one step.

        Args:
            frame: ``(*features)`` or ``(1, *features)``, real numbers of any dtype; zeros cost
                nothing. Where the first layer does not tell how many axes a frame has, the one
                of the batch has to be there.

        Returns:
            What the last layer gives for this step, ``(1, *)``.

        Raises:
            ArgumentError: The frame does not fit the first layer; or a layer that torch runs is in
                training mode.
        """
        if [*map(_version, self._watched)] != self._versions:
            self.refresh()
        plan = self._plan
        if (
            plan is None
            or type(frame) is not Tensor
            or frame.dtype is not torch.float32
            or frame.numel() != self._features
            or not (self._flattens or frame.shape in self._shapes)
            or not frame.is_contiguous()
            or not frame.is_cpu
        ):
            return self._step_general(torch.as_tensor(frame))
        plan.step(plan.address, frame.data_ptr())
        out = plan.output
        if self._rest:
            return self._finish(out)
        return out.clone() if self.copy else out

    def events(self, addresses: Tensor | np.ndarray[Any, Any] | Sequence[int]) -> Tensor:
        """Take one step whose input is 1 at ``addresses`` and 0 elsewhere.

        No frame is made. Addresses in ascending order give the sums of the frame to the last bit.

        Args:
            addresses: Integers, ``(events,)``, each a position in the flattened frame; one that is
                repeated counts as often.

        Returns:
            As for a frame.

        Raises:
            ArgumentError: An address is outside the frame or no integer, or the network does not
                begin with a Linear layer.
        """
        index = torch.as_tensor(addresses)
        if index.numel() == 0:
            index = index.to(torch.int64)
        if index.dim() != 1 or index.dtype not in _INTEGERS:
            raise ArgumentError(
                f"addresses of shape {tuple(index.shape)} and dtype {index.dtype}; events takes "
                "integers (events,), positions in the flattened frame"
            )
        if not self._features:
            raise ArgumentError(
                "the network does not begin with a Linear layer, so its input has no addresses; "
                "give frames"
            )
        index = index.to("cpu", torch.int64).contiguous()
        if [*map(_version, self._watched)] != self._versions:
            self.refresh()
        if self._plan is None:
            wrong = ((index < 0) | (index >= self._features)).nonzero()
            position = int(wrong[0]) if len(wrong) else -1
        else:
            position = self._plan.events(index)
        if position >= 0:
            raise ArgumentError(
                f"address {index[position].item()} at position {position}; the frame has "
                f"{self._features} values, numbered from 0"
            )
        if self._plan is None:
            return self._step_general(torch.bincount(index, minlength=self._features))
        return self._finish(self._plan.output)

    def reset(self) -> None:
        """Put every neuron back to rest."""
        for piece in self._pieces:
            piece.load([()] * len(piece.names))

    @property
    def state(self) -> tuple[State, ...]:
        """The state of each layer of neurons in order, copied.

        Each is what ``run`` of the layer returns and takes, tensors ``(1, *)``; ``()`` is rest.
        """
        return tuple(state for piece in self._pieces for state in piece.state())

    def load_state(self, state: Sequence[State]) -> None:
        """Go on from a state, such as those that ``run`` of each layer returned for one sample.

        Args:
            state: As :attr:`state` gives it.

        Raises:
            ArgumentError: It does not fit the neurons; nothing is then changed.
        """
        expected = sum(len(piece.names) for piece in self._pieces)
        if len(state) != expected:
            raise ArgumentError(
                f"the state of {len(state)} layers of neurons; the network has {expected}"
            )
        given = iter(state)
        shares = [[next(given) for _ in piece.names] for piece in self._pieces]
        for piece, share in zip(self._pieces, shares, strict=True):
            piece.check(share)
        for piece, share in zip(self._pieces, shares, strict=True):
            piece.load(share)

    def refresh(self) -> None:
        """Read the layers and their parameters again; the state stays."""
        state = self.state
        self._read()
        self.load_state(state)

    @property
    def memory_bytes(self) -> int:
        """What the native part keeps: packed weights, parameters, states and working memory."""
        return sum(p.plan.memory_bytes for p in self._pieces if isinstance(p, NativePiece))

    def _read(self) -> None:
        """Pack the layers, at rest, and note what the fast path asks."""
        layers = list(flatten(_chain(self.network)))
        self._pieces = pieces(layers)
        self._rest = self._pieces[1:]
        first = self._pieces[0] if self._pieces else None
        self._plan = first.plan if isinstance(first, NativePiece) else None
        self._watched = [
            tensor
            for piece in self._pieces
            for layer in piece.layers
            for name, tensor in (*layer.named_parameters(), *layer.named_buffers())
            # Rebound by each step, and never by one of ours; inference tensors have no version.
            if not (isinstance(layer, SequenceNeuron) and name in layer.state_names)
            and name != "reset_mechanism_val"
            and not tensor.is_inference()
        ]
        self._versions = [*map(_version, self._watched)]
        self._flattens = bool(layers) and is_flatten(layers[0])
        entry = next((layer for layer in layers if not is_flatten(layer)), None)
        self._entry = entry
        self._features = entry.in_features if isinstance(entry, nn.Linear) else 0
        self._shapes = (torch.Size([self._features]), torch.Size([1, self._features]))

    def _finish(self, out: Tensor) -> Tensor:
        """Run what follows the first piece."""
        for piece in self._rest:
            out = piece(out)
        return out.clone() if self.copy else out

    def _step_general(self, frame: Tensor) -> Tensor:
        """Take a step with a frame that has to be converted, or is wrong, or goes to torch."""
        if frame.is_complex():
            raise ArgumentError(f"a frame of dtype {frame.dtype}; a stepper takes real numbers")
        x = self._batched(frame)
        like = next(self.network.parameters(), torch.zeros(()))
        x = x.to(like.device, like.dtype)
        for piece in self._pieces:
            x = piece(x)
        return x.clone() if self.copy else x

    def _batched(self, frame: Tensor) -> Tensor:
        """Return the frame with the axis of the batch, or refuse it."""
        shape = tuple(frame.shape)
        if self._features:
            if frame.numel() != self._features or not (
                self._flattens or frame.shape in self._shapes
            ):
                wanted = f"{self._features} values" if self._flattens else str(self._shapes[0])
                raise ArgumentError(
                    f"a frame of shape {shape}; the first layer takes {wanted} of one sample and "
                    "one time step"
                )
            return frame.reshape(1, self._features)
        if isinstance(self._entry, _ConvNd):
            axes = len(self._entry.kernel_size) + 1
            frame = frame.unsqueeze(0) if frame.dim() == axes else frame
            channels = self._entry.in_channels
            if frame.dim() != axes + 1 or frame.shape[:2] != (1, channels):
                raise ArgumentError(
                    f"a frame of shape {shape}; the first layer takes {channels} channels and "
                    f"{axes - 1} more axes of one sample and one time step"
                )
        elif frame.dim() < 2 or frame.shape[0] != 1:
            raise ArgumentError(
                f"a frame of shape {shape}; this network takes (1, *features), one sample of one "
                "time step"
            )
        return frame

    def __getstate__(self) -> dict[str, Any]:
        """Keep the network and the state; what is packed is packed again."""
        return {"network": self.network, "copy": self.copy, "state": self.state}

    def __setstate__(self, content: dict[str, Any]) -> None:
        self.network, self.copy = content["network"], content["copy"]
        self._read()
        self.load_state(content["state"])


_version = attrgetter("_version")  # counts the changes in place
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def _chain(network: nn.Module) -> nn.Sequential:
    """Return a network as a chain."""
    if isinstance(network, nn.Sequential):
        return network
    if isinstance(network, Chained):
        return network.chain()
    raise ArgumentError(
        f"{type(network).__name__} is no chain of layers; a stepper takes nn.Sequential, "
        "SpikingSequential, or a network whose method chain() returns one"
    )
