"""What a network did: the counts of its layers, which add up and can be stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace

from snnplug.errors import MeasurementError
from snnplug.hardware.operand import Operand as Operand
from snnplug.hardware.records import ElementwiseLayer as ElementwiseLayer
from snnplug.hardware.records import Layer as Layer
from snnplug.hardware.records import Leak as Leak
from snnplug.hardware.records import NeuronLayer as NeuronLayer
from snnplug.hardware.records import PoolLayer as PoolLayer
from snnplug.hardware.records import SynapticLayer as SynapticLayer
from snnplug.hardware.records import add_layers, read_layer


@dataclass(frozen=True)
class Activity:
    """What a network did on a number of samples; adds over batches and over processes.

    Attributes:
        samples: Inferences measured.
        layers: Counts in the order in which the layers first ran.
        unpriced: Names of modules that ran and whose work is in no count.

    Example:
        >>> one = Activity(1, (NeuronLayer("n", "ContinuousIF", 4, 2, 3, True, "none", True),), ())
        >>> both = one + one
        >>> both.samples, both.layers[0].spikes, both.layers[0].neurons
        (2, 6, 4)
    """

    samples: int
    layers: tuple[Layer, ...]
    unpriced: tuple[str, ...] = ()

    @property
    def synaptic(self) -> tuple[SynapticLayer, ...]:
        """The layers of weights."""
        return tuple(layer for layer in self.layers if isinstance(layer, SynapticLayer))

    @property
    def neuronal(self) -> tuple[NeuronLayer, ...]:
        """The layers of neurons."""
        return tuple(layer for layer in self.layers if isinstance(layer, NeuronLayer))

    @property
    def synops(self) -> float:
        """Synaptic operations per inference."""
        return self.per_sample(layer.synops for layer in self.synaptic)

    @property
    def spikes_per_synapse(self) -> float:
        """Synaptic operations per synapse and inference.

        Dampfhoffer et al. put the limit up to which a spiking network competes with a quantised
        one at 0.15 to 1.38, depending on the baseline.
        """
        synapses = sum(layer.fan_out for layer in self.synaptic)
        return self.synops / synapses if synapses else 0.0

    def per_sample(self, counts: Iterable[int]) -> float:
        """Return the sum of ``counts`` per inference."""
        if self.samples == 0:
            raise MeasurementError(
                "0 samples were measured; run the network on at least one batch inside measure()"
            )
        return sum(counts) / self.samples

    def firing_rates(self) -> dict[str, float]:
        """Return spikes per neuron and time step of each layer of neurons."""
        return {
            layer.name: layer.spikes / (layer.neurons * layer.presentations)
            for layer in self.neuronal
            if layer.presentations
        }

    def __add__(self, other: Activity) -> Activity:
        """Add the counts of two measurements of the same network.

        Raises:
            MeasurementError: They are not of the same network. One that holds nothing adds nothing.
        """
        if not self.layers or not other.layers:
            layers = self.layers or other.layers
        elif len(self.layers) != len(other.layers):
            raise MeasurementError(
                f"activities of {len(self.layers)} and {len(other.layers)} layers do not add up; "
                "both have to come from the same network"
            )
        else:
            layers = tuple(map(add_layers, self.layers, other.layers))
        unpriced = tuple(dict.fromkeys(self.unpriced + other.unpriced))
        return Activity(self.samples + other.samples, layers, unpriced)

    def reusing_static_input(self) -> Activity:
        """Return the counts of a machine that keeps the currents of an input that stays the same.

        It reads the weights of a still image once per sample, not in every time step.

        Example:
            >>> from snnplug.hardware.operand import ANALOG
            >>> fc = SynapticLayer("fc", "Linear", 4, 3, 12, 12, 10, 40, 120, ANALOG,
            ...                    repeated_events=36, repeated_synops=108)
            >>> Activity(1, (fc,)).reusing_static_input().synops
            12.0
        """
        return self._with_synapses(
            lambda layer: replace(
                layer,
                events=layer.events - layer.repeated_events,
                synops=layer.synops - layer.repeated_synops,
                zero_weight_synops=layer.zero_weight_synops - layer.repeated_zero_weight_synops,
                repeated_events=0,
                repeated_synops=0,
                repeated_zero_weight_synops=0,
            )
        )

    def skipping_zero_weights(self) -> Activity:
        """Return the counts of a machine that stores, and meets, no weight of 0."""
        return self._with_synapses(
            lambda layer: replace(
                layer,
                synops=layer.nonzero_synops,
                zero_weight_synops=0,
                repeated_synops=layer.repeated_synops - layer.repeated_zero_weight_synops,
                repeated_zero_weight_synops=0,
            )
        )

    def _with_synapses(self, change: Callable[[SynapticLayer], SynapticLayer]) -> Activity:
        layers = tuple(
            change(layer) if isinstance(layer, SynapticLayer) else layer for layer in self.layers
        )
        return replace(self, layers=layers)

    def over_processes(self, gather: Callable[[str], list[str]]) -> Activity:
        """Return the sum of the activities of all processes.

        Args:
            gather: Takes the text of this process and returns those of all of them.

        Example:
            >>> one = Activity(1, (NeuronLayer("n", "Leaky", 4, 2, 3, True, "none", True),))
            >>> one.over_processes(lambda mine: [mine, mine]) == one + one
            True
        """
        return sum(map(Activity.from_json, gather(self.to_json())), Activity(0, ()))

    def to_json(self) -> str:
        """Return everything as JSON text; :meth:`from_json` reads it back."""
        layers = [{"type": type(layer).__name__, **asdict(layer)} for layer in self.layers]
        return json.dumps({"samples": self.samples, "layers": layers, "unpriced": self.unpriced})

    @classmethod
    def from_json(cls, text: str) -> Activity:
        """Read what :meth:`to_json` wrote."""
        content = json.loads(text)
        layers = tuple(map(read_layer, content["layers"]))
        return cls(content["samples"], layers, tuple(content["unpriced"]))
