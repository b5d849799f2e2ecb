"""What PopTorch is asked for: options, optimiser, and a step whose batch lies in front.

PopTorch comes as an argument, so that nothing here needs it to be installed. Python 3.8, torch 2.0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .portable import TrainingStep

#: Below the smallest normal float16, 6.1e-5, and still 168 times the smallest there is; 1e-8,
#: torch's default, is 0 in float16, and Adam then divides 0 by 0 for a weight without gradients.
SMALLEST_EPS = 1e-5
#: Gradients of a mean over steps, samples and classes fall below float16's 6e-8 without it.
LOSS_SCALING = 1024.0
#: poptorch.optim's names of the types of what an optimiser sums up.
_STATES = {
    "SGD": ("accum_type", "velocity_accum_type"),
    "Adam": (
        "accum_type",
        "first_order_momentum_accum_type",
        "second_order_momentum_accum_type",
    ),
}
_STATES["AdamW"] = _STATES["RMSprop"] = _STATES["LAMB"] = _STATES["Adam"]


def device_options(poptorch: Any, values: dict[str, int], seed: int, half: bool) -> Any:
    """Return the options: one call takes the product of ``values`` in micro batches.

    Every micro batch's result comes back, not the last one's alone. In half precision, products are
    summed in float32 and weights are rounded stochastically, so that a small step is not lost.
    """
    options = poptorch.Options()
    options.deviceIterations(values["device_iterations"])
    options.replicationFactor(values["replication_factor"])
    options.Training.gradientAccumulation(values["gradient_accumulation"])
    options.outputMode(poptorch.OutputMode.All)
    options.randomSeed(seed)
    if half:
        options.Precision.setPartialsType(torch.float32)
        options.Precision.enableStochasticRounding(True)
    return options


def device_optimizer(
    poptorch: Any, kind: str, arguments: dict[str, Any], parameters: Any, half: bool
) -> Any:
    """Return PopTorch's optimiser; for half-precision weights, with states in float32."""
    extra: dict[str, Any] = {}
    if half:
        if arguments.get("eps", 1.0 if kind == "SGD" else 1e-8) < SMALLEST_EPS:
            raise ValueError(
                f"{kind} has eps {arguments.get('eps', 1e-8):g}, which float16 cannot tell from 0: "
                f"its steps would become NaN; give eps of {SMALLEST_EPS:g} or more"
            )
        extra = dict.fromkeys(_STATES[kind], torch.float32)
        extra["loss_scaling"] = LOSS_SCALING
    return getattr(poptorch.optim, kind)(parameters, **arguments, **extra)


class BatchFirst(torch.nn.Module):
    """A step whose frames come as ``(B, T, *)``: PopTorch splits axis 0 into micro batches."""

    def __init__(self, step: TrainingStep) -> None:
        super().__init__()
        self.step = step

    def forward(self, frames: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return spike counts and the loss."""
        result: tuple[Tensor, Tensor] = self.step(frames.transpose(0, 1), targets)
        return result
