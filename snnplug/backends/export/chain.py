"""A network as the chain of its layers, each with the shapes that go in and come out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from snnplug.backends.export.program import over_time
from snnplug.errors import ArgumentError
from snnplug.kernels import execution
from snnplug.layers.sequential import SpikingSequential
from snnplug.layers.tracing import untouched

_FREE = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


@dataclass(frozen=True)
class Link:
    """One layer.

    Attributes:
        name: In the network.
        module: The layer, in evaluation mode.
        in_shape: Of one time step of one sample.
        out_shape: Likewise.
    """

    name: str
    module: nn.Module
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]

    @property
    def label(self) -> str:
        """Its name and class, as errors say them."""
        return f"{self.name} ({type(self.module).__name__})"


def links_of(network: nn.Module, frames: Tensor) -> list[Link]:
    """Return the layers of a network in order, without those that do nothing in evaluation.

    Args:
        network: A :class:`~snnplug.layers.sequential.SpikingSequential`, a network whose ``chain``
            returns one, or what :func:`~snnplug.layers.convert.convert` takes.
        frames: Example, ``(T, B, *)``.

    Raises:
        ArgumentError: It is no chain.
    """
    chain: Any = over_time(network, frames)
    names = {id(module): name for name, module in chain.named_modules()}
    if not isinstance(chain, SpikingSequential):
        if not callable(getattr(chain, "chain", None)):
            raise ArgumentError(
                f"{type(network).__name__} is no chain of layers; this format takes one that "
                "SpikingSequential or convert can make, or export it as pt2 or onnx"
            )
        chain = chain.chain()
    links, x = [], frames[:1]
    with untouched(chain), torch.no_grad(), execution.running("eager"):
        chain.eval()
        for module in _flat(chain):
            before = x
            x = SpikingSequential(module)(x)
            if not isinstance(module, _FREE):
                shapes = tuple(before.shape[2:]), tuple(x.shape[2:])
                links.append(Link(names[id(module)], module, *shapes))
    return links


def folded(links: list[Link]) -> list[Link]:
    """Fold batch normalisation into the weights before it."""
    folded: list[Link] = []
    for link in links:
        before = folded[-1] if folded else None
        norm: Any = link.module
        if before is not None and isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            fuse: Any = None
            if isinstance(before.module, nn.Linear):
                fuse = fuse_linear_bn_eval
            elif isinstance(before.module, nn.Conv1d | nn.Conv2d):
                fuse = fuse_conv_bn_eval
            if fuse is not None and norm.running_var is not None:
                with untouched(before.module), untouched(norm):
                    module = fuse(before.module.eval(), norm.eval())
                folded[-1] = Link(before.name, module, before.in_shape, link.out_shape)
                continue
        folded.append(link)
    return folded


def _flat(chain: SpikingSequential) -> Iterator[nn.Module]:
    for layer in chain:
        if isinstance(layer, SpikingSequential):
            yield from _flat(layer)
        else:
            yield layer
