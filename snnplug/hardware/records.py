"""What each kind of layer did: integer counts, without any hardware in them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from snnplug.errors import MeasurementError
from snnplug.hardware.operand import Operand
from snnplug.hardware.window import Window

Leak = Literal["none", "shift", "multiply"]


#: Marks a field that adds up over batches; all others describe the layer and have to agree.
_ADDS_UP = {"counter": True}


@dataclass(frozen=True)
class SynapticLayer:
    """Counts of one layer of weights, summed over all samples and time steps.

    Attributes:
        name: Its name in the network; with the input's shape for the further sizes at which one
            module was used, and with ``.input`` or ``.hidden`` for the two halves of an LSTM cell.
        kind: ``"Linear"``, ``"Conv2d"``, ``"ConvTranspose1d"``, …; a subclass counts as what it is
            a kind of. ``"OneToOne"`` for recurrent weights from each neuron to itself.
        inputs: Input sites per time step.
        outputs: Output sites per time step.
        weights: Stored weights.
        fan_out: Synapses per time step, that is synaptic operations if every input were active.
            Taps that fall on zero padding are no synapses.
        presentations: Samples x time steps seen.
        events: Inputs that were not zero.
        synops: Synaptic operations: each event counted once per output that it reaches.
        operand: What the inputs were.
        biases: Outputs that get a constant added, per time step.
        zero_weight_synops: Those synops whose weight is 0. A machine that reads whole rows of
            weights does them, one that stores only the others does not.
        repeated_events: Events of presentations whose input was that of the step before, in every
            value; counted for inputs other than spikes. A machine that keeps the currents of a
            static input need not do them again.
        repeated_synops: Synaptic operations of those events.
        repeated_zero_weight_synops: Those of them whose weight is 0.
        shares_weights: Whether the weights are stored with another record, as for a module that
            is used at two sizes.
        window: Shape of a convolution that reads zeros beyond its borders; None for all else.
    """

    name: str
    kind: str
    inputs: int
    outputs: int
    weights: int
    fan_out: int
    presentations: int = field(metadata=_ADDS_UP)
    events: int = field(metadata=_ADDS_UP)
    synops: int = field(metadata=_ADDS_UP)
    operand: Operand
    biases: int = 0
    zero_weight_synops: int = field(default=0, metadata=_ADDS_UP)
    repeated_events: int = field(default=0, metadata=_ADDS_UP)
    repeated_synops: int = field(default=0, metadata=_ADDS_UP)
    repeated_zero_weight_synops: int = field(default=0, metadata=_ADDS_UP)
    shares_weights: bool = False
    window: Window | None = None

    @property
    def dense_synops(self) -> int:
        """Synaptic operations of a machine that skips no zero."""
        return self.fan_out * self.presentations

    @property
    def nonzero_synops(self) -> int:
        """Synaptic operations of a machine that skips the weights that are zero as well."""
        return self.synops - self.zero_weight_synops


@dataclass(frozen=True)
class NeuronLayer:
    """Counts of one layer of neurons, summed over all samples and time steps.

    Attributes:
        name: Its name in the network.
        kind: Class of the module, such as ``"ContinuousIF"``.
        neurons: Neurons.
        presentations: Samples x time steps seen.
        spikes: Spikes emitted: outputs that were not zero.
        stateful: Whether a membrane is kept from one time step to the next.
        leak: What the leak of the membrane takes per neuron and step: nothing, a shift and an
            addition, or a multiplication.
        resets: Whether a spike changes the membrane.
        states: Numbers kept per neuron, if it is stateful.
        other_leaks: What the leaks of the other states take.
        multiplies: Further multiplications per neuron and step.
        adds: Further additions per neuron and step.
        lookups: Values of a sigmoid or tanh per neuron and step.
        compares: Comparisons per neuron and step.
    """

    name: str
    kind: str
    neurons: int
    presentations: int = field(metadata=_ADDS_UP)
    spikes: int = field(metadata=_ADDS_UP)
    stateful: bool
    leak: Leak
    resets: bool
    states: int = 1
    other_leaks: tuple[Leak, ...] = ()
    multiplies: int = 0
    adds: int = 0
    lookups: int = 0
    compares: int = 1


@dataclass(frozen=True)
class PoolLayer:
    """Counts of one pooling layer, summed over all samples and time steps.

    Attributes:
        name: Its name in the network.
        kind: Class of the module, or name of the function.
        inputs: Input sites per time step.
        presentations: Samples x time steps seen.
        operand: What the inputs were.
        adds: Additions of average pooling: one per event and window that holds it. The division
            is folded into the next weights.
        takes_largest: Whether it is max pooling.
    """

    name: str
    kind: str
    inputs: int
    presentations: int = field(metadata=_ADDS_UP)
    operand: Operand
    adds: int = field(default=0, metadata=_ADDS_UP)
    takes_largest: bool = True

    @property
    def compares(self) -> int:
        """Comparisons: one per input of max pooling, none for binary spikes, where it is an OR."""
        if not self.takes_largest or self.operand.kind == "binary":
            return 0
        return self.inputs * self.presentations


@dataclass(frozen=True)
class ElementwiseLayer:
    """Counts of work on single values: normalisation, residual additions.

    Attributes:
        name: Its name in the network; that of the module whose ``forward`` adds.
        kind: Class of the module, or name of the function.
        multiplies: Multiplications. 0 for a normalisation that is folded into the weights before
            it.
        adds: Additions.
        parameters: Stored numbers, 0 if folded.
    """

    name: str
    kind: str
    multiplies: int = field(metadata=_ADDS_UP)
    adds: int = field(metadata=_ADDS_UP)
    parameters: int = 0


Layer = SynapticLayer | NeuronLayer | PoolLayer | ElementwiseLayer
KINDS = {k.__name__: k for k in (SynapticLayer, NeuronLayer, PoolLayer, ElementwiseLayer)}


def read_layer(entry: dict[str, Any]) -> Layer:
    """Return the record that a dictionary of ``type`` and its fields describes."""
    values = dict(entry)
    if "operand" in values:
        values["operand"] = Operand.from_dict(values["operand"])
    if values.get("window") is not None:
        values["window"] = Window.from_dict(values["window"])
    if "other_leaks" in values:
        values["other_leaks"] = tuple(values["other_leaks"])
    layer: Layer = KINDS[values.pop("type")](**values)
    return layer


def add_layers(a: Layer, b: Layer) -> Layer:
    """Return the sum of two records of the same layer.

    Raises:
        MeasurementError: They describe different layers.
    """
    summed: dict[str, Any] = {
        f.name: getattr(a, f.name) + getattr(b, f.name, 0)
        for f in fields(a)
        if f.metadata.get("counter")
    }
    if isinstance(a, SynapticLayer | PoolLayer) and isinstance(b, SynapticLayer | PoolLayer):
        summed["operand"] = a.operand.join(b.operand)
    merged = replace(a, **summed)
    if type(a) is not type(b) or replace(b, **summed) != merged:
        raise MeasurementError(f"layers {a} and {b} do not add up; they describe different layers")
    return merged
