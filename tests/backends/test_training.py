"""Training by a backend: the same losses, whichever it is, and clear refusals."""

from __future__ import annotations

import copy
import logging
import pickle
import re
import warnings
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor

from snnplug import backends
from snnplug.backends.base import Backend
from snnplug.backends.compiled import Compiled
from snnplug.cli.check_ipu import example
from snnplug.cli.main import main
from snnplug.cli.recipes import packaged_recipes
from snnplug.cli.trained import Built, built_from
from snnplug.networks.leaky import LeakySNN
from snnplug.training.classifier import SpikingClassifier
from snnplug.training.losses import SquaredHinge
from tests.support.toy import loader


def trained(backend: str, precision: str = "32-true") -> tuple[float, SpikingClassifier]:
    torch.manual_seed(0)
    torch._dynamo.reset()
    net = LeakySNN((9,), 3, hidden=(16,), recurrent=True, tau_out_steps=5.0)
    model = SpikingClassifier(net, 3, loss=SquaredHinge(), backend=backend)
    if backend == "compiled":
        model.backend = Compiled("eager")
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", precision=precision, logger=False,  # type: ignore[arg-type]
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, loader(samples=50), loader(samples=50))
    return float(trainer.callback_metrics["val/loss"]), model


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_two_epochs_are_the_same_by_every_backend(precision: str) -> None:
    losses = {name: trained(name, precision)[0] for name in ("eager", "fused")}
    tolerance = 1e-5 if precision == "32-true" else 1e-2
    assert losses["fused"] == pytest.approx(losses["eager"], rel=tolerance)


@pytest.mark.slow
def test_the_compiled_network_learns_the_same_and_says_what_compiling_took(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, logger="lightning.pytorch.utilities.rank_zero"):
        assert trained("compiled")[0] == pytest.approx(trained("eager")[0], rel=1e-5)
    assert re.search(r"backend compiled: compiled in \d+\.\d s", caplog.text)


def first_steps(recipe: Built, backend: Backend) -> list[Tensor]:
    """Return the losses and at last the weights of three steps of a recipe, in float64.

    There the order of a sum is far below what any threshold tells apart; in float32 it decides a
    spike now and then, and trainings part.
    """
    model: Any = recipe.model
    network = copy.deepcopy(recipe.network).double().train()
    num_steps = 4 if "SpikeTrain" not in type(network).__name__ else 20  # to spike to the end
    frames, *targets = example(recipe, num_steps, batch_size=3)
    optimizer = model.optimizer(network.parameters())
    run = backend.prepare(network)
    torch.manual_seed(0)
    losses = []
    for _ in range(3):
        out = run(frames.double())
        loss = model.loss(out[1] if isinstance(out, tuple) else out, *targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return [*losses, *(p.detach() for p in network.parameters())]


#: One of each kind of network; the others too, when this was written.
CAPTURED = (
    "mnist_snn_dc", "nmnist_snn_ct", "ntidigits_rsnn", "mnist_hm2bp_cnn", "ntidigits_st_rsbp",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", packaged_recipes())
def test_recipes_take_the_same_steps_by_every_backend(name: str) -> None:
    torch._dynamo.reset()
    recipe = built_from(packaged_recipes()[name])
    wanted = first_steps(recipe, backends.get("eager"))
    start = [p.double() for p in recipe.network.parameters()]
    assert any(not torch.equal(p, q) for p, q in zip(start, wanted[3:], strict=True))
    # Dropout draws torch's own random numbers in a graph that is captured and not yet compiled.
    others = [backends.get("fused")]
    if name in CAPTURED:
        others.append(Compiled("eager"))
    for backend in others:
        for found, expected in zip(first_steps(recipe, backend), wanted, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_a_copy_runs_its_own_network() -> None:
    _, model = trained("fused")
    with torch.no_grad():
        for p in model.network.parameters():
            p.fill_(1.0)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        with torch.no_grad():
            for p in other.network.parameters():
                p.zero_()
        x = torch.ones(4, 2, 9)
        assert not other(x)[0].any()
        assert model(x)[0].any()


def test_the_command_line_names_the_backend(
    tmp_path: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    arguments = ["fit", "-c", "quickstart", "--trainer.fast_dev_run=1", "--backend"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main([*arguments, "eager"]) == 0
        assert main([*arguments, "fuse"]) == 2
        assert "Did you mean fused" in capsys.readouterr().err
        if not torch.cuda.is_available():
            assert main([*arguments, "cuda"]) == 2
            assert "does not run here" in capsys.readouterr().err


def test_the_choice_of_auto_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snnplug.backends import auto

    net = LeakySNN((9,), 3, hidden=(4,))
    model = SpikingClassifier(net, 3)
    monkeypatch.setattr(auto, "_measured", lambda *_: {"fused": 1.0, "compiled": 2.0})
    model.backend = auto.Auto("aot_eager")
    with caplog.at_level(logging.INFO):
        model(torch.ones(4, 2, 9))
    assert "auto took" in caplog.text
