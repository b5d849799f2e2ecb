"""The checker's verdicts on networks whose fate under PopTorch's rules is known."""

from __future__ import annotations

import pytest
import snntorch as snn
import torch
from snntorch import surrogate as theirs
from torch import Tensor, nn

import snnplug as sp
from snnplug.backends.ipu import check_ipu, describe_network
from snnplug.backends.ipu.bundle.portable import Network
from snnplug.backends.ipu.memory import CAPACITY_BYTES, MemoryBound
from snnplug.backends.ipu.readiness import supported_operators
from snnplug.errors import ArgumentError

STEPS, BATCH = 4, 6
EXAMPLE = (
    (torch.arange(STEPS * BATCH * 20).view(STEPS, BATCH, 20) % 3 == 0).float(),
    torch.arange(BATCH) % 5,
)


class Loop(nn.Module):
    """20-32-5 in snnTorch's loop; cross entropy of the summed membrane."""

    def __init__(self, **leaky: object) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.fc2 = nn.Linear(20, 32), nn.Linear(32, 5)
        self.lif1, self.lif2 = (snn.Leaky(beta=0.9, **leaky) for _ in range(2))

    def forward(self, frames: Tensor, targets: Tensor) -> Tensor:
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        total: Tensor | float = 0.0
        for step in range(STEPS):
            spk1, mem1 = self.lif1(self.fc1(4 * frames[step]), mem1)
            _, mem2 = self.lif2(self.fc2(spk1), mem2)
            total = total + mem2
        return nn.functional.cross_entropy(total, targets)


class Whole(nn.Module):
    """The same network of snnplug's layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = sp.SpikingSequential(
            nn.Linear(20, 32), sp.ContinuousIF(), nn.Linear(32, 5), sp.ContinuousIF()
        )

    def forward(self, frames: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.network(4 * frames).sum(0), targets)


class Portable(nn.Module):
    """The same network as a bundle has it."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Network(describe_network(Whole().network))

    def forward(self, frames: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.network(4 * frames)[0].sum(0), targets)


def messages(step: nn.Module, **options: object) -> str:
    return str(check_ipu(step, EXAMPLE, **options))  # type: ignore[arg-type]


def test_snntorchs_neuron_with_its_surrogate_breaks_three_rules() -> None:
    text = messages(Loop(spike_grad=theirs.atan()))
    assert "buffer lif1.mem is empty" in text
    assert "buffer lif1.mem is assigned in forward" in text
    assert "the gradient of fc1.weight is lost" in text
    assert "verdict: ERROR" in text


def test_with_our_surrogate_its_gradient_is_kept() -> None:
    text = messages(Loop(spike_grad=sp.Atan()))
    assert "is empty" in text
    assert "is assigned" in text
    assert "is lost" not in text


def test_a_branch_on_data_cannot_be_exported() -> None:
    text = messages(Loop(spike_grad=sp.Atan(), reset_delay=False))
    assert "cannot be exported: GuardOnDataDependentSymNode" in text


class _Backward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:  # type: ignore[override]
        return grad


class WithFunction(Whole):
    def forward(self, frames: Tensor, targets: Tensor) -> Tensor:
        hidden = _Backward.apply(self.network[0](4 * frames) - 1)
        return nn.functional.cross_entropy(self.network[2](hidden).sum(0), targets)


def test_a_backward_of_its_own_is_caught() -> None:
    text = messages(WithFunction())
    assert "the gradient of network.0.weight is lost" in text
    assert "network.2.weight is lost" not in text


def test_other_functions_are_unknown_or_have_no_handler() -> None:
    class Step(Whole):
        def forward(self, frames: Tensor, targets: Tensor) -> Tensor:
            scores = torch.lerp(frames, 2 * frames, 0.5) @ self.network[0].weight.t()
            return nn.functional.cross_entropy(scores.sum(0), targets % 5)

    assert "PopTorch has no handler for aten::lerp, 1 times" in messages(Step())


@pytest.mark.parametrize("optimizer", ["Adam", "SGD", "RMSprop", "AdamW", "LBFGS", "NAdam"])
def test_optimisers(optimizer: str) -> None:
    refused = "PopTorch has SGD, Adam, AdamW, RMSprop, LAMB" in messages(
        Whole(), optimizer=optimizer, memory=False
    )
    assert refused == (optimizer in ("LBFGS", "NAdam"))


def test_dtypes_and_inputs() -> None:
    frames, targets = EXAMPLE
    report = check_ipu(Portable().double(), (frames.double(), targets))
    assert report.verdict == "UNKNOWN"
    assert "torch.float64, which PopTorch makes float32" in str(report)
    report = check_ipu(Whole(), (frames.clone().requires_grad_(), targets))
    assert "input 0 requires a gradient" in str(report)


def test_a_step_without_a_loss_is_refused() -> None:
    with pytest.raises(ArgumentError, match="no scalar loss"):
        check_ipu(Whole().network, (EXAMPLE[0],))


def test_the_list_of_operators_is_whole() -> None:
    known = supported_operators()
    assert len(known) == 285
    assert {"linear", "conv2d", "detach", "gt", "where"} <= known
    assert not {"heaviside", "lerp", "lstm_cell", "addr"} & known


def test_the_memory_bound_counts_what_a_linear_layer_keeps() -> None:
    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(7, 11, bias=False)
            self.second = nn.Linear(11, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x)).sum()

    memory = check_ipu(Step(), (torch.rand(5, 7),), "SGD").memory
    assert memory == MemoryBound((7 * 11 + 11 * 3) * 4 * 3, 5 * 11 * 4, 5 * 7 * 4)


def test_what_cannot_fit_is_an_error() -> None:
    bound = MemoryBound(CAPACITY_BYTES, 1, 0)
    assert not bound.may_fit
    assert MemoryBound(CAPACITY_BYTES, 0, 0).may_fit


def test_a_network_of_ours_goes_as_its_portable_form() -> None:
    text = messages(Whole())
    assert "is empty" in text  # the hidden state that snnTorch's neurons have, unused here
    assert "is lost" not in text
    report = check_ipu(Portable(), EXAMPLE)
    assert report.findings == ()
    assert report.verdict == "passes static checks"
    assert "nothing was run on an IPU" in str(report)


def test_the_step_is_as_before_afterwards() -> None:
    step = Loop(spike_grad=sp.Atan())
    check_ipu(step, EXAMPLE)
    assert step.lif1.mem.numel() == 0
    assert step.fc1.weight.grad is None
