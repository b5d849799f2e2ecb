"""The functions beneath the metrics, under one name as in torchmetrics."""

from snnplug.metrics.dead_neurons import dead_neurons as dead_neurons
from snnplug.metrics.energy import energy as energy
from snnplug.metrics.firing_rate import activation_sparsity as activation_sparsity
from snnplug.metrics.firing_rate import firing_rate as firing_rate
from snnplug.metrics.latency_to_decision import latency_to_decision as latency_to_decision
from snnplug.metrics.saturated_neurons import saturated_neurons as saturated_neurons
from snnplug.metrics.synaptic_operations import spikes_per_synapse as spikes_per_synapse
from snnplug.metrics.synaptic_operations import synaptic_operations as synaptic_operations
