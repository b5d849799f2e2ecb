"""Lightning's side of an IPU, under the double of PopTorch's contract; and what is refused."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from snnplug import backends
from snnplug.backends.ipu.strategy import IPUStrategy
from snnplug.cli.main import main
from snnplug.errors import BackendError
from snnplug.networks.leaky import LeakySNN
from snnplug.training.classifier import SpikingClassifier
from snnplug.training.losses import CountCrossEntropy
from tests.support import fake_poptorch
from tests.support.toy import loader


@pytest.fixture
def poptorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "poptorch", fake_poptorch)


def classifier(backend: str = "ipu", **options: Any) -> SpikingClassifier:
    torch.manual_seed(0)
    net = LeakySNN((9,), 3, hidden=(16,), recurrent=True, tau_out_steps=5.0)
    options = {
        "loss": CountCrossEntropy(),
        "optimizer": lambda p: torch.optim.Adam(p, lr=0.02, eps=1e-5),
    } | options
    return SpikingClassifier(net, 3, backend=backend, **options)


def trainer(epochs: int = 3, **options: Any) -> pl.Trainer:
    options = {"accelerator": "ipu", "strategy": "ipu"} | options
    return pl.Trainer(
        max_epochs=epochs, devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, **options,
    )  # fmt: skip


def fitted(module: SpikingClassifier, samples: int = 60, **options: Any) -> dict[str, float]:
    chosen = trainer(**options)
    chosen.fit(module, loader(samples, steps=4), loader(50, steps=4))
    return {name: float(value) for name, value in chosen.callback_metrics.items()}


def decaying(optimizer: torch.optim.Optimizer) -> Any:
    return torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)


@pytest.mark.usefixtures("poptorch")
def test_contract_training_by_the_strategy_is_training_on_the_cpu() -> None:
    cpu, ipu = classifier("eager", lr_scheduler=decaying), classifier(lr_scheduler=decaying)
    wanted = fitted(cpu, accelerator="cpu", strategy="auto")
    found = fitted(ipu)
    assert found["train/loss"] < 1.0
    assert found == pytest.approx(wanted, rel=1e-3)
    for ours, theirs in zip(ipu.parameters(), cpu.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("poptorch")
def test_contract_no_step_runs_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    made: list[Any] = []

    def optimizer(parameters: Any) -> Any:
        made.append(torch.optim.Adam(parameters, lr=0.02))
        step = made[0].step
        monkeypatch.setattr(made[0], "step", lambda *a, **k: (steps.append(1), step(*a, **k))[1])
        return made[0]

    module = classifier(optimizer=optimizer)
    before = [p.clone() for p in module.parameters()]
    fitted(module, epochs=1)
    assert steps == []
    assert made[0].state == {}
    assert all(p.grad is None for p in module.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


@pytest.mark.usefixtures("poptorch")
def test_contract_accumulated_and_replicated_micro_batches_are_one_batch() -> None:
    whole, split = classifier(), classifier()
    wanted = fitted(whole)
    found = fitted(split, strategy=IPUStrategy(gradient_accumulation=4))
    assert found == pytest.approx(wanted, rel=1e-3)
    with pytest.raises(Exception, match="cannot be split into 3 micro batches"):
        fitted(classifier(), strategy=IPUStrategy(replication_factor=3))


@pytest.mark.usefixtures("poptorch")
def test_contract_half_precision_learns_with_states_in_single() -> None:
    module = classifier()
    found = fitted(module, precision="16-true", epochs=5)
    assert found["train/loss"] < 0.8
    assert found["val/acc"] > 0.9
    assert all(p.dtype is torch.float32 and p.isfinite().all() for p in module.parameters())


@pytest.mark.usefixtures("poptorch")
def test_contract_a_smaller_last_batch_is_left_out_with_a_warning() -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fitted(classifier(), samples=50, epochs=1)
    assert "a batch of 10 is left out: shapes are fixed" in " ".join(str(w.message) for w in said)


@pytest.mark.usefixtures("poptorch")
@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        ({}, {"strategy": "auto"}, "SingleDeviceStrategy would train on the CPU"),
        ({}, {"accelerator": "cpu"}, "CPUAccelerator; give accelerator='ipu'"),
        ({"backend": "fused"}, {}, "backend 'fused', which would validate on the CPU"),
        ({}, {"precision": "bf16-mixed"}, "precision 'bf16-mixed'; an IPU has 32-true"),
        ({}, {"precision": "16-mixed"}, "precision '16-mixed'; an IPU has 32-true"),
        ({}, {"accumulate_grad_batches": 2}, r"IPUStrategy\(gradient_accumulation=2\)"),
        ({}, {"gradient_clip_val": 1.0}, "gradients never come to the host"),
        ({"optimizer": lambda p: torch.optim.NAdam(p)}, {}, "optimizer NAdam; PopTorch has SGD"),
        ({"optimizer": lambda p: torch.optim.Adam(p, amsgrad=True)}, {}, "Adam with amsgrad"),
        ({"loss": torch.nn.MSELoss()}, {}, "loss MSELoss; a bundle has"),
        (
            {"optimizer": lambda p: torch.optim.Adam(p)},
            {"precision": "16-true"},
            "eps 1e-08, which float16 cannot tell from 0.*1e-05 or more",
        ),
    ],
)
def test_contract_wrong_combinations_are_refused(
    module: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(BackendError, match=f"(?s){message}.*Nothing was trained"):
            fitted(classifier(**module), **options)


@pytest.mark.usefixtures("poptorch")
def test_contract_several_devices_are_refused() -> None:
    with pytest.raises(BackendError, match="replicas are an option of the strategy"):
        pl.Trainer(accelerator="ipu", strategy="ipu", devices=4)
    with pytest.raises(BackendError, match="replication_factor is 0"):
        IPUStrategy(replication_factor=0)


@pytest.mark.usefixtures("poptorch")
def test_contract_the_backend_infers_and_gives_no_gradients() -> None:
    assert backends.trainer_kwargs("ipu") == {"accelerator": "ipu", "strategy": "ipu"}
    net = classifier().network.eval()
    (frames, _), *_ = loader()
    ours = backends.get("ipu").prepare(net)
    for batch in (frames, frames[:, :7], frames[:5]):
        assert torch.equal(ours(batch), net(batch))
    with torch.no_grad():
        net[2].weight.mul_(3)
    assert torch.equal(ours(frames), net(frames))
    with pytest.raises(BackendError, match="no gradients to the host"):
        backends.get("ipu").prepare(net.train())(frames)


def test_without_poptorch_everything_says_why_and_what_helps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "poptorch", None)
    needed = r"poptorch is not installed.*needs torch 2\.0\.1.*write_bundle"
    for call in (
        lambda: backends.trainer_kwargs("ipu"),
        lambda: pl.Trainer(accelerator="ipu", strategy="ipu"),
        lambda: pl.Trainer(accelerator="ipu"),
        lambda: backends.get("ipu").prepare(classifier("eager").network),
    ):
        with pytest.raises(BackendError, match=needed):
            call()
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "-c", "quickstart", "--backend", "ipu"]) == 2
    assert "poptorch is not installed" in capsys.readouterr().err
    assert main(["doctor"]) == 0
    assert "backend ipu      no: poptorch is not installed" in capsys.readouterr().out


def test_a_poptorch_of_another_torch_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "poptorch.py").write_text("assert False, 'built for torch 2.0.1'")
    monkeypatch.delitem(sys.modules, "poptorch", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    runs, reason = backends.get("ipu").available()
    assert not runs
    assert "built for torch 2.0.1" in reason
