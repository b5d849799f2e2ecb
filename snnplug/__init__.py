"""snnplug: train snnTorch networks on event data and see, every epoch, what they cost on hardware.

Importing this package imports neither torch nor lightning; each name below loads its module when
it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from snnplug import backends as backends
    from snnplug.callbacks.energy_penalty import EnergyPenalty as EnergyPenalty
    from snnplug.callbacks.hardware_target import HardwareTarget as HardwareTarget
    from snnplug.cli.launch import launch as launch
    from snnplug.hardware.activity import Activity as Activity
    from snnplug.hardware.activity_file import load_activity as load_activity
    from snnplug.hardware.activity_file import save_activity as save_activity
    from snnplug.hardware.comparison import compare as compare
    from snnplug.hardware.counting import measure as measure
    from snnplug.hardware.energy_meter import EnergyMeter as EnergyMeter
    from snnplug.hardware.exploration import explore as explore
    from snnplug.hardware.integer_network import to_integers as to_integers
    from snnplug.hardware.quantisation import quantise as quantise
    from snnplug.hardware.report import EnergyReport as EnergyReport
    from snnplug.hardware.simulator import simulate as simulate
    from snnplug.hardware.target import load_target as load_target
    from snnplug.layers.convert import convert as convert
    from snnplug.layers.population_readout import PopulationReadout as PopulationReadout
    from snnplug.layers.sequential import SpikingSequential as SpikingSequential
    from snnplug.layers.spike_conv2d import SpikeConv2d as SpikeConv2d
    from snnplug.layers.spike_linear import SpikeLinear as SpikeLinear
    from snnplug.layers.stepper import Stepper as Stepper
    from snnplug.learning.spike_train_conv2d import SpikeTrainConv2d as SpikeTrainConv2d
    from snnplug.learning.spike_train_conv2d import SpikeTrainPool2d as SpikeTrainPool2d
    from snnplug.learning.spike_train_linear import SpikeTrainLinear as SpikeTrainLinear
    from snnplug.learning.spike_train_recurrent import SpikeTrainRecurrent as SpikeTrainRecurrent
    from snnplug.neurons.base import reset as reset
    from snnplug.neurons.continuous_if import ContinuousIF as ContinuousIF
    from snnplug.neurons.discontinuous_if import DiscontinuousIF as DiscontinuousIF
    from snnplug.neurons.leaky import Leaky as Leaky
    from snnplug.neurons.learnable_lif import LearnableLIF as LearnableLIF
    from snnplug.neurons.rleaky import RLeaky as RLeaky
    from snnplug.neurons.rsynaptic import RSynaptic as RSynaptic
    from snnplug.neurons.synaptic import Synaptic as Synaptic
    from snnplug.surrogate import Atan as Atan
    from snnplug.surrogate import FastSigmoid as FastSigmoid
    from snnplug.surrogate import Gaussian as Gaussian
    from snnplug.surrogate import HardFire as HardFire
    from snnplug.surrogate import MultiGaussian as MultiGaussian
    from snnplug.surrogate import Rectangular as Rectangular
    from snnplug.surrogate import Sigmoid as Sigmoid
    from snnplug.surrogate import SparseFastSigmoid as SparseFastSigmoid
    from snnplug.surrogate import StraightThrough as StraightThrough
    from snnplug.surrogate import Triangular as Triangular
    from snnplug.training.classifier import SpikingClassifier as SpikingClassifier
    from snnplug.training.energy_budget import EnergyBudget as EnergyBudget

_HOME = {
    "Activity": "hardware.activity",
    "Atan": "surrogate",
    "ContinuousIF": "neurons.continuous_if",
    "DiscontinuousIF": "neurons.discontinuous_if",
    "EnergyBudget": "training.energy_budget",
    "EnergyMeter": "hardware.energy_meter",
    "EnergyPenalty": "callbacks.energy_penalty",
    "EnergyReport": "hardware.report",
    "FastSigmoid": "surrogate",
    "Gaussian": "surrogate",
    "HardFire": "surrogate",
    "HardwareTarget": "callbacks.hardware_target",
    "Leaky": "neurons.leaky",
    "LearnableLIF": "neurons.learnable_lif",
    "MultiGaussian": "surrogate",
    "PopulationReadout": "layers.population_readout",
    "RLeaky": "neurons.rleaky",
    "RSynaptic": "neurons.rsynaptic",
    "Rectangular": "surrogate",
    "Sigmoid": "surrogate",
    "SparseFastSigmoid": "surrogate",
    "SpikeConv2d": "layers.spike_conv2d",
    "SpikeLinear": "layers.spike_linear",
    "SpikeTrainConv2d": "learning.spike_train_conv2d",
    "SpikeTrainLinear": "learning.spike_train_linear",
    "SpikeTrainPool2d": "learning.spike_train_conv2d",
    "SpikeTrainRecurrent": "learning.spike_train_recurrent",
    "SpikingClassifier": "training.classifier",
    "SpikingSequential": "layers.sequential",
    "Stepper": "layers.stepper",
    "StraightThrough": "surrogate",
    "Synaptic": "neurons.synaptic",
    "Triangular": "surrogate",
    "compare": "hardware.comparison",
    "convert": "layers.convert",
    "explore": "hardware.exploration",
    "launch": "cli.launch",
    "load_activity": "hardware.activity_file",
    "load_target": "hardware.target",
    "measure": "hardware.counting",
    "quantise": "hardware.quantisation",
    "reset": "neurons.base",
    "save_activity": "hardware.activity_file",
    "simulate": "hardware.simulator",
    "to_integers": "hardware.integer_network",
}

__all__ = ["__version__", "backends", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("snnplug")
    if name == "backends":
        return import_module("snnplug.backends")
    if name not in _HOME:
        raise AttributeError(f"module 'snnplug' has no attribute {name!r}")
    return getattr(import_module(f"snnplug.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
