"""A network as a graph of NIR, and the file of it."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snnplug.backends.export.chain import folded, links_of
from snnplug.backends.export.program import first, over_time, suffixed
from snnplug.backends.export.written import Written, compared
from snnplug.errors import ArgumentError, needs
from snnplug.files import replacing
from snnplug.layers.tracing import untouched

#: snnTorch's, in seconds.
DT_S = 1e-4


class NIRResetWarning(UserWarning):
    """Other readers of a NIR graph reset a neuron otherwise than snnplug does."""


def to_nir(network: nn.Module, frames: Tensor, dt_s: float = DT_S, strict: bool = False) -> Any:
    r"""Return a network as a ``nir.NIRGraph``, node for node, under the names of its layers.

    ==============================  ============================================================
    layer                           node
    ==============================  ============================================================
    ``Linear``, ``Conv1d``/``2d``   ``Affine`` or ``Linear``, ``Conv1d``/``2d``
    ``AvgPool2d``                   ``AvgPool2d``; ``SumPool2d`` for ``divisor_override=1``
    ``Flatten``                     ``Flatten``, without the axis of the batch
    ``BatchNorm1d``/``2d``          folded into the layer before it
    ``Leaky``, ``LearnableLIF``     ``LIF``; ``IF`` if no neuron of the layer leaks
    ``ContinuousIF``                ``IF``
    ``Synaptic``                    ``CubaLIF``
    ``RLeaky``, ``RSynaptic``       a graph of ``LIF`` or ``CubaLIF`` and ``w_rec``
    ``DiscontinuousIF``             ``Threshold``
    any without a reset             ``LI``, ``I`` or ``CubaLI``, and ``Threshold``
    ``graded_spikes_factor``        ``Scale`` behind the neurons
    ==============================  ============================================================

    Dropout is left out. Weights of 0 stand between the groups of a convolution, and around a kernel
    that is not square where they make it one: nir infers wrong shapes of others. Scalar parameters
    become one value per neuron: their shape is NIR's type. :math:`\beta = 1 - \Delta t / \tau`, as
    in snnTorch; what :math:`\Delta t` is does not matter if who reads it takes the same.

    NIR's reset sets a membrane to 0 in the step of the spike: ``reset_mechanism="zero"`` with
    ``reset_delay=False``, and for ``Leaky`` with either. Every node carries its reset in its
    metadata, from which :func:`~snnplug.backends.export.nir_network.from_nir` gives the same
    spikes, bit for bit. Other readers do not look there.

    Args:
        network: A chain of layers, or what :func:`~snnplug.layers.convert.convert` makes one of.
        frames: Example, ``(T, B, *)``; shapes are taken from it.
        dt_s: Length of a time step, in s.
        strict: Refuse what readers would run otherwise that do not look at metadata.

    Raises:
        ArgumentError: The network is no chain, or NIR has no such layer; the message names it and
            says what to do.
        MissingExtraError: nir is not installed.

    Warns:
        NIRResetWarning: Without ``strict``, of the neurons that it would refuse.

    Example:
        >>> from snnplug import Leaky, SpikingSequential
        >>> network = SpikingSequential(
        ...     nn.Linear(4, 3), Leaky(beta=0.9, reset_mechanism="zero", reset_delay=False)
        ... )
        >>> graph = to_nir(network, torch.zeros(5, 2, 4))
        >>> {name: type(node).__name__ for name, node in graph.nodes.items()}
        {'input': 'Input', '0': 'Affine', '1': 'LIF', 'output': 'Output'}

    Reference:
        J. E. Pedersen et al., "Neuromorphic intermediate representation: a unified instruction set
        for interoperable brain-inspired computing", Nature Communications 15, 2024; the step of
        Euler's method is that of ``snntorch.export_to_nir``.
    """
    graph, foreign = _graph(network, frames, dt_s)
    if foreign and strict:
        raise ArgumentError(f"{_reset_note(foreign)}; or export without strict")
    if foreign:
        warnings.warn(_reset_note(foreign), NIRResetWarning, stacklevel=2)
    return graph


def write_nir(
    path: str | Path,
    network: nn.Module,
    frames: Tensor,
    dt_s: float = DT_S,
    strict: bool = False,
) -> Written:
    """Write :func:`to_nir` as a file, read it back, and compare on the example.

    Args:
        path: The file, ``.nir``.
        network: As in :func:`to_nir`.
        frames: Likewise.
        dt_s: Likewise.
        strict: Likewise.

    Raises:
        ArgumentError: As :func:`to_nir`; or the file cannot be written.
        MissingExtraError: nir is not installed.
    """
    path = suffixed(path, ".nir")
    graph, foreign = _graph(network, frames, dt_s)
    if foreign and strict:
        raise ArgumentError(f"{_reset_note(foreign)}; or export without strict")
    from snnplug.backends.export.nir_convolutions import is_inferred
    from snnplug.backends.export.nir_network import read_nir

    notes = [_reset_note(foreign)] if foreign else []
    convolutions = [(n, c) for n, c in graph.nodes.items() if type(c).__name__ == "Conv2d"]
    if unread := [name for name, node in convolutions if not is_inferred(node)]:
        notes.append(
            f"nir infers the shapes of {', '.join(unread)} wrongly when it reads the file: others "
            "need nir.read(path, type_check=False), snnplug does not; or take a square kernel"
        )
        if strict:
            raise ArgumentError(f"{notes[-1]}; or export without strict")
    with replacing(path) as partial:
        needs("nir", "nir", "NIR").write(partial, graph)
        with untouched(network), torch.no_grad():
            network.eval()
            expected = first(over_time(network, frames)(frames))
            found = read_nir(partial)(frames)
    return compared(path, expected, found, "\n".join(notes))


def _graph(network: nn.Module, frames: Tensor, dt_s: float) -> tuple[Any, list[str]]:
    """Return the graph, and the neurons that other readers reset otherwise."""
    nir = needs("nir", "nir", "NIR")
    from snnplug.backends.export.nir_nodes import nodes_of

    if not dt_s > 0:
        raise ArgumentError(f"dt_s is {dt_s}; a time step takes a positive time, in s")
    links = folded(links_of(network, frames))
    if not links:
        raise ArgumentError("the network has no layer")
    nodes: dict[str, Any] = {"input": nir.Input(links[0].in_shape)}
    foreign = []
    for link in links:
        found = nodes_of(link, dt_s)
        if taken := nodes.keys() & found.nodes.keys() | found.nodes.keys() & {"output"}:
            raise ArgumentError(f"two layers are called {', '.join(taken)}; rename one")
        nodes |= found.nodes
        foreign += [link.label] if found.foreign else []
    nodes["output"] = nir.Output(links[-1].out_shape)
    names = list(nodes)
    try:
        return nir.NIRGraph(nodes, list(pairwise(names))), foreign
    except ValueError as error:
        raise ArgumentError(f"nir refuses the graph: {error}") from error


def _reset_note(foreign: list[str]) -> str:
    return (
        f"{', '.join(foreign)}: a spike sets NIR's membrane to 0, theirs not; the metadata say so, "
        "and snnplug reads them, others do not. For the same spikes everywhere train with "
        "reset_mechanism='zero' and reset_delay=False"
    )
