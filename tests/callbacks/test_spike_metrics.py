"""The callback logs what the metrics give of the same spikes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import snntorch as snn
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from snnplug.callbacks.spike_metrics import SpikeMetrics
from snnplug.errors import ArgumentError
from snnplug.layers.sequential import SpikingSequential
from snnplug.metrics import functional
from snnplug.networks.dense import DenseSNN
from snnplug.training.classifier import SpikingClassifier
from snnplug.training.losses import CountCrossEntropy
from tests.support.toy import loader


def trainer(folder: Path, *callbacks: pl.Callback, **arguments: Any) -> pl.Trainer:
    return pl.Trainer(
        default_root_dir=folder,
        callbacks=list(callbacks),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        accelerator="cpu",
        **arguments,
    )


def model(decoding: Any = "count") -> SpikingClassifier:
    torch.manual_seed(0)
    network = DenseSNN((9,), 3, hidden=(20,))
    return SpikingClassifier(network, num_classes=3, decoding=decoding)


def seen(fit: pl.Trainer, key: str) -> float:
    return fit.callback_metrics[f"activity/{key}"].item()


@pytest.mark.parametrize("decoding", ["count", "first", "current"])
def test_logs_what_the_metrics_give(tmp_path: Path, decoding: Any) -> None:
    net = model(decoding)
    fit = trainer(tmp_path, SpikeMetrics(), max_epochs=1)
    fit.fit(net, loader(), loader())
    net.eval()
    frames = torch.cat([x for x, _ in loader(batch_size=7)], 1)
    with torch.no_grad():
        hidden = SpikingSequential(*list(net.network.layers)[:4])(frames)  # type: ignore[arg-type]
        spk, cur = net(frames)
    out = cur if decoding == "current" else spk
    latency = functional.latency_to_decision(out, decoding).double().mean().item()
    assert seen(fit, "latency_steps") == pytest.approx(latency, rel=1e-6)
    for name, train in (("layers_3", hidden), ("readout", spk)):
        dead, saturated = functional.dead_neurons(train), functional.saturated_neurons(train)
        assert seen(fit, f"dead_fraction/{name}") == pytest.approx(dead.item())
        assert seen(fit, f"saturated_fraction/{name}") == pytest.approx(saturated.item())
    zeros = sum(int((train == 0).sum()) for train in (hidden, spk))
    assert seen(fit, "sparsity") == pytest.approx(zeros / (hidden.numel() + spk.numel()))
    assert not any(module._forward_hooks for module in net.modules())


class Loop(nn.Module):
    """snnTorch's usual loop over time, with explicit state."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(9, 3)
        self.lif = snn.Leaky(beta=0.9)

    def forward(self, frames: Tensor) -> Tensor:
        mem, out = self.lif.reset_mem(), []
        for frame in frames:
            spk, mem = self.lif(self.fc(frame) * 4, mem)
            out.append(spk)
        return torch.stack(out)


def short() -> DataLoader[Any]:
    """Return batches that say how many steps each sample has."""
    batches = [(x, y, torch.arange(len(y)) % len(x) + 1) for x, y in loader()]
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


def test_snntorchs_own_loop_and_samples_of_different_lengths(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = SpikingClassifier(Loop(), num_classes=3, loss=CountCrossEntropy())
    run = trainer(tmp_path, SpikeMetrics())
    run.test(net, short(), verbose=False)
    spk, latency = [], []
    for x, _, steps in short():
        with torch.no_grad():
            spk.append(net(x)[0])
        heard = spk[-1] * (torch.arange(len(x))[:, None, None] < steps[:, None])
        latency.append(functional.latency_to_decision(heard))
    logged = run.callback_metrics
    together = torch.cat(spk, 1)
    dead = functional.dead_neurons(together).item()
    assert logged["test/activity/dead_fraction/lif"].item() == pytest.approx(dead)
    expected = torch.cat(latency).double().mean().item()
    assert logged["test/activity/latency_steps"].item() == pytest.approx(expected, rel=1e-6)
    assert expected != functional.latency_to_decision(together).double().mean().item()


def test_a_module_without_a_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="no attribute `network`"):
        SpikeMetrics().setup(trainer(tmp_path), pl.LightningModule(), "fit")
