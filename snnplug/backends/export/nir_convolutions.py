"""Convolutions as nodes of NIR whose types its package infers as they are.

nir takes the channels of the second axis of the weights and the reach of a kernel along every axis
from its height, which is wrong for groups and for kernels that are not square: it then refuses the
file when it is read. Weights of 0 make the same convolution one that it takes for what it is:
between groups, and around a kernel up to a square. The metadata say what was added, and our reader
takes it off. A square that gives the same output does not always exist, as padding is the same on
both sides; the kernel then stays, and the file is for ``nir.read(path, type_check=False)``.
"""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from snnplug.backends.export.chain import Link
from snnplug.errors import ArgumentError

Array = npt.NDArray[Any]


def convolution_node(link: Link, module: nn.Conv1d | nn.Conv2d) -> Any:
    """Return the node of a convolution, its types set.

    Raises:
        ArgumentError: It pads with something else than zeros.
    """
    if module.padding_mode != "zeros":
        raise ArgumentError(f"{link.label} pads with {module.padding_mode!r}; NIR pads with zeros")
    weight = module.weight.detach().cpu().numpy()
    bias = torch.zeros(module.out_channels) if module.bias is None else module.bias
    kept: dict[str, Any] = {"layer": type(module).__name__, "bias": module.bias is not None}
    padding: Any = module.padding
    if padding == "valid":
        padding = (0,) * len(module.kernel_size)
    if module.groups > 1:
        kept["groups"] = module.groups
        weight = _over_all_channels(weight, module.groups)
    size = weight.shape[2:]
    if len(set(size)) > 1 and not isinstance(padding, str):
        found = _square(size, padding, module, link)
        if found is not None:
            kept["kernel_size"], kept["padding"] = np.array(size), np.array(padding)
            margins, padding = found
            kept["margins"] = np.array([before for before, _ in margins])
            weight = np.pad(weight, ((0, 0), (0, 0), *margins))
    two = isinstance(module, nn.Conv2d)

    def each(value: Any) -> Any:
        return value if isinstance(value, str) else tuple(value) if two else value[0]

    node = (nir.Conv2d if two else nir.Conv1d)(
        input_shape=each(link.in_shape[1:]),
        weight=weight,
        stride=each(module.stride),
        padding=each(padding),
        dilation=each(module.dilation),
        groups=1,
        bias=bias.detach().cpu().numpy(),
        metadata=kept,
    )
    return typed(node)


def typed(node: Any) -> Any:
    """Set the types of a convolution, for kernels that are not square and groups as well."""
    if node.input_shape is None:
        return node
    size, inner = node.weight.shape[2:], np.atleast_1d(node.input_shape)
    node.input_type = {"input": np.array([node.weight.shape[1] * int(node.groups), *inner])}
    if isinstance(node.padding, str) and node.padding == "same":
        outer = [int(n) for n in inner]
    else:
        padding = 0 if isinstance(node.padding, str) else node.padding
        given = (np.broadcast_to(v, len(size)) for v in (node.stride, padding, node.dilation))
        outer = [_outputs(*map(int, axis)) for axis in zip(inner, size, *given, strict=True)]
    node.output_type = {"output": np.array([node.weight.shape[0], *outer])}
    return node


def is_inferred(node: Any) -> bool:
    """Whether nir infers the types of a node as they are, when it reads it from a file."""
    again = type(node)(**{k: v for k, v in vars(node).items() if not k.endswith("_type")})
    return all(
        np.array_equal(getattr(again, f"{side}_type")[side], getattr(node, f"{side}_type")[side])
        for side in ("input", "output")
    )


def original(node: Any) -> tuple[Array, Any, int]:
    """Return weights, padding and groups of the convolution that a node was made of."""
    kept, weight = node.metadata or {}, np.asarray(node.weight)
    groups, padding = int(node.groups), node.padding
    if "kernel_size" in kept:
        padding = kept["padding"]
        where = zip(kept["margins"], kept["kernel_size"], strict=True)
        cut = (slice(int(m), int(m) + int(k)) for m, k in where)
        whole: tuple[Any, ...] = (slice(None), slice(None), *cut)
        weight = weight[whole]
    if "groups" in kept and groups == 1:
        groups = int(kept["groups"])
        outs, ins = (n // groups for n in weight.shape[:2])
        parts = [weight[g * outs : (g + 1) * outs, g * ins : (g + 1) * ins] for g in range(groups)]
        weight = np.concatenate(parts)
    return weight, padding, groups


def _over_all_channels(weight: Array, groups: int) -> Array:
    """Return the weights of one group, 0 from the channels of another."""
    outs, ins = weight.shape[0] // groups, weight.shape[1]
    dense = np.zeros((len(weight), ins * groups, *weight.shape[2:]), weight.dtype)
    for g in range(groups):
        own = slice(g * outs, (g + 1) * outs)
        dense[own, g * ins : (g + 1) * ins] = weight[own]
    return dense


def _square(
    size: tuple[int, ...], padded: tuple[int, ...], module: Any, link: Link
) -> tuple[list[tuple[int, int]], tuple[int, ...]] | None:
    """Return zeros before and behind a kernel along each axis, and the padding then, if any."""
    for side in (max(size), max(size) + 1):
        margins, paddings = [], []
        given = (link.in_shape[1:], size, module.stride, padded, module.dilation)
        for inner, reach, stride, padding, dilation, outer in zip(
            *given, link.out_shape[1:], strict=True
        ):
            for before in range(side - reach + 1):
                wider = padding + before * dilation
                if _outputs(inner, side, stride, wider, dilation) == outer:
                    margins.append((before, side - reach - before))
                    paddings.append(wider)
                    break
        if len(margins) == len(size):
            return margins, tuple(paddings)
    return None


def _outputs(inner: int, size: int, stride: int, padding: int, dilation: int) -> int:
    return (inner + 2 * padding - dilation * (size - 1) - 1) // stride + 1
