"""IPU readiness from the command line: every recipe's verdict, and the claims that recipes make."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

import snnplug as sp
from snnplug.cli.check_ipu import checked
from snnplug.cli.main import main
from snnplug.cli.recipes import header, packaged_recipes
from snnplug.cli.trained import built_from

ME = "tests.cli.test_check_ipu"


@pytest.mark.parametrize("name", packaged_recipes())
def test_a_recipe_passes_exactly_if_it_claims_to(name: str) -> None:
    path = packaged_recipes()[name]
    claims = [line for line in header(path) if line.startswith("IPU:")]
    _, report, _ = checked(built_from(path), num_steps=4, batch_size=3)
    assert (report.verdict == "passes static checks") == bool(claims), str(report)
    assert all("nothing was run on one" in line for line in claims)


class _Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:  # type: ignore[override]
        return grad


class Stock(sp.SpikingSequential):
    """A surrogate with a backward of its own, which PopART ignores."""

    def __init__(self, in_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__(
            torch.nn.Flatten(),
            torch.nn.Linear(torch.Size(in_shape).numel(), 12),
            sp.Leaky(beta=0.9, spike_grad=_Straight.apply),
            torch.nn.Linear(12, num_classes),
        )


def test_a_surrogate_with_a_backward_of_its_own_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = yaml.safe_load(packaged_recipes()["quickstart"].read_text(encoding="utf-8"))
    recipe["model"]["network"] = {"class_path": f"{ME}.Stock"}
    Path("mine.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    assert main(["check-ipu", "mine.yaml", "--num-steps", "2", "--batch-size", "3"]) == 1
    out = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "ERROR" in out
    assert "the gradient of network.1.weight is lost" in out
    assert "network.3.weight" not in out
    assert "as it is" in out
    assert "verdict: ERROR" in out
    assert "nothing was run on an IPU" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["quikstart"], "Did you mean quickstart?"),
        (["none.ckpt"], "no checkpoint, no folder of a run"),
        (["quickstart", "--num-steps", "-1"], "both at least 1"),
    ],
)
def test_what_cannot_be_checked_says_why(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-ipu", *args]) == 2
    assert message in capsys.readouterr().err
