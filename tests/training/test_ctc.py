"""Sequences of classes: the loss sums over all ways to say them, the decision takes the best."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn

from snnplug.callbacks.sample_boosting import SampleBoosting
from snnplug.data.ntidigits import NTIDIGITSDataModule
from snnplug.errors import ArgumentError
from snnplug.networks.leaky import LeakySNN
from snnplug.training.classifier import SpikingClassifier
from snnplug.training.ctc import CTC, ctc, transcribe
from snnplug.training.losses import CountCrossEntropy
from snnplug.training.scores import Scores
from tests.support.events import write_ntidigits

STEPS = torch.tensor([7, 4, 6])
COUNTS = torch.tensor([2, 1, 2])
TARGETS = torch.tensor([[0, 1], [2, -1], [1, 1]])


def said(path: tuple[int, ...], blank: int) -> list[int]:
    """What a path of outputs says, by the definition."""
    return [k for k, _ in itertools.groupby(path) if k != blank]


def by_all_paths(out: Tensor, targets: Tensor, window: int, scale: float) -> Tensor:
    """Mean over the samples of -log of the summed probability of every path, per class."""
    blank, losses = out.shape[-1] - 1, []
    for b, (steps, count) in enumerate(zip(STEPS.tolist(), COUNTS.tolist(), strict=True)):
        sums = torch.stack([part.sum(0) for part in out[:steps, b].split(window)])
        p = (scale * sums).softmax(-1)
        wanted = targets[b, :count].tolist()
        ways = [
            torch.stack([p[k, c] for k, c in enumerate(path)]).prod()
            for path in itertools.product(range(blank + 1), repeat=len(p))
            if said(path, blank) == wanted
        ]
        losses.append(-torch.stack(ways).sum().log() / count)
    return torch.stack(losses).mean()


@pytest.mark.parametrize(("window", "scale"), [(2, 0.7), (1, 1.0)])
def test_loss_and_gradient_are_those_of_every_path(window: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    # 3^7 paths, or 4^4.
    classes, targets = (3, TARGETS.clamp(max=1)) if window == 1 else (4, TARGETS)
    shape = (7, 3, classes)
    out = torch.rand(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    found = ctc(out, targets, STEPS, COUNTS, window, scale)
    expected = by_all_paths(out, targets, window, scale)
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad(x, out)[0] for x in (found, expected))
    torch.testing.assert_close(ours, theirs)


def test_transcription_is_the_best_path_and_silence_says_nothing() -> None:
    generator = torch.Generator().manual_seed(1)
    for window in (1, 3):
        out = torch.randint(0, 3, (14, 20, 4), generator=generator).float()
        steps = torch.randint(1, 15, (20,), generator=generator)
        for b, row in enumerate(transcribe(out, steps, window).tolist()):
            path = []
            for part in out[: -(-int(steps[b]) // window) * window, b].split(window):
                *classes, blank = part.sum(0).tolist()
                path.append(3 if blank >= max(classes) else classes.index(max(classes)))
            assert [k for k in row if k >= 0] == said(tuple(path), 3)
    assert transcribe(torch.zeros(5, 2, 4), torch.tensor([5, 3])).shape == (2, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"lengths": torch.tensor([7, 4, 4]), "window_steps": 2},
            "sample 2 .* 4 steps, .* 2 windo",
        ),
        ({"counts": torch.tensor([2, 2, 2])}, r"classes lie in 0 … 2"),
        ({"targets": TARGETS.clamp(min=3)}, r"classes lie in 0 … 2"),
        ({"counts": torch.tensor([2, 1, 3])}, r"classes lie in 0 … 2"),
        ({"targets": TARGETS[:2]}, r"ctc takes \(T, B, C \+ 1\)"),
        ({"targets": TARGETS[:, 0]}, r"ctc takes \(T, B, C \+ 1\)"),
        ({"out": torch.zeros(7, 3)}, r"ctc takes \(T, B, C \+ 1\)"),
    ],
)
def test_what_cannot_be_said_is_refused(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "out": torch.zeros(7, 3, 4), "targets": TARGETS, "lengths": STEPS, "counts": COUNTS
    }  # fmt: skip
    assert ctc(**arguments).isfinite()
    with pytest.raises(ArgumentError, match=message):
        ctc(**arguments | changes)


def test_word_errors_are_edits_and_a_sequence_is_right_as_a_whole() -> None:
    right = [[1, 2, 3], [4], [5, 5]]
    told = [[1, 3], [4], [5, 6, 5]]  # one left out, none, one too many

    def padded(rows: list[list[int]]) -> Tensor:
        return torch.tensor([row + [-1] * (3 - len(row)) for row in rows])

    scores = Scores(12)
    found = {n: m(*a).item() for n, m, a in scores.of(padded(told), padded(right))}
    assert found == {"wer": pytest.approx(2 / 6), "acc": pytest.approx(1 / 3)}


def _trainer(tmp_path: Path, epochs: int, *callbacks: pl.Callback) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        default_root_dir=tmp_path,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _data(root: Path, digits: Any = "joined") -> NTIDIGITSDataModule:
    return NTIDIGITSDataModule(
        str(root), num_steps=100, duration_us=4_000_000, batch_size=8, val_fraction=0.3,
        digits=digits, most_digits=3,
    )  # fmt: skip


def test_a_network_learns_sequences_of_digits(tmp_path: Path) -> None:
    write_ntidigits(tmp_path, speakers=10)
    data = _data(tmp_path)
    pl.seed_everything(0, verbose=False)
    network = LeakySNN((64,), data.num_classes, (64,), tau_steps=(2.0, 4.0), readout="currents")
    model = SpikingClassifier(
        network, data.num_classes, CTC(8), optimizer=lambda p: torch.optim.Adam(p, lr=0.02)
    )
    trainer = _trainer(tmp_path, 24)
    trainer.check_val_every_n_epoch = 24
    trainer.fit(model, data)
    before = {key: float(trainer.callback_metrics[key]) for key in ("val/acc", "val/loss")}
    (tested,) = trainer.test(model, data, verbose=False)
    assert tested["test/wer"] < 0.2  # what says nothing has 1
    assert tested["test/acc"] > 0.6
    assert before["val/acc"] > 0.5
    assert before["val/loss"] < 1.0
    # The same by hand: what is predicted against what was said.
    predicted = trainer.predict(model, data)
    rows = [[k for k in row if k >= 0] for part in predicted or [] for row in part.tolist()]
    spoken = [[data.classes.index(d) for d in digits] for digits in data.recordings(False).digits]
    exact = sum(a == b for a, b in zip(rows, spoken, strict=True)) / len(rows)
    assert tested["test/acc"] == pytest.approx(exact)


class _Silent(nn.Module):
    def forward(self, frames: Tensor) -> Tensor:
        return frames[..., :12]


@pytest.mark.parametrize("loss", [None, CountCrossEntropy()])
def test_a_loss_of_one_class_is_refused_by_the_name_of_the_right_one(
    tmp_path: Path, loss: nn.Module | None
) -> None:
    write_ntidigits(tmp_path)
    model = SpikingClassifier(_Silent(), 12, loss)
    with pytest.raises(ArgumentError, match=r"sequences.* give the model loss CTC"):
        _trainer(tmp_path, 1).validate(model, _data(tmp_path, "sequences"), verbose=False)


def test_a_loss_of_sequences_is_refused_for_single_digits(tmp_path: Path) -> None:
    write_ntidigits(tmp_path)
    model = SpikingClassifier(_Silent(), 12, CTC())
    with pytest.raises(ArgumentError, match=r"digits: sequences or joined"):
        _trainer(tmp_path, 1).validate(model, _data(tmp_path, "single"), verbose=False)


def test_what_needs_one_class_says_so(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="'first' decides once"):
        SpikingClassifier(_Silent(), 12, CTC(), decoding="first")
    with pytest.raises(ArgumentError, match="window_steps is 0"):
        CTC(window_steps=0)
    write_ntidigits(tmp_path)
    model = SpikingClassifier(LeakySNN((64,), 12, (4,)), 12, CTC(4))
    with pytest.raises(ArgumentError, match="sequences have no weight"):
        _trainer(tmp_path, 1, SampleBoosting()).fit(model, _data(tmp_path))
