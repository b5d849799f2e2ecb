"""The banks of weights of one layer, and which of them a spike needs."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from snnplug.hardware.integer_network import IntegerLayer, Integers
from snnplug.hardware.machine import Datapath, Memory


@dataclass(frozen=True, eq=False)
class WeightMemory:
    """Rows of as many weights as there are lanes, in banks.

    The row of a fully connected layer holds the weights of one input to one group of outputs: row
    ``input * groups + group``. A convolution's weights lie one behind the other in the order
    ``(input channel of a group, kernel row, kernel column, output channel)``.

    Attributes:
        banks: ``(banks, rows, lanes)``; the last bank is filled up with zeros.
    """

    banks: Integers

    def rows(self, addresses: Integers) -> Integers:
        """Read rows, ``(k,)`` → ``(k, lanes)``."""
        bank, row = np.divmod(addresses, self.banks.shape[1])
        read: Integers = self.banks[bank, row]
        return read

    def weights(self, addresses: Integers) -> Integers:
        """Read single weights, ``(k,)`` → ``(k,)``."""
        read: Integers = self.banks.reshape(-1)[addresses]
        return read


def rows_per_bank(datapath: Datapath, memory: Memory, weight_bits: int) -> int:
    """Return the rows that a bank holds."""
    return max(1, int(memory.bank_kb * 1024 * 8) // (datapath.lanes * weight_bits))


def fill(layer: IntegerLayer, lanes: int, bank_rows: int) -> WeightMemory:
    """Return the banks with a layer's weights in them."""
    if layer.taps is None:
        groups = -(-layer.outputs // lanes)
        padded = np.zeros((layer.inputs, groups * lanes), np.int64)
        padded[:, : layer.outputs] = layer.weights.T
        flat = padded.ravel()
    else:
        flat = layer.weights.transpose(1, 2, 3, 0).ravel()
    banks = -(-len(flat) // (lanes * bank_rows))
    content = np.zeros(banks * bank_rows * lanes, np.int64)
    content[: len(flat)] = flat
    return WeightMemory(content.reshape(banks, bank_rows, lanes))


def read_back(banks: Integers, shape: tuple[int, ...]) -> Integers:
    """Return the weights that the banks of a layer hold.

    Args:
        banks: ``(banks, rows, lanes)``, as :func:`fill` lays them out.
        shape: Of the weights: two axes of a fully connected layer, four of a convolution.
    """
    flat, lanes = banks.ravel(), banks.shape[2]
    out, *rest = shape
    if not rest[1:]:
        width = -(-out // lanes) * lanes
        dense: Integers = flat[: rest[0] * width].reshape(-1, width)[:, :out].T.copy()
        return dense
    kernels: Integers = flat[: out * prod(rest)].reshape(*rest, out).transpose(3, 0, 1, 2).copy()
    return kernels


@dataclass(frozen=True, eq=False)
class Synapses:
    """What the address generator of a convolution emits for each input and group of outputs.

    Attributes:
        start: Where the synapses of input ``i`` to group ``g`` begin, at ``g * inputs + i``; they
            end where the next ones begin.
        lane: Output within its group.
        address: Place of the weight in the memory.
    """

    start: Integers
    lane: Integers
    address: Integers

    @classmethod
    def of(cls, layer: IntegerLayer, lanes: int) -> Synapses:
        """Enumerate the taps of every output; those on the padding are no synapses."""
        assert layer.taps is not None  # noqa: S101  # the caller asks for a convolution
        t, (_, height, width) = layer.taps, layer.in_shape
        outs, per_group, kernel_h, kernel_w = layer.weights.shape
        o, row, column = np.indices(layer.out_shape, np.int64)
        flat_out = np.arange(layer.outputs).reshape(layer.out_shape)
        first_in = o // (outs // t.groups) * per_group
        sites, outputs, addresses = [], [], []
        for c in range(per_group):
            for i in range(kernel_h):
                y = row * t.stride[0] + i * t.dilation[0] - t.padding[0][0]
                for j in range(kernel_w):
                    x = column * t.stride[1] + j * t.dilation[1] - t.padding[1][0]
                    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
                    site = ((first_in + c) * height + y) * width + x
                    address = ((c * kernel_h + i) * kernel_w + j) * outs + o
                    sites.append(site[inside])
                    outputs.append(flat_out[inside])
                    addresses.append(address[inside])
        site, output, address = map(np.concatenate, (sites, outputs, addresses))
        group, lane = np.divmod(output, lanes)
        key = group * layer.inputs + site
        order = np.lexsort((lane, key))
        groups = -(-layer.outputs // lanes)
        counts = np.bincount(key, minlength=groups * layer.inputs)
        start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return cls(start, lane[order], address[order])
