"""The neurons of snnTorch, ours beside them, and one drive through either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import snntorch as snn
import torch
from torch import Tensor, nn

from snnplug.neurons.base import SequenceNeuron
from snnplug.neurons.leaky import Leaky
from snnplug.neurons.rleaky import RLeaky
from snnplug.neurons.rsynaptic import RSynaptic
from snnplug.neurons.synaptic import Synaptic


class MendedRSynaptic(snn.RSynaptic):  # type: ignore[misc]
    """snnTorch's, with the immediate reset of snnTorch's other neurons: its own one raises."""

    def forward(self, cur: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        immediate, self.reset_delay = not self.reset_delay, True
        spk, syn, mem = super().forward(cur, *state)
        self.reset_delay = not immediate
        if immediate and self.reset_mechanism != "none":
            amount = self.threshold if self.reset_mechanism == "subtract" else mem
            mem = mem - (spk / self.graded_spikes_factor - self.reset) * amount
        return spk, syn, mem


@dataclass(frozen=True)
class Kind:
    """A neuron, its counterpart, and what both need to be built and driven."""

    name: str
    ours: type[SequenceNeuron]
    theirs: Callable[..., nn.Module]
    features: tuple[int, ...]
    arguments: tuple[tuple[str, Any], ...] = ()

    def decays(self) -> list[str]:
        return ["alpha", "beta"] if "syn" in self.ours.state_names else ["beta"]

    def make(self, **arguments: Any) -> Any:
        """Ours, with decays of no special value unless others are given."""
        decays = {"alpha": 0.7, "beta": 0.9}
        return self.ours(
            **{name: decays[name] for name in self.decays()} | dict(self.arguments) | arguments
        )

    def pair(self, dtype: torch.dtype = torch.float32, **arguments: Any) -> tuple[Any, Any]:
        """Ours and theirs with the same parameters; ours takes them as a checkpoint of theirs."""
        decays = {"alpha": 0.7, "beta": 0.9}
        given = {name: decays[name] for name in self.decays()} | dict(self.arguments) | arguments
        theirs = self.theirs(**given).to(dtype)
        if isinstance(getattr(theirs, "recurrent", None), nn.Linear | nn.Conv2d):
            # In multiples of 1/64 spikes x weights have one sum, whatever its order.
            for p in theirs.recurrent.parameters():
                p.data.copy_((p.data * 64).round() / 64)
        ours = self.ours(**given).to(dtype)
        ours.load_state_dict(theirs.state_dict())
        return ours, theirs


DENSE = (("linear_features", 5),)
CONV = (("conv2d_channels", 2), ("kernel_size", 3))
ONE = (("all_to_all", False), ("V", 0.3))

LEAKY = Kind("Leaky", Leaky, snn.Leaky, (5,))
SYNAPTIC = Kind("Synaptic", Synaptic, snn.Synaptic, (5,))
RLEAKY = Kind("RLeaky-dense", RLeaky, snn.RLeaky, (5,), DENSE)
RLEAKY_CONV = Kind("RLeaky-conv", RLeaky, snn.RLeaky, (2, 4, 3), CONV)
RLEAKY_ONE = Kind("RLeaky-one", RLeaky, snn.RLeaky, (5,), ONE)
RSYNAPTIC = Kind("RSynaptic-dense", RSynaptic, MendedRSynaptic, (5,), DENSE)
RSYNAPTIC_CONV = Kind("RSynaptic-conv", RSynaptic, MendedRSynaptic, (2, 4, 3), CONV)
RSYNAPTIC_ONE = Kind("RSynaptic-one", RSynaptic, MendedRSynaptic, (5,), ONE)

FLAT = [LEAKY, SYNAPTIC, RLEAKY, RLEAKY_ONE, RSYNAPTIC, RSYNAPTIC_ONE]
KINDS = [*FLAT, RLEAKY_CONV, RSYNAPTIC_CONV]


def names(kind: Kind) -> str:
    return kind.name


def drive(
    kind: Kind, seed: int, steps: int = 12, dtype: torch.dtype = torch.float32, samples: int = 3
) -> Tensor:
    """A random input that makes every kind spike now and then; each sample is a drive."""
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(steps, samples, *kind.features, generator=generator, dtype=dtype) * 0.6 + 0.25
    )


def stepped(neuron: Any, cur: Tensor, kind: Kind) -> list[Tensor]:
    """Spikes and each state over time, ``(T, B, *)``, from a loop with explicit state."""
    state = tuple(torch.zeros_like(cur[0]) for _ in kind.ours.state_names)
    record = []
    for now in cur.unbind(0):
        spk, *after = neuron(now, *state)
        state = (spk, *after) if kind.ours.state_names[0] == "spk" else tuple(after)
        record.append((spk, *after))
    return [torch.stack(series) for series in zip(*record, strict=True)]


def gradients(outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Gradients of a weighted sum of all outputs, zero where there is none.

    The weights are positive: a parameter's gradient is a sum over all neurons and steps, and one
    that cancels says nothing about a relative error.
    """
    generator = torch.Generator().manual_seed(99)
    weights = [torch.rand(o.shape, generator=generator, dtype=o.dtype) + 0.5 for o in outputs]
    total = torch.stack([(o * w).sum() for o, w in zip(outputs, weights, strict=True)]).sum()
    found = torch.autograd.grad(total, inputs, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True)]


def assert_near(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """Largest difference, relative to the largest expected value."""
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    difference = (actual - expected).abs().max()
    assert difference <= tolerance * expected.abs().max(), (difference, expected.abs().max())
