"""A layer of the spike-train rules as two operators of torch, for a compiler to call.

A compiler cannot look into the kernels, nor keep trains as bits, whose form depends on their
values: it keeps what goes in and comes out. The numbers are those of the ``autograd.Function``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from snnplug.kernels.operator import operator
from snnplug.kernels.spike_train import SpikeTrainDynamics
from snnplug.kernels.trains import SpikeTrains
from snnplug.learning.function import Backward, Layer, forward, mean_over_time
from snnplug.learning.rules import HM2BP, STRSBP, Rule
from snnplug.learning.synapses import Convolution, Dense, Synapses


def numbers_of(layer: Layer) -> list[float]:
    """Return what a layer is as numbers, which is what an operator takes beside tensors.

    Its rule has to be HM2-BP or ST-RSBP, whatever its constants.
    """
    d, rule, synapses = layer.dynamics, layer.rule, layer.synapses
    found = [d.threshold, d.tau_mem_steps, d.tau_syn_steps]
    found += [float(d.refractory_steps), d.inhibition, float(layer.revived_spikes)]
    found += [0.0 if isinstance(rule, HM2BP) else 1.0, rule.silent_effect, rule.silent_ratio]
    found += [rule.silent_own_ratio if isinstance(rule, HM2BP) else 0.0]
    if isinstance(synapses, Convolution):
        sizes = [*synapses.in_shape, *synapses.out_shape, *synapses.stride, *synapses.padding]
        found += [float(size) for size in sizes]
    return found


def layer_of(numbers: list[float]) -> Layer:
    """Return the layer of :func:`numbers_of`."""
    threshold, tau_mem, tau_syn, refractory, inhibition, revived = numbers[:6]
    dynamics = SpikeTrainDynamics(threshold, tau_mem, tau_syn, int(refractory), inhibition)
    kind, effect, ratio, own = numbers[6:10]
    rule: Rule = HM2BP(effect, ratio, own) if kind == 0 else STRSBP(effect, ratio)
    synapses: Synapses = Dense()
    if sizes := [int(n) for n in numbers[10:]]:
        i, o = sizes[:3], sizes[3:6]
        synapses = Convolution(
            (i[0], i[1], i[2]), (o[0], o[1], o[2]), (sizes[6], sizes[7]), (sizes[8], sizes[9])
        )
    return Layer(synapses, dynamics, rule, int(revived))


@operator("snnplug::spike_train")
def spike_train(
    x: Tensor, weight: Tensor, recurrent: Tensor | None, numbers: list[float]
) -> tuple[Tensor, Tensor]:
    """Return the spikes ``(T, B, N)``, and the sum of the membranes at them, ``(B, N)``."""
    return forward(SpikeTrains(x.contiguous()), weight, recurrent, layer_of(numbers))


@operator("snnplug::spike_train_backward")
def spike_train_backward(
    error: Tensor,
    potential: Tensor,
    x: Tensor,
    spk: Tensor,
    weight: Tensor,
    recurrent: Tensor | None,
    numbers: list[float],
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of inputs ``(B, inputs)`` and weights; without a value if not wanted."""
    trains, fired = SpikeTrains(x.contiguous()), SpikeTrains(spk)
    backward = Backward(layer_of(numbers), trains, fired, weight, recurrent)
    found = backward(error, potential, len(x), (wanted[0], wanted[1], wanted[2]))
    of_x, of_weight, of_recurrent = (
        error.new_empty(0) if gradient is None else gradient.contiguous() for gradient in found
    )
    return of_x, of_weight, of_recurrent


def _fake(
    x: Tensor, weight: Tensor, recurrent: Tensor | None, numbers: list[float]
) -> tuple[Tensor, Tensor]:
    first = layer_of(numbers).synapses.apply(x[0], weight)
    return first.new_empty(x.shape[0], *first.shape), torch.empty_like(first)


def _fake_backward(
    error: Tensor,
    potential: Tensor,
    x: Tensor,
    spk: Tensor,
    weight: Tensor,
    recurrent: Tensor | None,
    numbers: list[float],
    wanted: list[bool],
) -> tuple[Tensor, ...]:
    like = x[0], weight, weight if recurrent is None else recurrent
    return tuple(
        error.new_empty(g.shape if wants else (0,)) for g, wants in zip(like, wanted, strict=True)
    )


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, weight, recurrent, ctx.numbers = inputs
    ctx.save_for_backward(x, weight, recurrent, *output)
    ctx.set_materialize_grads(False)


def _vjp(ctx: Any, grad: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return None, None, None, None
    x, weight, recurrent, spk, potential = ctx.saved_tensors
    wanted = [bool(needs) for needs in ctx.needs_input_grad[:3]]
    found = spike_train_backward(
        mean_over_time(grad), potential, x, spk, weight, recurrent, ctx.numbers, wanted
    )
    of_x, *others = (g if wants else None for g, wants in zip(found, wanted, strict=True))
    return None if of_x is None else of_x.expand_as(x), *others, None


spike_train.register_fake(_fake)
spike_train.register_autograd(_vjp, _keep)
spike_train_backward.register_fake(_fake_backward)
