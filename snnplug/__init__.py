"""snnplug: train snnTorch networks on event data and see, every epoch, what they cost on hardware.

Importing this package imports neither torch nor lightning; each name below loads its module when
it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from snnplug.callbacks.hardware_target import HardwareTarget as HardwareTarget
    from snnplug.hardware.activity import Activity as Activity
    from snnplug.hardware.counting import measure as measure
    from snnplug.hardware.report import EnergyReport as EnergyReport
    from snnplug.hardware.target import load_target as load_target
    from snnplug.layers.sequential import SpikingSequential as SpikingSequential
    from snnplug.neurons.base import reset as reset
    from snnplug.neurons.continuous_if import ContinuousIF as ContinuousIF
    from snnplug.neurons.discontinuous_if import DiscontinuousIF as DiscontinuousIF
    from snnplug.surrogate import HardFire as HardFire
    from snnplug.training.classifier import SpikingClassifier as SpikingClassifier

_HOME = {
    "Activity": "hardware.activity",
    "ContinuousIF": "neurons.continuous_if",
    "DiscontinuousIF": "neurons.discontinuous_if",
    "EnergyReport": "hardware.report",
    "HardFire": "surrogate",
    "HardwareTarget": "callbacks.hardware_target",
    "SpikingClassifier": "training.classifier",
    "SpikingSequential": "layers.sequential",
    "load_target": "hardware.target",
    "measure": "hardware.counting",
    "reset": "neurons.base",
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("snnplug")
    if name not in _HOME:
        raise AttributeError(f"module 'snnplug' has no attribute {name!r}")
    return getattr(import_module(f"snnplug.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
