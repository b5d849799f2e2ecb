"""Recordings of different length in one batch: learned, decided and priced as each alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from snntorch import functional
from torch import Tensor, nn
from torch.utils.data import DataLoader

from snnplug.callbacks.hardware_target import HardwareTarget
from snnplug.errors import ArgumentError
from snnplug.hardware.counting import measure
from snnplug.mixed import Mixed
from snnplug.networks.conv import ConvSNN
from snnplug.networks.dense import DenseSNN
from snnplug.networks.leaky import LeakySNN
from snnplug.training.classifier import SpikingClassifier
from snnplug.training.decoding import Decoding, decode
from snnplug.training.lengths import loss_over_lengths, loss_over_mixtures, same_length
from snnplug.training.losses import CountCrossEntropy, CountSquaredError, SquaredHinge

LENGTHS = torch.tensor([3, 9, 1, 9, 5, 3])
TARGETS = torch.tensor([0, 1, 2, 0, 1, 2])


def padded(shape: tuple[int, ...], density: float = 0.4) -> Tensor:
    """Spikes up to the end of each sample, then ones: whatever sees the padding notices."""
    frames = (torch.rand(int(LENGTHS.max()), len(LENGTHS), *shape) < density).float()
    for b, length in enumerate(LENGTHS.tolist()):
        frames[length:, b] = 1.0
    return frames


def alone(frames: Tensor) -> list[Tensor]:
    return [frames[:length, b : b + 1] for b, length in enumerate(LENGTHS.tolist())]


NETWORKS: dict[str, tuple[Any, tuple[int, ...], nn.Module]] = {
    "dense": (lambda: DenseSNN((8,), 3, hidden=(16,)), (8,), SquaredHinge(0.5)),
    "conv": (lambda: ConvSNN((2, 8, 8), 3, channels=[4], kernel_size=3), (2, 8, 8), SquaredHinge()),
    "recurrent": (
        lambda: LeakySNN((8,), 3, hidden=(12,), recurrent=True),
        (8,),
        CountCrossEntropy(),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("training", [True, False])
def test_loss_and_gradients_are_the_mean_of_those_of_each_alone(name: str, training: bool) -> None:
    torch.manual_seed(0)
    build, shape, loss = NETWORKS[name]
    model = SpikingClassifier(build(), num_classes=3, loss=loss).train(training)
    model.log = lambda *a, **k: None  # type: ignore[method-assign]  # there is no trainer
    frames = padded(shape)
    together, _ = model._step((frames, TARGETS, LENGTHS), "val")
    together.backward()
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    assert any(g.abs().max() > 0 for g in found)
    model.zero_grad()
    each = [
        model._step((part, TARGETS[b : b + 1]), "val")[0] for b, part in enumerate(alone(frames))
    ]
    apart = torch.stack(each).mean()
    apart.backward()
    assert together.item() == pytest.approx(apart.item(), rel=1e-5)
    for ours, theirs in zip(found, (p.grad for p in model.parameters()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("decoding", ["count", "first", "current"])
@pytest.mark.parametrize("training", [True, False])
def test_decides_as_each_alone(decoding: Decoding, training: bool) -> None:
    torch.manual_seed(1)
    network = DenseSNN((8,), 3, hidden=(16,))
    model = SpikingClassifier(network, num_classes=3, decoding=decoding).train(training)
    for seed in range(5):
        torch.manual_seed(seed)
        frames = padded((8,))
        decided = model.predict_step((frames, TARGETS, LENGTHS), 0)
        for b, part in enumerate(alone(frames)):
            spk, cur = model(part)
            assert decided[b] == decode(spk, cur, decoding)


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
@pytest.mark.parametrize("name", NETWORKS)
def test_the_bill_is_that_of_each_alone(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    build, shape, loss = NETWORKS[name]
    model = SpikingClassifier(build(), num_classes=3, loss=loss)
    frames = padded(shape)
    target = HardwareTarget("yin2017-28nm" if name != "recurrent" else "loihi-2018")
    trainer = pl.Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        logger=False,
        callbacks=[target],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    batch = (frames, TARGETS, LENGTHS)
    loader: Any = DataLoader([0], collate_fn=lambda _: batch)  # type: ignore[arg-type]
    trainer.test(model, loader, verbose=False)
    with measure(model.network) as meter, torch.no_grad():
        for part in alone(frames):
            model(part)
    apart = meter.activity()
    assert target.activity is not None
    assert target.activity.samples == apart.samples == len(LENGTHS)
    assert target.activity.to_json() == apart.to_json()
    # The padding would have cost something: the same batch as if nothing were known of lengths.
    with measure(model.network) as meter, torch.no_grad():
        model(frames)
    assert meter.activity().synops > apart.synops


def test_lengths_that_do_not_fit_are_refused() -> None:
    frames = torch.zeros(4, 2, 3)
    for wrong in ([4], [0, 4], [5, 4]):
        with pytest.raises(ArgumentError, match="one for each sample"):
            list(same_length(frames, torch.tensor(wrong)))
        with pytest.raises(ArgumentError, match="1 … 4"):
            loss_over_lengths(SquaredHinge(), frames, torch.tensor([0, 1]), torch.tensor(wrong))


@pytest.mark.parametrize("several", [False, True])
def test_a_mixture_costs_what_its_soft_target_does(several: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    out = torch.randn(6, 5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    y, z = torch.randint(0, 4, (2, 5), generator=generator)
    weight = torch.tensor([1.0, 0.6, 0.75, 0.6, 1.0], dtype=torch.float64)
    steps = torch.tensor([6, 2, 6, 3, 5]) if several else torch.full((5,), 6)
    loss = loss_over_mixtures(
        lambda o, t: torch.nn.functional.cross_entropy(o.sum(0), t),
        out,
        Mixed(y, z, weight),
        *([steps] if several else []),
    )
    one_hot = torch.nn.functional.one_hot
    soft = weight[:, None] * one_hot(y, 4) + (1 - weight[:, None]) * one_hot(z, 4)
    heard = (torch.arange(6)[:, None] < steps)[..., None]
    expected = torch.nn.functional.cross_entropy((out * heard).sum(0), soft)
    torch.testing.assert_close(loss, expected)
    ours, theirs = (torch.autograd.grad(x, out, retain_graph=True)[0] for x in (loss, expected))
    torch.testing.assert_close(ours, theirs)


def count_of_neighbours(out: Tensor, targets: Tensor) -> Tensor:
    """A loss that looks at values, which torch cannot vectorise."""
    pairs = zip(out.sum(0), targets, strict=True)
    return torch.stack([n[t].exp() if t.item() else n.sum() for n, t in pairs]).mean()


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(
    "loss",
    [
        SquaredHinge(),
        CountCrossEntropy(),
        CountSquaredError(3.0, 1.0, 0.5),
        functional.ce_count_loss(),
        functional.ce_rate_loss(),
        functional.mse_count_loss(),
        count_of_neighbours,
    ],
)
def test_a_mixture_costs_what_its_samples_cost_alone(loss: Any, several: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    out = torch.rand(6, 5, 4, generator=generator, requires_grad=True)
    y, z = torch.randint(0, 4, (2, 5), generator=generator)
    weight = torch.tensor([1.0, 0.6, 0.75, 0.6, 0.9])
    steps = torch.tensor([6, 2, 6, 3, 5]) if several else torch.full((5,), 6)
    expected = torch.zeros(())
    for b in range(5):
        alone = out[: steps[b], b : b + 1]
        for share, classes in ((weight[b], y), (1 - weight[b], z)):
            expected = expected + share * loss(alone, classes[b : b + 1]).sum() / 5
    calls = []

    def counted(*arguments: Tensor) -> Tensor:
        calls.append(1)
        return loss(*arguments)

    mixed = Mixed(y, z, weight)
    found = loss_over_mixtures(counted, out, mixed, *([steps] if several else []))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    ours, theirs = (torch.autograd.grad(x, out, retain_graph=True)[0] for x in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    if loss is count_of_neighbours or "functional" in type(loss).__module__:
        return
    assert len(calls) == 2 * len(set(steps.tolist()))  # not one for each sample


def test_what_is_no_loss_is_refused_as_without_mixing() -> None:
    mixed = Mixed(torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([0.7, 1.0]))
    with pytest.raises(ArgumentError, match="squared_hinge takes"):
        loss_over_mixtures(lambda o, t: SquaredHinge()(o[0], t), torch.zeros(4, 2, 3), mixed)
