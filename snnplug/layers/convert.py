"""From a snnTorch network to the same network over whole sequences, proved on a sample."""

from __future__ import annotations

import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable
from inspect import getclosurevars
from typing import Any

import snntorch as snn
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from snnplug.errors import ArgumentError
from snnplug.layers.sequential import SpikingSequential
from snnplug.layers.tracing import Link, is_flattened, trace, untouched
from snnplug.neurons.base import SequenceNeuron, reset
from snnplug.neurons.leaky import Leaky
from snnplug.neurons.rleaky import RLeaky
from snnplug.neurons.rsynaptic import RSynaptic
from snnplug.neurons.synaptic import Synaptic
from snnplug.surrogate import Atan, FastSigmoid, StraightThrough, Surrogate

_COUNTERPARTS: dict[type, Callable[..., SequenceNeuron]] = {
    snn.Leaky: Leaky,
    snn.RLeaky: RLeaky,
    snn.RSynaptic: RSynaptic,
    snn.Synaptic: Synaptic,
}
#: snnTorch's surrogates are closures; ours of the same equation, which the native kernels know.
_SURROGATES: dict[str, Callable[..., Surrogate]] = {
    "atan.<locals>.inner": Atan,
    "fast_sigmoid.<locals>.inner": FastSigmoid,
    "straight_through_estimator.<locals>.inner": StraightThrough,
}
#: What the proof allows between two orders of summation, in units of the dtype's epsilon and of
#: the largest value: 1.2e-5 in float32, where a sum of 10^4 terms strays by about 1e-5.
_ROUNDING = 100.0


def convert(net: nn.Module, example: Tensor) -> SpikingSequential:
    r"""Turn a snnTorch network into a :class:`SpikingSequential`, and prove that it is the same.

    Two forms are understood:

    - a ``nn.Sequential``, nested or not, of stateless layers and of neurons with
      ``init_hidden=True``, which takes one time step per call;
    - a module whose ``forward`` holds the loop over ``num_steps``, calls its layers in a chain, and
      returns the stacked output of the last one, alone or first in a tuple as in
      ``return torch.stack(spk_rec), torch.stack(mem_rec)``.

    ``snntorch.Leaky``, ``RLeaky``, ``Synaptic`` and ``RSynaptic`` become ours; our own neurons and
    the stateless layers are taken as they are. Parameters are shared, not copied: the optimiser of
    ``net`` goes on training the result, and what one learns the other has. Layers keep their names,
    with ``_`` for ``.``, so an unnested network keeps the keys of its ``state_dict``. The shared
    layers also share their train or eval mode.

    The proof: in eval mode, each layer is given, over all steps at once, the inputs that it had in
    the loop. Neurons have to give the same spikes, bit for bit. Stateless layers and products with
    recurrent weights have to give the same output to the rounding of another order of summation:
    100 times the epsilon of the dtype, relative to the largest value; so have the gradients of
    every layer's input and parameters, against the graph of the loop itself. In the whole network
    a membrane may lie so near its threshold that this rounding decides about a spike; the output
    spikes of the example that differ are counted in a warning. A neuron that never fires in the
    example is named in a warning too: its reset is not proved.

    The network is left as it was: mode, hidden state, hooks, random numbers. What an example does
    not show, such as a branch that is never taken, is not proved.

    Args:
        net: The network.
        example: What the result will be given, ``(T, B, *)`` with T >= 2; for a network with its
            own loop, what its ``forward`` takes: ``(T, B, *)``, or ``(B, *)`` if each step gets the
            same input. Random spikes do, if they make the neurons fire.

    Returns:
        The network over ``(T, B, *)``. It returns the output of the last layer, ``(T, B, *)``, and
        no membranes. A network that repeated a static input takes ``x.expand(T, *x.shape)``.

    Raises:
        ArgumentError: The network is no such chain, or a layer cannot be converted or gives
            something else; the message names it and says what to do.

    Hardware: each layer is counted under its name, as in :class:`SpikingSequential`.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Linear(4, 3), snn.Leaky(beta=0.9, init_hidden=True))
        >>> fast = convert(net, 4 * torch.rand(10, 2, 4))
        >>> fast[1]
        Leaky(threshold=1, spike_grad=Atan(alpha=2.0), beta=0.9, ...)
        >>> fast[0].weight is net[0].weight
        True
    """
    if example.dim() < 2 or example.shape[0] == 0:
        raise ArgumentError(f"example has the shape {tuple(example.shape)}; give (T, B, *), T >= 2")
    with untouched(net), warnings.catch_warnings(), torch.enable_grad():
        warnings.filterwarnings("ignore", "Inhibition is an unstable feature")
        net.eval()
        reset(net)
        # A copy that asks for a gradient: the proof follows the graph of the loop itself.
        sample = example.detach().clone()
        sample.requires_grad_(sample.is_floating_point())
        if isinstance(net, nn.Sequential):
            links, result = trace(net, lambda: [net(now) for now in sample], len(sample))
        else:
            links, result = trace(net, lambda: net(sample))
        prepared, flattened = _first_input(links[0], sample)
        _check_result(links[-1], result)
        layers: dict[str, nn.Module] = {"flatten": nn.Flatten()} if flattened else {}
        runs = Counter(link.name for link in links)
        for link in links:
            if link.flattened:
                layers[_unused(f"{link.name}_flatten", layers)] = nn.Flatten()
            new = _counterpart(link)
            # Weights used twice in a step have gradients of both uses.
            learned = [p for p in link.module.parameters() if p.requires_grad]
            _prove(link, new, learned if runs[link.name] == 1 else [])
            layers[_unused(link.name, layers)] = new
        converted = SpikingSequential(OrderedDict(layers))
        out = converted(prepared).detach()
    converted.training = net.training
    own = set(net.modules())
    for layer in converted:
        if layer not in own:
            layer.train(net.training)
    silent = [x.name for x in links if _is_neuron(x.module) and not torch.stack(x.outputs).any()]
    if silent:
        warnings.warn(
            f"never fired in the example, so their resets are not proved: {', '.join(silent)}; "
            "give an example that makes them fire",
            stacklevel=2,
        )
    differing = int((out != torch.stack(links[-1].outputs)).sum())
    if differing and _is_neuron(links[-1].module):
        warnings.warn(
            f"{differing} of {out.numel()} output spikes of the example differ: membranes within "
            "rounding of their threshold; every layer by itself gives the same",
            stacklevel=2,
        )
    return converted


