"""The pieces that a stepper runs one after the other: a native chain, or one layer in torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import snntorch as snn
import torch
from torch import Tensor, nn

from snnplug.errors import ArgumentError
from snnplug.kernels import native
from snnplug.kernels.step import Neurons, Plan, Product
from snnplug.layers.sequential import SpikingSequential
from snnplug.layers.spike_linear import SpikeLinear
from snnplug.neurons.base import SequenceNeuron, State
from snnplug.neurons.continuous_if import ContinuousIF
from snnplug.neurons.discontinuous_if import DiscontinuousIF
from snnplug.neurons.leaky import Leaky
from snnplug.neurons.lif import LIF
from snnplug.neurons.recurrent import RecurrentLIF
from snnplug.neurons.rleaky import RLeaky
from snnplug.neurons.rsynaptic import RSynaptic
from snnplug.neurons.synaptic import Synaptic
from snnplug.surrogate import Surrogate

_NEURONS = (ContinuousIF, DiscontinuousIF, Leaky, RLeaky, RSynaptic, Synaptic)
_SEQUENTIAL = (nn.Sequential.forward, SpikingSequential.forward)


class NativePiece:
    """Linear layers and neurons that one native call steps.

    Args:
        layers: The modules it stands for.
        packed: The same for the kernel.
    """

    def __init__(self, layers: list[nn.Module], packed: list[Product | Neurons]) -> None:
        self.plan = Plan(packed)
        self.layers = layers
        self.names = [m.state_names for m in layers if isinstance(m, SequenceNeuron)]

    def __call__(self, x: Tensor) -> Tensor:
        """Step, with what a layer in torch gave."""
        ready = x.detach().to("cpu", torch.float32).contiguous()
        self.plan.step(self.plan.address, ready.data_ptr())
        return self.plan.output

    def state(self) -> list[State]:
        """Return a copy of the state of each layer of neurons."""
        return [
            tuple(tensors[name].clone() for name in names)
            for tensors, names in zip(self.plan.states, self.names, strict=True)
        ]

    def check(self, states: Sequence[State]) -> None:
        """Refuse states of other shapes."""
        for tensors, names, state in zip(self.plan.states, self.names, states, strict=True):
            shape = tensors["mem"].shape
            if state and (len(state) != len(names) or any(s.shape != shape for s in state)):
                raise ArgumentError(
                    f"state of shapes {[tuple(s.shape) for s in state]}; these neurons take "
                    f"{names}, each {tuple(shape)}, or () for rest"
                )

    def load(self, states: Sequence[State]) -> None:
        """Go on from these states."""
        for tensors, names, state in zip(self.plan.states, self.names, states, strict=True):
            for k, name in enumerate(names):
                tensors[name].copy_(state[k]) if state else tensors[name].zero_()


class TorchPiece:
    """One layer that is stepped in torch; a layer of neurons with its state."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer
        self.layers: list[nn.Module] = []
        self.names = [()] if isinstance(layer, snn.SpikingNeuron) else []
        self._state: State = ()
        self._depends_on_mode = not self.names and any(map(_depends_on_mode, layer.modules()))

    def __call__(self, x: Tensor) -> Tensor:
        """Step the layer."""
        layer = self.layer
        if self._depends_on_mode and layer.training:
            raise ArgumentError(
                f"{type(layer).__name__} is in training mode; call eval() on the network before it "
                "is stepped"
            )
        # Not inference mode: what a user gets may go into a graph.
        with torch.no_grad():
            if isinstance(layer, SequenceNeuron):
                spk, self._state = layer.run(x.unsqueeze(0), self._state)
                return spk[0]
            if isinstance(layer, snn.SpikingNeuron):
                return self._step_foreign(layer, x)
            out: Tensor = layer(x)
        return out

    def _step_foreign(self, neuron: Any, x: Tensor) -> Tensor:
        """Step one of snnTorch's neurons, whose own hidden state stays what it is."""
        buffers, hidden = dict(neuron._buffers), neuron.init_hidden
        try:
            if not self._state:
                resting = neuron.reset_mem()
                self._state = resting if isinstance(resting, tuple) else (resting,)
            neuron.init_hidden = False
            out: tuple[Tensor, ...] = neuron(x, *self._state)
        finally:
            neuron.init_hidden = hidden
            neuron._buffers.update(buffers)
        # A neuron whose spikes are part of its state returns them once.
        self._state = out[1:] if len(out) > len(self._state) else out
        return out[0]

    def state(self) -> list[State]:
        """Return a copy of the state, if this is a layer of neurons."""
        return [tuple(s.clone() for s in self._state) for _ in self.names]

    def check(self, states: Sequence[State]) -> None:
        """Refuse states of more or fewer tensors."""
        names = self.layer.state_names if isinstance(self.layer, SequenceNeuron) else ()
        for state in states:
            if state and names and len(state) != len(names):
                raise ArgumentError(
                    f"a state of {len(state)} tensors; {type(self.layer).__name__} takes {names}, "
                    "or () for rest"
                )

    def load(self, states: Sequence[State]) -> None:
        """Go on from this state."""
        for state in states:
            self._state = tuple(s.clone() for s in state)


Piece = NativePiece | TorchPiece


