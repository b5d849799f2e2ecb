"""The tasks in spyx, a library on JAX: each step is one compiled program, its loop a scan.

XLA has threads of its own, as many as there are cores: it is compared where torch takes all too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tests.benchmarks.neurons.libraries import BETA
from tests.benchmarks.neurons.timing import Step

NAME = "spyx, jitted"


def _take_all_cores() -> None:
    """Refuse a comparison that would not be one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if torch.get_num_threads() != cores:
        raise ImportError(f"it takes all {cores} cores, the others {torch.get_num_threads()}")


def layer_step(cur: Tensor, grad: Tensor) -> Step:
    """Return forward and backward of one layer of neurons."""
    _take_all_cores()
    import jax
    from flax import nnx
    from spyx import axn
    from spyx import nn as spyx

    neuron = spyx.LIF(cur.shape[2:], BETA, activation=axn.arctan(), rngs=nnx.Rngs(0))
    x, upstream = (jax.numpy.asarray(tensor.numpy()) for tensor in (cur, grad))

    def loss(x: Any) -> Any:
        spk, _ = spyx.run(neuron, x)
        return (spk * upstream).sum(), spk[-1].mean()

    gradient = jax.jit(jax.grad(loss, has_aux=True))

    def once() -> float:
        d_x, rate = gradient(x)
        d_x.block_until_ready()
        return float(rate)

    return once


def network_step(
    frames: Tensor, labels: Tensor, linears: Sequence[nn.Linear], recurrent: nn.Linear | None = None
) -> Step:
    """Return a training step: layers of neurons, the first with a recurrence if there is one."""
    _take_all_cores()
    import jax
    import optax
    from flax import nnx
    from spyx import axn
    from spyx import nn as spyx

    def array(tensor: Tensor) -> Any:
        return jax.numpy.asarray(tensor.detach().numpy())

    layers: list[Any] = []
    for linear in linears:
        dense = nnx.Linear(linear.in_features, linear.out_features, rngs=nnx.Rngs(0))
        dense.kernel[...], dense.bias[...] = array(linear.weight.t()), array(linear.bias)
        kind = spyx.LIF if layers or recurrent is None else spyx.RLIF
        shape = (linear.out_features,)
        neuron = kind(shape, BETA, activation=axn.arctan(), rngs=nnx.Rngs(0))
        if kind is spyx.RLIF and recurrent is not None:
            neuron.recurrent_w[...] = array(recurrent.weight.t())
        layers += [dense, neuron]
    graph, variables = nnx.split(spyx.Sequential(*layers))
    found, structure = jax.tree.flatten(variables)
    # Of a type that an update does not change: it would be compiled anew.
    weights = [jax.lax.convert_element_type(weight, weight.dtype) for weight in found]
    optimizer = optax.adam(1e-8)
    x, y = array(frames), array(labels)

    def loss(weights: Any) -> Any:
        net = nnx.merge(graph, jax.tree.unflatten(structure, weights))
        spk, _ = spyx.run(net, x)
        return optax.softmax_cross_entropy_with_integer_labels(spk.sum(0), y).mean()

    @jax.jit
    def step(weights: Any, state: Any) -> tuple[Any, Any, Any]:
        value, gradients = jax.value_and_grad(loss)(weights)
        updates, state = optimizer.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state, value

    return _stepping(step, weights, optimizer.init(weights))


def _stepping(step: Callable[[Any, Any], tuple[Any, Any, Any]], weights: Any, state: Any) -> Step:
    def once() -> float:
        nonlocal weights, state
        weights, state, value = step(weights, state)
        return float(value)

    return once
