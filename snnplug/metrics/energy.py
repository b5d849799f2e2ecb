"""Energy per inference on a hardware target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snnplug.errors import MeasurementError
from snnplug.hardware.activity import Activity
from snnplug.hardware.target import Target, load_target
from snnplug.metrics.activity_metric import ActivityMetric


def energy(activity: Activity, target: str | Path | Target = "yin2017-28nm") -> Tensor:
    """Return the energy of an inference on a target, in nJ.

    Args:
        activity: What :func:`snnplug.measure` counted.
        target: Name of a packaged target, path of a TOML file, or a target.

    Shape:
        - output: scalar, float64

    Raises:
        TargetError: There is no such target.
        MeasurementError: The activity holds no sample, or the target has no figure for energy.

    Hardware: the bill's ``energy_nj``; its band and its parts are in ``target.price(activity)``.

    Example:
        >>> from snnplug.hardware.activity import SynapticLayer
        >>> from snnplug.hardware.operand import BINARY
        >>> fc = SynapticLayer("fc", "Linear", 4, 3, 12, 12, 10, 20, 60, BINARY)
        >>> energy(Activity(5, (fc,)), "loihi-2018") > 0
        tensor(True)

    Reference:
        The statement of the target.
    """
    chosen = load_target(target)
    price = chosen.price(activity).energy_nj
    if price is None:
        raise MeasurementError(
            f"{chosen.name} has no figure for energy; `snnplug targets` lists what others have"
        )
    return torch.tensor(price, dtype=torch.float64)


class Energy(ActivityMetric):
    """Energy of an inference on a target, in nJ; see :func:`energy`.

    Args:
        target: Name of a packaged target, path of a TOML file, or a target.
        **kwargs: Of torchmetrics' Metric.

    Shape:
        - update: an :class:`~snnplug.hardware.activity.Activity`

    Raises:
        TargetError: There is no such target.
        MeasurementError: Nothing was added, or the target has no figure for energy.

    Hardware: the bill's ``energy_nj``; its band and its parts are in
    ``target.price(metric.activity())``.

    Example:
        >>> from snnplug.hardware.activity import SynapticLayer
        >>> from snnplug.hardware.operand import BINARY
        >>> fc = SynapticLayer("fc", "Linear", 4, 3, 12, 12, 10, 20, 60, BINARY)
        >>> metric = Energy("loihi-2018")
        >>> metric.update(Activity(5, (fc,)))
        >>> metric.compute() > 0
        tensor(True)

    Reference:
        As :func:`energy`.
    """

    def __init__(self, target: str | Path | Target = "yin2017-28nm", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target = load_target(target)

    def compute(self) -> Tensor:
        """Return it, in nJ."""
        return energy(self.activity(), self.target)
