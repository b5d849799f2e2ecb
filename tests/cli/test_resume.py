"""A run that was stopped or killed, and resumed, is the run that never was."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as pl
import pytest
import torch
import yaml

from snnplug.cli import resume
from snnplug.cli.main import main
from tests.support.events import write_nmnist

EPOCHS = 4


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_nmnist(tmp_path / "events", train=100)
    return tmp_path


def fit(save_dir: str, *overrides: str) -> int:
    """A recipe that draws random numbers wherever one can, and changes its learning rate."""
    return main(
        [
            "fit",
            "-c",
            "quickstart",
            "--data=NMNISTDataModule",
            "--data.root=events",
            "--data.num_steps=3",
            "--data.augmentation.shift_px=2",
            "--model.lr_scheduler=CosineAnnealingLR",
            f"--model.lr_scheduler.T_max={EPOCHS}",
            f"--trainer.logger.save_dir={save_dir}",
            "--trainer.logger.mode=disabled",
            f"--trainer.max_epochs={EPOCHS}",
            "--trainer.enable_progress_bar=false",
            "--test_after_fit=false",
            *overrides,
        ]
    )


def only_run(save_dir: str) -> Path:
    (run,) = Path(save_dir, "quickstart").iterdir()
    return run


def assert_same(one: Path, other: Path) -> None:
    """Weights, optimiser, schedule and all figures, bit for bit."""
    assert (one / "metrics.jsonl").read_text() == (other / "metrics.jsonl").read_text()
    a, b = (torch.load(run / resume.LAST, weights_only=True) for run in (one, other))
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"):
        assert leaves(a[part]) == leaves(b[part]), part
    best, same = (torch.load(r / "checkpoints/best.ckpt", weights_only=True) for r in (one, other))
    assert leaves(best["state_dict"]) == leaves(same["state_dict"])


def leaves(tree: Any) -> Any:
    if isinstance(tree, torch.Tensor):
        return tree.tolist()
    if isinstance(tree, dict):
        return {key: leaves(value) for key, value in tree.items()}
    return [leaves(value) for value in tree] if isinstance(tree, list | tuple) else tree


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_is_one_that_never_stopped(folder: Path, workers: int) -> None:
    loading = f"--data.num_workers={workers}"
    assert fit("whole") == 0
    assert fit("stopped", loading, "--trainer.max_epochs=1") == 0
    for stop in range(2, EPOCHS + 1):
        assert fit("stopped", loading, f"--trainer.max_epochs={stop}", "--ckpt_path=last") == 0
    assert_same(only_run("whole"), only_run("stopped"))
    assert [row["epoch"] for row in rows(only_run("stopped"))] == list(range(EPOCHS))


def test_a_run_on_a_budget_goes_on_with_its_multiplier(folder: Path) -> None:
    budget = ("--energy.budget_nj=600", "--energy.rate=0.3")
    assert fit("whole", *budget) == 0
    for stop in range(1, EPOCHS + 1):
        going_on = ["--ckpt_path=last"] if stop > 1 else []
        assert fit("stopped", *budget, f"--trainer.max_epochs={stop}", *going_on) == 0
    assert_same(only_run("whole"), only_run("stopped"))
    weights = [row["hardware/yin2017_28nm/energy_weight"] for row in rows(only_run("whole"))]
    assert len(set(weights)) == EPOCHS


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


class DiesAt(pl.Callback):
    """Notes the points that a run passes, and is killed at one of them.

    What a kill leaves behind is what is on the disk, so every write of a file is a point too: half
    of it written, before it takes its place, and after.
    """

    #: Points are an epoch, a name, and how often that name came up in the epoch before.
    place: ClassVar[tuple[int, str, int] | None] = None
    seen: ClassVar[list[tuple[int, str, int]]] = []
    epoch: ClassVar[int] = -1

    @classmethod
    def passes(cls, name: str) -> bool:
        """Note a point; whether the run is to die there."""
        count = sum(point[:2] == (cls.epoch, name) for point in cls.seen)
        cls.seen.append((cls.epoch, name, count))
        return cls.seen[-1] == cls.place

    @classmethod
    def at(cls, name: str) -> None:
        """Pass a point, or die there."""
        if cls.passes(name):
            os.kill(os.getpid(), signal.SIGKILL)

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """The test comes after the last epoch."""
        if stage == "test":
            type(self).epoch = trainer.max_epochs

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Know the epoch."""
        type(self).epoch = trainer.current_epoch
        self.at("training: epoch begins")

    def on_train_batch_start(self, *args: Any) -> None:
        """A batch is there."""
        self.at("training: batch begins")

    def on_before_optimizer_step(self, *args: Any) -> None:
        """Gradients are there."""
        self.at("training: before the step")

    def on_train_batch_end(self, *args: Any) -> None:
        """Weights are changed."""
        self.at("training: after the step")

    def on_validation_batch_end(self, trainer: Any, *args: Any) -> None:
        """In the middle of the validation."""
        if not trainer.sanity_checking:
            self.at("validation: batch ends")

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Counted, not yet priced."""
        if not trainer.sanity_checking:
            self.at("validation: epoch ends")

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Before the checkpoint of the epoch."""
        self.at("training: epoch ends")

    def on_test_batch_end(self, *args: Any) -> None:
        """In the middle of the test."""
        self.at("test: batch ends")


