"""The rules per synapse and per sample, one step after the other: what tests compare with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from snnplug.kernels.spike_train import SpikeTrainDynamics


@dataclass
class Run:
    """What neurons did on one sample: spikes and membranes before the reset, ``(T, N)``."""

    spk: Tensor
    mem: Tensor


def run(x: Tensor, weight: Tensor, d: SpikeTrainDynamics, recurrent: Tensor | None = None) -> Run:
    """Step neurons through one sample ``(T, inputs)``, in the words of the authors' equations."""
    steps, size = len(x), len(weight)
    spk, mem = torch.zeros(steps, size, dtype=x.dtype), torch.zeros(steps, size, dtype=x.dtype)
    for i in range(size):
        spk[0, i] = 0
    u, p, counter = [0.0] * size, [0.0] * size, [0] * size
    for t in range(1, steps):
        for i in range(size):
            p[i] -= p[i] / d.tau_syn_steps
            u[i] -= u[i] / d.tau_mem_steps
            p[i] += float((weight[i] * x[t - 1]).sum())
            for k in range(size):
                if recurrent is not None:
                    p[i] += float(recurrent[i, k] * spk[t - 1, k])
                if k != i:
                    p[i] -= d.inhibition * float(spk[t - 1, k])
            u[i] += p[i] / d.tau_syn_steps
            if counter[i]:
                u[i], counter[i] = 0.0, counter[i] - 1
            mem[t, i] = u[i]
            if u[i] > d.threshold - 1e-6:
                spk[t, i], u[i], counter[i] = 1.0, 0.0, d.refractory_steps
    return Run(spk, mem)


def effect(sender: Tensor, receiver: Tensor, d: SpikeTrainDynamics) -> float:
    """Return e of one train on another, both ``(T,)``: the potential of one unit synapse."""
    p = q = total = 0.0
    counter = 0
    for t in range(len(sender)):
        p -= p / d.tau_syn_steps
        q -= q / d.tau_mem_steps
        if t == 0:
            continue
        p += float(sender[t - 1])
        q += p / d.tau_syn_steps
        if counter:
            q, counter = 0.0, counter - 1
        if receiver[t]:
            total, q, counter = total + q, 0.0, d.refractory_steps
    return total


def effects(senders: Tensor, receivers: Tensor, d: SpikeTrainDynamics) -> Tensor:
    """Return e of each of ``(T, M)`` on each of ``(T, N)``: ``(N, M)``."""
    rows = [
        [effect(senders[:, j], receivers[:, i], d) for j in range(senders.shape[1])]
        for i in range(receivers.shape[1])
    ]
    return torch.tensor(rows, dtype=senders.dtype)


@dataclass
class Gradients:
    """Of one layer and one sample."""

    weight: Tensor
    inputs: Tensor


def hm2bp(
    x: Tensor,
    weight: Tensor,
    error: Tensor,
    d: SpikeTrainDynamics,
    revived: int,
    dead_effect: float = 0.1,
    dead_ratio: float = 1.0,
) -> Gradients:
    """Return the gradients of HM2-BP, pair by pair, for the error of each neuron's count."""
    spk = run(x, weight, d).spk
    size, inputs = weight.shape
    if revived:
        for i in range(size):
            if spk[:, i].sum() == 0 and error[i] < 0:
                every = len(x) // revived
                spk[every::every, i] = 1
    e, within = effects(x, spk, d), effects(spk, spk, d)
    o_in, o = x.sum(0), spk.sum(0)
    grad, passed = torch.zeros_like(weight), torch.zeros(inputs, dtype=x.dtype)
    for i in range(size):
        delta = error[i] / d.threshold
        own = sum(weight[i, k] * (e[i, k] / o[i] if o[i] else 0.5) for k in range(inputs))
        coupling = 0.0
        for k in range(size):
            wanted = (o[i] > 0 or error[i] < 0) and (o[k] > 0 or error[k] < 0)
            if k == i or not wanted:
                continue
            silent = o[i] == 0 or o[k] == 0
            there = dead_ratio if silent else within[k, i] / o[i]
            back = dead_ratio if silent else within[i, k] / o[k]
            coupling += there * back / d.threshold**2
        lateral = 1 / (1 - d.inhibition**2 * coupling)
        for j in range(inputs):
            either = o[i] == 0 or o_in[j] == 0
            pair = dead_effect if o[i] == 0 and o_in[j] > 0 else e[i, j]
            grad[i, j] = delta * pair * (1 + own / d.threshold) * lateral
            passed[j] += delta * weight[i, j] * (dead_ratio if either else e[i, j] / o_in[j])
    return Gradients(grad, passed)
