"""The simulated hardware of one layer: what it does in a time step, and the count of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from snnplug.hardware.integer_network import IntegerLayer, Integers
from snnplug.hardware.machine import Datapath
from snnplug.hardware.weight_memory import Synapses, WeightMemory, fill


@dataclass
class LayerEvents:
    """What happened in one layer of weights and its neurons, over all samples and time steps.

    Attributes:
        words_scanned: Words of the spike buffer read.
        addresses: Addresses made of spikes: one per spike and group of outputs.
        rows_read: Rows of weights read. In a convolution of at least as many outputs as lanes the
            weights of one spike after the other fill the lanes, as the price model has it: then a
            fraction of a row is left at the end.
        accumulates: Weights added to a sum.
        membrane_reads: Membranes read.
        membrane_writes: Membranes written.
        bias_adds: Additions of bias and sum, one per neuron.
        compares: Membranes compared with the threshold.
        resets: Membranes lowered by a spike.
        pool_compares: Currents compared by pooling.
        words_written: Words of spikes written.
        saturations: Additions whose result did not fit into the membrane's bits.
        neuron_cycles: Cycles of the neurons.
        separate_rows: Rows that a convolution would read if every spike began one of its own in
            each group of outputs that it reaches: what the filled lanes of the price model leave
            out. Equals ``rows_read`` in a fully connected layer.
    """

    words_scanned: int = 0
    addresses: int = 0
    rows_read: Fraction = Fraction(0)
    accumulates: int = 0
    membrane_reads: int = 0
    membrane_writes: int = 0
    bias_adds: int = 0
    compares: int = 0
    resets: int = 0
    pool_compares: int = 0
    words_written: int = 0
    saturations: int = 0
    neuron_cycles: int = 0
    separate_rows: int = 0

    @property
    def cycles(self) -> Fraction:
        """Clock cycles: one per word scanned and row read, and those of the neurons."""
        return self.words_scanned + self.rows_read + self.neuron_cycles


@dataclass(eq=False)
class SimulatedLayer:
    """The hardware of one layer, its state and its counters."""

    layer: IntegerLayer
    datapath: Datapath
    bank_rows: int
    membrane_bits: int
    events: LayerEvents = field(default_factory=LayerEvents)

    def __post_init__(self) -> None:
        layer, lanes = self.layer, self.datapath.lanes
        self.memory: WeightMemory = fill(layer, lanes, self.bank_rows)
        self.synapses = None if layer.taps is None else Synapses.of(layer, lanes)
        self.limit = 2 ** (self.membrane_bits - 1) - 1
        self.membrane = np.zeros(layer.neurons, np.int64)
        self.filled = 0  # lanes of the row that a convolution's weights are filling

    def clear(self) -> None:
        """Bring the membranes to rest, for the next sample."""
        self.membrane[:] = 0

    def finish(self) -> None:
        """Read what is left of a row, at the end of a sample."""
        self.events.rows_read += Fraction(self.filled, self.datapath.lanes)
        self.filled = 0

    def step(
        self, spikes: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Take one time step: input spikes → spikes of the neurons, and these pooled."""
        layer, lanes = self.layer, self.datapath.lanes
        buffer = list(self._words(spikes))
        current = np.zeros(layer.outputs, np.int64)
        for group, first in enumerate(range(0, layer.outputs, lanes)):
            sums = np.zeros(min(lanes, layer.outputs - first), np.int64)
            for sites in buffer:
                self.events.words_scanned += 1
                if len(sites):
                    self.events.addresses += len(sites)
                    self._accumulate(sums, group, sites)
            current[first : first + lanes] = sums
        if layer.pool is not None:
            # A comparison per current, the first of a window with the lowest number there is.
            self.events.pool_compares += layer.outputs
            current = layer.pool(current, layer.out_shape)
        fired = self._fire(current)
        if layer.spike_pool is None:
            return fired, fired
        pooled = layer.spike_pool(fired.astype(np.int64), layer.neuron_shape)  # an OR
        return fired, pooled.astype(np.uint8)

    def _words(self, spikes: npt.NDArray[np.uint8]) -> Iterator[Integers]:
        """Yield the places of the spikes in each word of the buffer."""
        width = self.datapath.spike_word_bits
        for first in range(0, len(spikes), width):
            yield first + np.flatnonzero(spikes[first : first + width])

    def _accumulate(self, sums: Integers, group: int, sites: Integers) -> None:
        """Add the weights of the spikes of one word to a group's sums."""
        if self.synapses is None:
            groups = -(-self.layer.outputs // self.datapath.lanes)
            rows = self.memory.rows(sites * groups + group)[:, : len(sums)]
            self.events.rows_read += len(rows)
            self.events.separate_rows += len(rows)
            self.events.accumulates += rows.size
            if np.abs(sums).max() + np.abs(rows).sum(0).max() <= self.limit:
                sums += rows.sum(0)  # no order of addition can saturate
            else:
                for row in rows:
                    sums[:] = self._saturate(sums + row)
            return
        lanes, table = self.datapath.lanes, self.synapses
        keys = group * self.layer.inputs + sites
        begin, end = table.start[keys], table.start[keys + 1]
        reached = end > begin
        self.events.separate_rows += int(reached.sum())
        for span in map(slice, begin[reached], end[reached]):
            lane = table.lane[span]
            weights = self.memory.weights(table.address[span])
            sums[lane] = self._saturate(sums[lane] + weights)
        count = int((end - begin).sum())
        self.events.accumulates += count
        if self.layer.outputs < lanes:  # all that a spike reaches is one row
            self.events.rows_read += len(sites)
        else:
            full, self.filled = divmod(self.filled + count, lanes)
            self.events.rows_read += full

    def _fire(self, current: Integers) -> npt.NDArray[np.uint8]:
        """Let the neurons take their currents, a group at a time; write their spikes."""
        layer, d, e = self.layer, self.datapath, self.events
        fired = np.zeros(layer.neurons, np.uint8)
        waiting = 0  # spikes that do not fill a word yet
        for first in range(0, layer.neurons, d.lanes):
            group = slice(first, min(first + d.lanes, layer.neurons))
            count = group.stop - group.start
            membrane = self._saturate(current[group] + layer.bias[group])
            e.bias_adds += count
            if layer.stateful:
                membrane = self._saturate(membrane + self.membrane[group])
                e.membrane_reads += count
            threshold = layer.threshold[group]
            spikes = membrane >= threshold if layer.fires_at_threshold else membrane > threshold
            e.compares += count
            if layer.resets:
                membrane = self._saturate(membrane - threshold * spikes)
                e.resets += int(spikes.sum())
            if layer.stateful:
                self.membrane[group] = membrane
                e.membrane_writes += count
            fired[group] = spikes
            e.neuron_cycles += d.neuron_cycles
            words, waiting = divmod(waiting + count, d.spike_word_bits)
            e.words_written += words
        e.words_written += waiting > 0
        return fired

    def _saturate(self, values: Integers) -> Integers:
        """Clip to what the membrane's bits hold, and count what did not fit."""
        clipped: Integers = np.minimum(np.maximum(values, -self.limit), self.limit)
        self.events.saturations += int(np.count_nonzero(clipped != values))
        return clipped
