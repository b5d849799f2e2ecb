"""The double of PopTorch keeps the contract that its sources state; nothing here is an IPU."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import snntorch as snn
import torch
from torch import Tensor, nn

import snnplug as sp
from tests.support import fake_poptorch as poptorch

API = json.loads(Path(poptorch.__file__).with_name("poptorch_api.json").read_text())["api"]


class Step(nn.Module):
    def __init__(self, neuron: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.neuron, self.fc2 = nn.Linear(4, 8), neuron, nn.Linear(8, 3)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        hidden = 3 * self.fc1(x)
        out = self.fc2(hidden if self.neuron is None else self.neuron(hidden))
        return out, nn.functional.cross_entropy(out, y)


X, Y = torch.linspace(-1, 1, 24).view(6, 4), torch.arange(6) % 3


def trainer(step: nn.Module, options: Any = None, lr: float = 0.1) -> Any:
    return poptorch.trainingModel(step, options, torch.optim.SGD(step.parameters(), lr=lr))


def shown(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return f"*{parameter.name}"
    if parameter.kind is parameter.VAR_KEYWORD:
        return f"**{parameter.name}"
    default = parameter.default
    return parameter.name if default is parameter.empty else f"{parameter.name}={default}"


def test_contract_signatures_are_poptorchs() -> None:
    compared = 0
    for name, wanted in API.items():
        found: Any = poptorch
        for part in name.split(".")[1:]:
            found = getattr(found, part, None)
        if name == "poptorch.OutputMode":
            assert [mode.name for mode in poptorch.OutputMode] == wanted
        elif inspect.isfunction(found) and ".optim." not in name:  # torch's stand in for those
            assert [shown(p) for p in inspect.signature(found).parameters.values()] == wanted, name
            compared += 1
    assert compared >= 15


def test_contract_the_device_steps_and_the_host_is_stale() -> None:
    step, reference = Step(), Step()
    model = trainer(step)
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.1)
    for _ in range(3):
        _, loss = model(X, Y)
        optimizer.zero_grad()
        reference(X, Y)[1].backward()
        optimizer.step()
    assert not loss.requires_grad
    assert torch.equal(step.fc1.weight, Step().fc1.weight)
    model.copyWeightsToHost()
    torch.testing.assert_close(step.fc1.weight, reference.fc1.weight)


def test_contract_a_backward_of_its_own_is_lost() -> None:
    for surrogate, learns in ((snn.surrogate.atan(), False), (sp.Atan(), True)):
        step = Step(surrogate)  # type: ignore[arg-type]
        step.neuron = surrogate
        model = trainer(step)
        before = step.fc1.weight.clone()
        model(X, Y)
        model.copyWeightsToHost()
        assert torch.equal(step.fc1.weight, before) is not learns


def test_contract_micro_batches() -> None:
    options = poptorch.Options()
    options.Training.gradientAccumulation(3)
    step, whole = Step(), Step()
    model = trainer(step, options)
    output, _ = model(X, Y)
    assert output.shape == (2, 3)  # of the last micro batch
    model.copyWeightsToHost()
    at_once = trainer(whole)
    at_once(X, Y)
    at_once.copyWeightsToHost()
    torch.testing.assert_close(step.fc1.weight, whole.fc1.weight)
    with pytest.raises(poptorch.Error, match="cannot be split into 3"):
        trainer(Step(), options)(X[:4], Y[:4])


def test_contract_only_the_learning_rate_changes_and_only_when_set() -> None:
    step = Step()
    optimizer = torch.optim.SGD(step.parameters(), lr=0.0)
    model = poptorch.trainingModel(step, None, optimizer)
    model(X, Y)
    optimizer.param_groups[0]["lr"] = 0.5
    before = step.fc1.weight.clone()
    for changes in (False, True):
        if changes:
            model.setOptimizer(optimizer)
        model(X, Y)
        model.copyWeightsToHost()
        assert torch.equal(step.fc1.weight, before) is not changes


class Reassigned(Step):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mem", torch.zeros(8))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        self.mem = self.mem + 1
        return super().forward(x, y)


class NoLoss(Step):
    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        out, _ = super().forward(x, y)
        return out, out.square().mean()


class Identity(NoLoss):
    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        out, loss = super().forward(x, y)
        return out, poptorch.identity_loss(loss, "none")


class Looped(Step):
    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        (x,) = poptorch.for_loop(2, lambda v: v + 1, [x])
        return super().forward(x, y)


def test_contract_what_is_refused() -> None:
    empty = Step()
    empty.register_buffer("mem", torch.zeros(0))
    for step, message in (
        (empty, "Zero-sized tensor: mem"),
        (Reassigned(), "Buffer mem changed address"),
        (NoLoss(), "is no loss"),
        (Looped(), "only supported in inference"),
    ):
        with pytest.raises(poptorch.Error, match=message):
            trainer(step)(X, Y)
    trainer(Identity())(X, Y)
    with pytest.raises(poptorch.Error, match="requires grad"):
        trainer(Step())(X.clone().requires_grad_(), Y)
    model = trainer(Step())
    model(X, Y)
    with pytest.raises(poptorch.Error, match="changed after compilation"):
        model(X[:3], Y[:3])
    model.destroy()
    model(X[:3], Y[:3])
    step = Step()
    trainer(step)
    with pytest.raises(poptorch.Error, match="already been wrapped"):
        trainer(step)
    with pytest.raises(poptorch.Error, match="Unsupported optimizer type NAdam"):
        poptorch.trainingModel(Step(), None, torch.optim.NAdam(Step().parameters()))