def flatten(layers: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """Yield the layers of a chain in order, those of nested chains too, less what does nothing.

    Raises:
        ArgumentError: A spiking neuron sits inside another layer, whose state cannot be kept.
    """
    for layer in layers:
        if isinstance(layer, nn.Sequential) and type(layer).forward in _SEQUENTIAL:
            yield from flatten(layer)
        elif isinstance(layer, nn.Identity | nn.modules.dropout._DropoutNd):
            continue
        elif not isinstance(layer, snn.SpikingNeuron) and any(
            isinstance(m, snn.SpikingNeuron) for m in layer.modules()
        ):
            raise ArgumentError(
                f"{type(layer).__name__} holds spiking neurons; a stepper keeps the state of those "
                "that stand in the chain itself, so write its layers into the SpikingSequential"
            )
        else:
            yield layer


def pieces(layers: Sequence[nn.Module]) -> list[Piece]:
    """Cut a chain into the longest runs that are native, and single layers for torch."""
    found: list[Piece] = []
    at = 0
    # Whether a sample is one vector here; else a Linear layer may have several to map.
    vector = bool(layers) and isinstance(layers[0], nn.Linear)
    while at < len(layers):
        layer = layers[at]
        flattens = is_flatten(layer)
        vector |= flattens
        stop, packed = _native_run(layers, at + flattens) if vector else (at, [])
        if packed:
            found.append(NativePiece(list(layers[at:stop]), packed))
            at = stop
        else:
            found.append(TorchPiece(layer))
            vector &= flattens or isinstance(layer, nn.Linear | snn.SpikingNeuron)
            at += 1
    return found


def is_flatten(layer: nn.Module) -> bool:
    """Whether it makes one vector of each sample."""
    return isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) == (1, -1)


def _native_run(layers: Sequence[nn.Module], at: int) -> tuple[int, list[Product | Neurons]]:
    """Return where the run that starts at ``at`` ends, and what the kernel needs of it."""
    packed: list[Product | Neurons] = []
    width = 0
    if native.library() is None:
        return at, packed
    for stop in range(at, len(layers)):
        layer = layers[stop]
        if packed and is_flatten(layer):
            continue
        if isinstance(layer, nn.Linear):
            product = _product(layer)
            if product is None or (packed and layer.in_features != width):
                return stop, packed
            packed.append(product)
            width = layer.out_features
        else:
            neurons = _neurons(layer, width) if packed else None
            if neurons is None:
                return stop, packed
            packed.append(neurons)
    return len(layers), packed


def _is_plain(layer: nn.Module, *tensors: Tensor | None) -> bool:
    """Whether nothing but these tensors decides what the layer does, and the kernel reads them."""
    return (
        not layer._forward_hooks
        and not layer._forward_pre_hooks
        and all(
            t is None
            or (
                t.device.type == "cpu"
                and t.dtype == torch.float32
                and t.layout == torch.strided
                and t.numel() > 0
            )
            for t in tensors
        )
    )


def _product(layer: nn.Linear) -> Product | None:
    """Return a Linear layer for the kernel, or None if it is one of another kind."""
    if type(layer) not in (nn.Linear, SpikeLinear) or not _is_plain(
        layer, layer.weight, layer.bias
    ):
        return None
    return Product(layer.weight, layer.bias)


def _neurons(layer: nn.Module, width: int) -> Neurons | None:
    """Return a layer of neurons for the kernel, or None if it does what the kernel does not."""
    if type(layer) not in _NEURONS or not isinstance(layer, SequenceNeuron):
        return None
    spike = layer.spike_grad
    known = isinstance(spike, Surrogate) and spike.kind != "custom"
    disabled = isinstance(layer, LIF) and layer.surrogate_disable
    special = isinstance(layer, LIF) and (layer.inhibition or layer.state_quant)
    one = torch.ones(())
    beta = layer.beta if isinstance(layer, LIF) else one * getattr(layer, "beta", 1.0)
    alpha = getattr(layer, "alpha", None)
    own = layer.V if isinstance(layer, RecurrentLIF) and not layer.all_to_all else None
    per_neuron = [t for t in (layer.threshold, beta, alpha, own) if t is not None]
    if (
        not (known or disabled)
        or special
        or not _is_plain(layer, *per_neuron)
        or any(t.dim() > 1 or t.numel() not in (1, width) for t in per_neuron)
        or layer.graded_spikes_factor.numel() != 1
    ):
        return None
    recurrent = None
    if isinstance(layer, RecurrentLIF) and layer.all_to_all:
        inner = layer.recurrent
        recurrent = _product(inner) if isinstance(inner, nn.Linear) else None
        if recurrent is None or recurrent.weight.shape != (width, width):
            return None
    reset = layer.reset_mechanism
    return Neurons(
        threshold=layer.threshold.expand(width),
        beta=None if isinstance(layer, DiscontinuousIF) else beta.clamp(0, 1).expand(width),
        alpha=None if alpha is None else alpha.clamp(0, 1).expand(width),
        recurrent=recurrent,
        own=None if own is None else own.expand(width),
        graded=layer.graded_spikes_factor.item(),
        reset="membrane" if type(layer) is Leaky and reset == "zero" else reset,
        inclusive=not disabled and spike.inclusive,
        immediate=isinstance(layer, LIF) and not layer.reset_delay,
    )


def _depends_on_mode(module: nn.Module) -> bool:
    """Whether training mode may change what it computes."""
    kinds = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)
    return isinstance(module, kinds) or not type(module).__module__.startswith(
        ("torch.nn.", "snnplug.")
    )