def _is_neuron(module: nn.Module) -> bool:
    return isinstance(module, snn.SpikingNeuron)


def _first_input(link: Link, example: Tensor) -> tuple[Tensor, bool]:
    """Return the example as the result will be given it, and whether each step is flattened."""
    num_steps = len(link.inputs)
    sequence = example if len(example) == num_steps else example.expand(num_steps, *example.shape)
    for steps in (sequence, example.expand(num_steps, *example.shape)):
        for flattened in (False, True):
            if all(
                is_flattened(a, b) if flattened else a.shape == b.shape and torch.equal(a, b)
                for a, b in zip(steps, link.inputs, strict=True)
            ):
                return steps, flattened
    raise ArgumentError(
        f"{link.name}, the first layer, gets {tuple(link.inputs[0].shape)}, which is neither the "
        f"example, {tuple(example.shape)}, nor its time step; time is the first axis, and what "
        "happens to the input has to happen before the network, or in a layer of it"
    )


def _check_result(link: Link, result: Any) -> None:
    """Refuse a network that returns something else than the output of its last layer over time."""
    if isinstance(result, tuple):
        result = result[0]
    if isinstance(result, list):
        pieces = [piece[0] if isinstance(piece, tuple) else piece for piece in result]
        same = all(isinstance(piece, Tensor) for piece in pieces) and len(pieces) > 0
        result = torch.stack(pieces) if same else None
    outputs = torch.stack(link.outputs)
    if not isinstance(result, Tensor) or not torch.equal(result, outputs):
        shape = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
        raise ArgumentError(
            f"the network returns {shape}, not the output of its last layer, {link.name}, over "
            f"time, {tuple(outputs.shape)}; return torch.stack(spk_rec), and do the rest outside"
        )


def _unused(name: str, layers: dict[str, nn.Module]) -> str:
    """Return a name for nn.Sequential: without dots, and numbered if a layer comes again."""
    name = name.replace(".", "_")
    taken, number = name, 2
    while taken in layers:
        taken, number = f"{name}_{number}", number + 1
    return taken


