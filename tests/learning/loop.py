"""HM2-BP one sample at a time, with a state per synapse: what batched kernels are timed against."""

from __future__ import annotations

import torch
from torch import Tensor

from snnplug.kernels.spike_train import SpikeTrainDynamics


def train_step(
    x: Tensor, weights: list[Tensor], layers: list[SpikeTrainDynamics], wanted: Tensor
) -> list[Tensor]:
    """Return the gradients of half the squared distance of counts, summed over samples.

    Args:
        x: ``(T, B, inputs)``.
        weights: Of each layer, ``(outputs, inputs)``.
        layers: Dynamics of each; no lateral inhibition.
        wanted: Counts of the output neurons, ``(B, outputs)``.
    """
    grads = [torch.zeros_like(w) for w in weights]
    for b in range(x.shape[1]):
        trains, effects = [x[:, b]], []
        for weight, d in zip(weights, layers, strict=True):
            spk, e = _forward(trains[-1], weight, d)
            trains.append(spk)
            effects.append(e)
        error = trains[-1].sum(0) - wanted[b]
        for k in reversed(range(len(weights))):
            o_in, o, d = trains[k].sum(0), trains[k + 1].sum(0), layers[k]
            silent, dead = (o == 0).unsqueeze(1), o_in == 0
            e = torch.where(silent & ~dead, 0.1, effects[k])
            own = torch.where(silent, 0.5, effects[k] / o.clamp(min=1).unsqueeze(1))
            factor = 1 + (weights[k] * own).sum(1) / d.threshold
            delta = error / d.threshold
            grads[k] += (delta * factor).unsqueeze(1) * e
            ratio = torch.where(silent | dead, 1.0, effects[k] / o_in.clamp(min=1))
            error = delta @ (weights[k] * ratio)
    return grads


def _forward(x: Tensor, weight: Tensor, d: SpikeTrainDynamics) -> tuple[Tensor, Tensor]:
    """Return the spikes of one sample and the effect of each input on each neuron."""
    outputs, inputs = weight.shape
    spk, effects = x.new_zeros(len(x), outputs), torch.zeros_like(weight)
    syn, mem, rest = (x.new_zeros(outputs) for _ in range(3))
    p, q = x.new_zeros(inputs), torch.zeros_like(weight)
    for t in range(1, len(x)):
        syn = syn * d.decay_syn + weight @ x[t - 1]
        mem = mem * d.decay_mem + syn / d.tau_syn_steps
        p = p * d.decay_syn + x[t - 1]
        q = q * d.decay_mem + p / d.tau_syn_steps
        held = rest > 0
        mem, q = mem.masked_fill(held, 0.0), q.masked_fill(held.unsqueeze(1), 0.0)
        rest = (rest - 1).clamp(min=0)
        fired = mem > d.limit
        effects += q * fired.unsqueeze(1)
        spk[t] = fired
        mem, q = mem.masked_fill(fired, 0.0), q.masked_fill(fired.unsqueeze(1), 0.0)
        rest = rest.masked_fill(fired, d.refractory_steps)
    return spk, effects
