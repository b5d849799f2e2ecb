"""torchmetrics classes over spikes and activities; each has a function of the same name beneath."""

from snnplug.metrics.dead_neurons import DeadNeurons as DeadNeurons
from snnplug.metrics.energy import Energy as Energy
from snnplug.metrics.firing_rate import ActivationSparsity as ActivationSparsity
from snnplug.metrics.firing_rate import FiringRate as FiringRate
from snnplug.metrics.latency_to_decision import LatencyToDecision as LatencyToDecision
from snnplug.metrics.saturated_neurons import SaturatedNeurons as SaturatedNeurons
from snnplug.metrics.synaptic_operations import SpikesPerSynapse as SpikesPerSynapse
from snnplug.metrics.synaptic_operations import SynapticOperations as SynapticOperations