def _counterpart(link: Link) -> nn.Module:
    """Return what stands for a layer in the result; a stateless layer stands for itself."""
    old: Any = link.module
    if isinstance(old, _BatchNorm):
        raise ArgumentError(
            f"{link.name} is a {type(old).__name__}: over all steps at once it trains on other "
            "statistics; fold it into the layer before it with torch.nn.utils.fusion, or build a "
            "SpikingSequential by hand if statistics over all steps are what you want"
        )
    if isinstance(old, SequenceNeuron) or not isinstance(old, snn.SpikingNeuron):
        return link.module
    if type(old) not in _COUNTERPARTS:
        known = ", ".join(kind.__name__ for kind in _COUNTERPARTS)
        raise ArgumentError(
            f"{link.name} is a {type(old).__module__}.{type(old).__name__}; convert takes "
            f"snnTorch's {known}, and ours. Build a SpikingSequential by hand, which steps any "
            "other through time"
        )
    arguments: dict[str, Any] = {
        name: getattr(old, name)
        for name in ("surrogate_disable", "inhibition", "state_quant", "reset_delay")
    }
    decays = {name: 0.0 for name in ("alpha", "beta") if hasattr(old, name)}
    if hasattr(old, "all_to_all"):
        fields = ("all_to_all", "linear_features", "conv2d_channels", "kernel_size")
        arguments |= {name: getattr(old, name) for name in fields}
    new = _COUNTERPARTS[type(old)](
        **decays,
        **arguments,
        spike_grad=_surrogate(old.spike_grad),
        reset_mechanism=old._reset_mechanism,
    )
    _share(old, new)
    return new


def _surrogate(spike_grad: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return ours of the same equation, or the function itself."""
    kind = _SURROGATES.get(getattr(spike_grad, "__qualname__", ""))
    if kind is None or spike_grad.__module__ != "snntorch.surrogate":
        return spike_grad
    return kind(*(float(value) for value in getclosurevars(spike_grad).nonlocals.values()))


def _share(old: Any, new: nn.Module) -> None:
    """Make the parameters, constants and recurrent weights of ``old`` those of ``new`` too."""
    if getattr(old, "all_to_all", False):
        new.recurrent = old.recurrent
    for name in ("alpha", "beta", "threshold", "graded_spikes_factor", "V"):
        if name in new._parameters or name in new._buffers:
            delattr(new, name)
            value = getattr(old, name)
            if isinstance(value, nn.Parameter):
                new.register_parameter(name, value)
            else:
                new.register_buffer(name, value)


def _prove(link: Link, new: nn.Module, learned: list[nn.Parameter]) -> None:
    """Refuse a layer whose output or gradient over all steps at once is not that of the loop."""
    old = link.module
    x = torch.stack(link.inputs).detach()
    x.requires_grad_(x.is_floating_point())
    expected = torch.stack(link.outputs)
    try:
        found = SpikingSequential(new)(x.clone())
    except RuntimeError as error:
        raise ArgumentError(
            f"{link.name} ({type(old).__name__}) cannot run over all time steps at once: {error}"
        ) from error
    # A product with recurrent weights may be summed in another order, as any layer's.
    exact = _is_neuron(old) and not getattr(old, "all_to_all", False)
    if not (torch.equal(found, expected) if exact else _near(found, expected)):
        raise ArgumentError(
            f"{link.name} ({type(old).__name__}) gives another output over all time steps at once "
            "than in the loop. A stateless layer must treat each time step and sample by itself, "
            "and draw nothing at random in eval mode. A neuron must start from rest and be handed "
            "its own state, keep the reset_mechanism of its constructor, and have a state_quant "
            "that leaves a quantised value as it is"
        )
    inputs = [now for now in link.inputs if now.requires_grad]
    wanted = _gradients(link.outputs, [*inputs, *learned])
    grads = _gradients(list(found.unbind(0)), [*([x] if inputs else []), *learned])
    if inputs:
        wanted = [torch.stack(wanted[: len(inputs)]), *wanted[len(inputs) :]]
    for a, b in zip(grads, wanted, strict=True):
        if not _near(a, b):
            raise ArgumentError(
                f"{link.name} ({type(old).__name__}) has other gradients over all time steps at "
                f"once than in the loop, by up to {float((a - b).abs().max()):.3g}; cut no state "
                "from the graph in the loop (use run with detach_every for that), and check "
                "spike_grad and any backward pass of your own"
            )


def _gradients(outputs: list[Tensor], leaves: list[Tensor]) -> list[Tensor]:
    """Return the gradients of a fixed positive sum of the outputs, zeros where there is none."""
    # Positive, so that a parameter's gradient, a long sum, does not cancel to its rounding.
    weights = [
        torch.linspace(0.5, 1.5, o.numel(), dtype=o.dtype, device=o.device).reshape(o.shape) * s
        for o, s in zip(outputs, torch.linspace(1.0, 2.0, len(outputs)).tolist(), strict=True)
    ]
    if not leaves or not outputs[0].requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    grads = torch.autograd.grad(outputs, leaves, weights, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(grads, leaves, strict=True)]


def _near(found: Tensor, expected: Tensor) -> bool:
    """Whether two tensors differ by no more than the rounding of their largest value."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    if not found.is_floating_point() or found.numel() == 0:
        return torch.equal(found, expected)
    bound = _ROUNDING * torch.finfo(found.dtype).eps * expected.abs().max()
    return bool((found - expected).abs().max() <= bound)
