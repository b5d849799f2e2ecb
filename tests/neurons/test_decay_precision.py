"""A decay that a number format cannot hold is named, with the time constant that it becomes."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import Tensor

import snnplug as sp
from snnplug.neurons.base import SequenceNeuron
from snnplug.neurons.decay_precision import DecayWarning
from snnplug.training.classifier import SpikingClassifier
from tests.support.toy import loader


def rounded(value: float, mantissa_bits: int) -> float:
    """The nearest number with so many bits behind the leading one, by integers."""
    scale = 2.0 ** (mantissa_bits - np.floor(np.log2(value)))
    return float(np.round(value * scale) / scale)


@pytest.mark.parametrize(("dtype", "bits"), [(torch.bfloat16, 7), (torch.float16, 10)])
@pytest.mark.parametrize("beta", [0.5, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 1.0])
def test_the_warning_has_the_time_constant_of_the_rounded_decay(
    beta: float, dtype: torch.dtype, bits: int
) -> None:
    neuron = sp.Leaky(beta=beta)
    kept = rounded(float(np.float32(beta)), bits)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        neuron.to(dtype)
    assert float(neuron.beta) == kept
    texts = [str(w.message) for w in said if issubclass(w.category, DecayWarning)]
    if kept == 1.0:
        assert len(texts) == (beta < 1)
        assert all("the membrane does not leak" in text for text in texts)
        return
    before, after = 1 / (1 - float(np.float32(beta))), 1 / (1 - kept)
    if abs(after / before - 1) <= 0.01:
        assert texts == []
    else:
        assert f"its time constant is {after:.3g} steps, not {before:.4g}" in texts[0]


def test_the_effective_time_constant_is_the_one_that_the_membrane_has() -> None:
    neuron = sp.Leaky(beta=0.99, threshold=1e9, reset_mechanism="none")
    with pytest.warns(DecayWarning, match=r"time constant is 85\.3 steps, not 100"):
        neuron.to(torch.bfloat16)
    neuron.float()  # the decay stays the rounded one; only the sums are exact now
    _, (mem,) = neuron.run(torch.ones(3000, 1, 1))
    assert mem.item() == pytest.approx(85.33, abs=0.01)  # the sum of the series is tau


@pytest.mark.parametrize(
    "convert",
    [lambda n: n.half(), lambda n: n.bfloat16(), lambda n: torch.nn.Sequential(n).half()],
)
def test_every_way_to_convert_warns(convert: Callable[[SequenceNeuron], object]) -> None:
    with pytest.warns(DecayWarning, match=r"alpha 0\.99989"):
        convert(sp.Synaptic(alpha=0.9999, beta=0.5))


def test_of_many_the_worst_is_named_and_the_rest_counted() -> None:
    with pytest.warns(DecayWarning, match=r"beta 0\.99900.*does not leak, not 1000 \(1 more"):
        sp.RLeaky(beta=torch.tensor([0.5, 0.99, 0.999]), linear_features=3).bfloat16()


def test_a_number_that_single_precision_cannot_hold_warns_at_once() -> None:
    with pytest.warns(DecayWarning, match=r"beta 0\.99999999 is 1 in float32.*not 1e\+08"):
        sp.Leaky(beta=0.99999999)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "16-true"])
def test_lightning_converts_with_a_warning_or_not_at_all(precision: str) -> None:
    net = sp.SpikingSequential(sp.SpikeLinear(9, 3), sp.Leaky(beta=0.999))
    trainer = pl.Trainer(
        accelerator="cpu", precision=precision, max_epochs=1, limit_train_batches=1, logger=False,  # type: ignore[arg-type]
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        trainer.fit(SpikingClassifier(net, 3), loader())
    assert any(issubclass(w.category, DecayWarning) for w in said) is (precision != "bf16-mixed")
    assert net[1].beta.dtype is (
        torch.float32 if precision == "bf16-mixed" else net[0].weight.dtype
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("backend", ["eager", "fused"])
def test_mixed_precision_integrates_and_counts_in_single(backend: str, dtype: torch.dtype) -> None:
    """By closed form 2000 steps of 0.0015 decay to 1.297; all in bfloat16 they come to 0.5."""
    net = sp.SpikingSequential(
        torch.nn.Linear(1, 1, bias=False), sp.Leaky(0.999, threshold=1e9, reset_mechanism="none")
    )
    with torch.no_grad():
        net[0].weight.fill_(0.0015)
    drive = float(net[0].weight.detach().to(dtype))
    seen: list[Tensor] = []
    net[1].register_forward_hook(lambda _, __, out: seen.append(out[1][0]))
    run = sp.backends.get(backend).prepare(net)
    with torch.autocast("cpu", dtype):
        run(torch.ones(2000, 1, 1))
    (mem,) = seen
    assert mem.dtype is torch.float32
    assert mem.item() == pytest.approx(drive * (1 - 0.999**2000) / 0.001, rel=1e-4)

    always = sp.SpikingSequential(torch.nn.Linear(1, 2), sp.Leaky(0.0, reset_mechanism="none"))
    with torch.no_grad():
        always[0].weight.fill_(5.0)
    module = SpikingClassifier(always, 2, backend=backend)
    with torch.autocast("cpu", dtype):
        spk, cur = module(torch.ones(2051, 1, 1))
        loss = module.loss(cur, torch.tensor([0]))
    assert spk.sum(0).tolist() == [[2051, 2051]]  # bfloat16 stops at 256, float16 at 2048
    assert loss.dtype is torch.float32
