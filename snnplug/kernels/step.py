r"""One time step of a chain of linear maps and neurons, for one sample, in one native call.

A product adds the rows of its transposed weight where its input is not zero,

.. math::
    y = b + \sum_{j:\, x_j \ne 0} x_j\, W_{\cdot j},

one after the other in ascending order of :math:`j`. Neurons follow snnTorch's order of operations
to the last bit. The layers themselves are the reference in torch.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from snnplug.kernels import native

#: The numbers of native/kernels.h; "membrane" clears the membrane and keeps the input of the step.
RESETS = {"subtract": 0, "zero": 1, "none": 2, "membrane": 3}
# Rows of weights start on a cache line.
_LANES = 16


@dataclass(frozen=True)
class Product:
    """A linear map.

    Attributes:
        weight: ``(out_features, in_features)``.
        bias: ``(out_features,)``, or None.
    """

    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True)
class Neurons:
    """A layer of neurons.

    Attributes:
        threshold: ``(features,)``; likewise ``beta``, ``alpha`` and ``own``.
        beta: Factor kept of the membrane, or None: the membrane is the current.
        alpha: Factor kept of the synaptic current, or None: there is none.
        recurrent: Map from the spikes of the step before to a current, or None.
        own: Weight from each neuron to itself, or None.
        graded: Height of a spike.
        reset: One of ``RESETS``.
        inclusive: Fires at the threshold.
        immediate: A spike resets the membrane in its own step.
    """

    threshold: Tensor
    beta: Tensor | None = None
    alpha: Tensor | None = None
    recurrent: Product | None = None
    own: Tensor | None = None
    graded: float = 1.0
    reset: str = "none"
    inclusive: bool = False
    immediate: bool = False


class _StepOp(ctypes.Structure):
    """``snp::StepOp`` of native/kernels.h."""

    _fields_ = (
        ("features", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("stride", ctypes.c_int64),
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("own", ctypes.c_void_p),
        ("alpha", ctypes.c_void_p),
        ("beta", ctypes.c_void_p),
        ("threshold", ctypes.c_void_p),
        ("syn", ctypes.c_void_p),
        ("mem", ctypes.c_void_p),
        ("output", ctypes.c_void_p),
        ("graded", ctypes.c_float),
        ("reset", ctypes.c_int32),
        ("inclusive", ctypes.c_int32),
        ("immediate", ctypes.c_int32),
    )


class _StepPlan(ctypes.Structure):
    """``snp::StepPlan``."""

    _fields_ = (
        ("count", ctypes.c_int64),
        ("ops", ctypes.c_void_p),
        ("index", ctypes.c_void_p),
        ("value", ctypes.c_void_p),
        ("feedback", ctypes.c_void_p),
    )


class Plan:
    """A chain with its packed weights and its state, ready to be stepped.

    Args:
        layers: In order; the first one is a product. Their tensors are float32, on the CPU.

    Attributes:
        output: What the last layer gave in the last step, ``(1, features)``; written by each step.
        states: For each layer of neurons in order, its ``spk``, ``syn`` and ``mem`` as far as it
            has them, ``(1, features)``; written by each step, and free to be written before one.
        memory_bytes: Weights, parameters, states and working memory together.
    """

    def __init__(self, layers: Sequence[Product | Neurons]) -> None:
        library = native.library()
        if library is None:
            raise RuntimeError("a plan needs the native library")
        self._kept: list[Tensor] = []
        self.states: list[dict[str, Tensor]] = []
        ops = [self._product(x) if isinstance(x, Product) else self._neurons(x) for x in layers]
        self._ops = (_StepOp * len(ops))(*ops)
        most = max(op.features for op in ops)
        index, value = self._buffer(most, torch.int32), self._buffer(most)
        feedback = self._buffer(max(op.stride for op in ops))
        self._plan = _StepPlan(len(ops), ctypes.addressof(self._ops), index, value, feedback)
        self.address = ctypes.addressof(self._plan)
        self.step = library.snp_step
        self._step_events = library.snp_step_events
        self.memory_bytes = sum(t.nbytes for t in self._kept)

    def events(self, addresses: Tensor) -> int:
        """Take a step whose input is 1 at these addresses; a repeated one counts again.

        Args:
            addresses: int64, contiguous, ``(events,)``.

        Returns:
            -1, or the position of an address outside the input; the step was then not taken.
        """
        position: int = self._step_events(self.address, addresses.data_ptr(), addresses.numel())
        return position

    def _keep(self, tensor: Tensor) -> int:
        self._kept.append(tensor)
        return tensor.data_ptr()

    def _buffer(self, size: int, dtype: torch.dtype = torch.float32) -> int:
        return self._keep(torch.zeros(size, dtype=dtype))

    def _output(self, stride: int, columns: int) -> Tensor:
        whole = torch.zeros(stride)
        self._keep(whole)
        self.output = whole[:columns].unsqueeze(0)
        return self.output

    def _packed(self, product: Product) -> dict[str, int]:
        columns, features = product.weight.shape
        stride = -(-columns // _LANES) * _LANES
        weight, bias = torch.zeros(features, stride), torch.zeros(stride)
        weight[:, :columns] = product.weight.detach().t()
        if product.bias is not None:
            bias[:columns] = product.bias.detach()
        return {
            "features": features,
            "columns": columns,
            "stride": stride,
            "weight": self._keep(weight),
            "bias": self._keep(bias),
        }

    def _product(self, product: Product) -> _StepOp:
        packed = self._packed(product)
        out = self._output(packed["stride"], packed["columns"])
        return _StepOp(**packed, output=out.data_ptr())

    def _neurons(self, layer: Neurons) -> _StepOp:
        columns = layer.threshold.numel()
        if layer.recurrent is None:
            stride = -(-columns // _LANES) * _LANES
            packed = {"features": columns, "columns": columns, "stride": stride}
        else:
            packed = self._packed(layer.recurrent)
        parameters = {
            name: self._keep(value.detach().contiguous().clone())
            for name in ("own", "alpha", "beta", "threshold")
            if (value := getattr(layer, name)) is not None
        }
        state = {"mem": torch.zeros(1, columns)}
        if layer.alpha is not None:
            state["syn"] = torch.zeros(1, columns)
        kept = {name: self._keep(tensor) for name, tensor in state.items()}
        # The spikes of the step before are what the output still holds.
        state["spk"] = self._output(packed["stride"], columns)
        self.states.append(state)
        return _StepOp(
            **packed,
            **parameters,
            **kept,
            output=state["spk"].data_ptr(),
            graded=layer.graded,
            reset=RESETS[layer.reset],
            inclusive=layer.inclusive,
            immediate=layer.immediate,
        )