@contextmanager
def watched_files() -> Iterator[None]:
    """Make a point of every step of writing a run's files."""
    write, replace = Path.write_bytes, os.replace

    def half(path: Path, content: Any) -> int:
        if DiesAt.passes(f"half of {path.name.split('.')[0]}"):
            write(path, content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return write(path, content)

    def moved(source: Any, target: Any) -> None:
        name = Path(target).stem
        DiesAt.at(f"before {name}")
        replace(source, target)
        DiesAt.at(f"after {name}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_bytes", half)
        patch.setattr(os, "replace", moved)
        yield


def _fit_in_child(folder: str, place: tuple[int, str, int], *overrides: str) -> None:
    os.chdir(folder)
    DiesAt.place = place
    with watched_files():
        raise SystemExit(fit("killed", *overrides))


def spread(points: list[tuple[int, str, int]], epochs: int) -> list[tuple[int, str, int]]:
    """Draw twenty points of a run: in each epoch's training, and of every other kind."""
    draw = random.Random(0)
    training = [point for point in points if point[1].startswith("training")]
    chosen = [draw.choice([p for p in training if p[0] == epoch]) for epoch in range(epochs)]
    for kind, number in {
        r"validation": 3,
        r"half of (last|best)": 2,
        r"(before|after) (last|best)": 3,
        r".* (metrics|hardware|activity)$": 2,
        r"test": 1,
        r".* (metrics|hardware|activity)_test": 1,
    }.items():
        chosen += draw.sample([p for p in points if re.match(kind, p[1]) and p[0] >= 0], number)
    return sorted(chosen, key=points.index)


@pytest.mark.slow
def test_killed_at_twenty_points_it_is_still_the_same_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs = 2 * EPOCHS
    options = [f"--trainer.max_epochs={epochs}", "--test_after_fit=true"]
    options += ["--trainer.callbacks+=tests.cli.test_resume.DiesAt"]
    monkeypatch.setattr(DiesAt, "seen", [])
    with watched_files():
        assert fit("whole", *options) == 0
    places = spread(DiesAt.seen, epochs)
    assert len(set(places)) == 20
    # Processes that have imported everything: what is killed is the run, not the imports.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["snnplug.cli.training", "tests.cli.test_resume"])
    for place in [*places, None]:
        started = any(Path("killed").rglob("last.ckpt"))
        going_on = ["--ckpt_path=last"] if started else []
        child = context.Process(
            target=_fit_in_child, args=(str(folder), place, *options, *going_on)
        )
        child.start()
        child.join()
        assert child.exitcode == (0 if place is None else -signal.SIGKILL), place
    (finished,) = {path.parent.parent for path in Path("killed").rglob("last.ckpt")}
    whole = only_run("whole")
    assert_same(whole, finished)
    for name in ("hardware", "activity", "metrics_test", "hardware_test", "spikes_test"):
        assert (whole / f"{name}.json").read_text() == (finished / f"{name}.json").read_text()
    assert not list(finished.rglob("*.partial"))  # what was half written is cleared away


def test_a_change_of_the_recipe_is_shown_and_obeyed(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert fit("runs", "--trainer.max_epochs=1") == 0
    run = only_run("runs")
    with caplog.at_level("INFO"):
        assert fit("runs", "--model.optimizer.lr=0.02", f"--ckpt_path={run}") == 0
    assert "differs now: model.optimizer.init_args.lr: 0.001 -> 0.02" in caplog.text
    assert "differs now: trainer.max_epochs: 1 -> 4" in caplog.text
    assert caplog.text.count("differs now") == 2
    assert only_run("runs") == run
    recipes = [run / name for name in ("recipe-1.yaml", "recipe.yaml")]
    rates = [yaml.safe_load(r.read_text())["model"]["optimizer"]["init_args"] for r in recipes]
    assert [arguments["lr"] for arguments in rates] == [0.001, 0.02]


def test_a_checkpoint_file_begins_a_new_run(folder: Path) -> None:
    assert fit("runs", "--trainer.max_epochs=1") == 0
    run = only_run("runs")
    assert fit("runs", "--trainer.max_epochs=2", f"--ckpt_path={run / resume.LAST}") == 0
    (other,) = set(run.parent.iterdir()) - {run}
    assert [row["epoch"] for row in rows(other)] == [1]


def test_the_newest_run_with_a_checkpoint_is_the_last(tmp_path: Path) -> None:
    for name in ("20260101-000000-aaaa", "20260102-000000-aaaa", "20260103-000000-aaaa"):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        if not name.startswith("20260103"):
            (tmp_path / name / resume.LAST).touch()
    found = resume.find_run("last", tmp_path)
    assert found == tmp_path / "20260102-000000-aaaa"
    assert resume.find_run(str(found / resume.LAST), tmp_path) is None


@pytest.mark.parametrize(
    ("variables", "run_id", "name"),
    [
        ({"SLURM_JOB_ID": "4711"}, None, "slurm-4711"),
        ({"TORCHELASTIC_RUN_ID": "abc", "SLURM_JOB_ID": "4711"}, None, "torchrun-abc"),
        ({"TORCHELASTIC_RUN_ID": "none"}, "mine", "mine"),
    ],
)
def test_a_job_begins_its_run_and_goes_on_with_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    run_id: str | None,
    name: str,
) -> None:
    for variable in ("SLURM_JOB_ID", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert resume.run_of_job(run_id, tmp_path) == (tmp_path / name, False)
    (tmp_path / name / "checkpoints").mkdir(parents=True)
    (tmp_path / name / resume.LAST).touch()
    assert resume.run_of_job(run_id, tmp_path) == (tmp_path / name, True)


@pytest.mark.parametrize("ckpt_path", ["last", ".", "auto"])
def test_nothing_to_resume_is_a_short_error(
    folder: Path, ckpt_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit("runs", f"--ckpt_path={ckpt_path}") == 2
    assert f"--ckpt_path {ckpt_path}: " in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_run_that_goes_on_from_its_best_checkpoint_is_the_same_from_there(folder: Path) -> None:
    # The first epoch's loss is the highest, so the best of the run. Worker processes are told the
    # order of an epoch before it begins.
    options = ["--data.num_workers=2", "--checkpoint.monitor=val/loss", "--checkpoint.mode=max"]
    assert fit("whole", *options) == 0
    whole = only_run("whole")
    best = whole / "checkpoints/best.ckpt"
    epoch = torch.load(best, weights_only=True)["epoch"]
    assert epoch < EPOCHS - 1
    assert fit("again", *options, f"--ckpt_path={best}") == 0
    later = [row for row in rows(whole) if row["epoch"] > epoch]
    assert [row for row in rows(only_run("again")) if row["epoch"] > epoch] == later
