"""One stream, one time step at a time: ``python -m tests.benchmarks.stepper``.

Batch 1, no gradients, states kept, one thread unless told; all implementations take turns in one
process, medians. ``dense products`` are the Linear layers alone, without any neuron.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import snntorch as snn
import torch
from torch import Tensor, nn

import snnplug as sp
from snnplug.kernels import native

Step = Callable[[Tensor], Any]


def mlp() -> sp.SpikingSequential:
    """Return 784-1000-10; the hidden neurons fire in about 13 % of the steps."""
    return sp.SpikingSequential(
        nn.Linear(784, 1000), sp.Leaky(beta=0.9), nn.Linear(1000, 10), sp.Leaky(beta=0.9)
    )


def rsnn() -> sp.SpikingSequential:
    """Return 64-R256-11; the hidden neurons fire in about 7 % of the steps."""
    return sp.SpikingSequential(
        nn.Linear(64, 256),
        sp.RLeaky(beta=0.9, linear_features=256),
        nn.Linear(256, 11),
        sp.Leaky(beta=0.9),
    )


def snntorch_loop(net: sp.SpikingSequential) -> Step:
    """Return snnTorch's own neurons with the same weights, state passed as its tutorials do."""
    first, hidden, second, _ = net
    recurrent = isinstance(hidden, sp.RLeaky)
    one = snn.RLeaky(beta=0.9, linear_features=256) if recurrent else snn.Leaky(beta=0.9)
    one.load_state_dict(hidden.state_dict())
    two = snn.Leaky(beta=0.9)
    state: dict[str, Any] = {"one": one.reset_mem(), "two": two.reset_mem()}

    def once(frame: Tensor) -> Tensor:
        if recurrent:
            state["one"] = one(first(frame), *state["one"])
            spk = state["one"][0]
        else:
            spk, state["one"] = one(first(frame), state["one"])
        spk, state["two"] = two(second(spk), state["two"])
        return spk

    return once


def norse_loop(net: sp.SpikingSequential) -> Step:
    """Return norse's neurons behind the same weights."""
    from norse.torch import LIFBoxCell, LIFRecurrentCell

    first, hidden, second, _ = net
    recurrent = isinstance(hidden, sp.RLeaky)
    one = LIFRecurrentCell(64, 256) if recurrent else LIFBoxCell()
    two = LIFBoxCell()
    state: dict[str, Any] = {"one": None, "two": None}

    def once(frame: Tensor) -> Tensor:
        # The recurrent cell has its input weights inside.
        spk, state["one"] = one(frame if recurrent else first(frame), state["one"])
        spk, state["two"] = two(second(spk), state["two"])
        return spk

    return once


def spikingjelly_loop(net: sp.SpikingSequential) -> Step:
    """Return spikingjelly's neurons behind the same weights."""
    from spikingjelly.activation_based import layer, neuron

    first, hidden, second, _ = net
    one: nn.Module = neuron.LIFNode(tau=10.0, v_reset=None, decay_input=False)
    if isinstance(hidden, sp.RLeaky):
        one = layer.LinearRecurrentContainer(one, 256, 256)
    return nn.Sequential(
        first, one, second, neuron.LIFNode(tau=10.0, v_reset=None, decay_input=False)
    ).eval()


def sinabs_loop(net: sp.SpikingSequential) -> Step:
    """Return sinabs' neurons behind the same weights."""
    from sinabs.layers import LIF, LIFRecurrent

    first, hidden, second, _ = net
    one: nn.Module = LIF(tau_mem=10.0)
    if isinstance(hidden, sp.RLeaky):
        one = LIFRecurrent(tau_mem=10.0, rec_connect=hidden.recurrent)
    two = LIF(tau_mem=10.0)

    def once(frame: Tensor) -> Tensor:
        spk = one(first(frame).unsqueeze(1))  # (batch, time, features)
        out: Tensor = two(second(spk))
        return out

    return once


PEERS = {"norse": norse_loop, "spikingjelly": spikingjelly_loop, "sinabs": sinabs_loop}


def dense_products(net: sp.SpikingSequential) -> Step:
    """Return the Linear layers alone, the recurrent one included."""
    first, hidden, second, _ = net
    inner = hidden.recurrent if isinstance(hidden, sp.RLeaky) else None

    def once(frame: Tensor) -> Tensor:
        cur = first(frame)
        if inner is not None:
            cur = inner(cur)
        out: Tensor = second(cur)
        return out

    return once


def tune(net: sp.SpikingSequential, frames: Tensor, rate: float) -> float:
    """Scale the first layer until the hidden neurons fire at about ``rate``; return the rate."""
    found = 0.0
    for _ in range(30):
        stepped = sp.SpikingSequential(*net[:2])(frames.unsqueeze(1))
        found = stepped.mean().item()
        with torch.no_grad():
            net[0].weight.mul_(1.1 if found < rate else 0.95)
    return found


def compare(steps: dict[str, Step], frames: Tensor, repeats: int) -> dict[str, float]:
    """Return the median microseconds per step of each; they take turns over the whole sequence."""
    rows = [frame.unsqueeze(0) for frame in frames]
    times: dict[str, list[float]] = {name: [] for name in steps}
    with torch.no_grad():
        for k in range(repeats + 2):
            for name, step in steps.items():
                start = time.perf_counter()
                for row in rows:
                    step(row)
                if k > 1:
                    times[name].append(1e6 * (time.perf_counter() - start) / len(rows))
    return {name: statistics.median(column) for name, column in times.items()}


def main() -> None:
    """Print a table per network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"native kernels: {native.available()[1]}, threads: {options.threads}")
    peers = {name: build for name, build in PEERS.items() if find_spec(name)}
    for name in PEERS.keys() - peers.keys():
        print(f"{name}: not installed, left out")
    cases = {"MLP 784-1000-10": (mlp, 0.13, 0.13), "RSNN 64-R256-11": (rsnn, 0.05, 0.07)}
    for title, (make, density, rate) in cases.items():
        torch.manual_seed(0)
        net = make()
        frames = (torch.rand(options.steps, net[0].in_features) < density).float()
        with torch.no_grad():
            rate = tune(net, frames, rate)
        stepper, view = sp.Stepper(net), sp.Stepper(net, copy=False)
        by_events = sp.Stepper(net, copy=False)
        # By the memory of the frame, which stays where it is.
        events = {row.data_ptr(): row.nonzero().flatten() for row in frames}
        steps: dict[str, Step] = {
            "snnplug": stepper,
            "snnplug, copy=False": view,
            "snnplug, events": lambda row, s=by_events, e=events: s.events(e[row.data_ptr()]),
            "snnTorch": snntorch_loop(net),
            "dense products": dense_products(net),
            **{name: build(net) for name, build in peers.items()},
        }
        medians = compare(steps, frames, options.repeats)
        kilobytes = stepper.memory_bytes / 1000
        print(f"\n{title}, {100 * density:.0f} % input, {100 * rate:.0f} % hidden spikes")
        for name, value in medians.items():
            print(f"  {name:<22}{value:>9.2f} us{value / medians['snnplug']:>8.1f}x")
        print(f"  packed: {kilobytes:.0f} kB; weights: {_weights(net) / 1000:.0f} kB")


def _weights(net: nn.Module) -> int:
    return sum(p.nbytes for p in net.parameters())


if __name__ == "__main__":
    main()
