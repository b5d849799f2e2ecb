"""What goes wrong while a run begins, trains or resumes, and what is still there afterwards.

docs/how-to/when-a-run-fails.md tells users the same.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from snnplug.callbacks.run_folder import write_json
from snnplug.cli.main import main
from snnplug.training import logger as logger_module
from snnplug.training.logger import RunLogger
from tests.support import wandb_log
from tests.support.events import write_nmnist

RUN = Path("runs/quickstart/mine")
LAST = RUN / "checkpoints" / "last.ckpt"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_nmnist(tmp_path / "events", train=100)


def fit(*overrides: str) -> int:
    """Three short epochs into the folder RUN."""
    return main(
        [
            "fit",
            "-c",
            "quickstart",
            "--data=NMNISTDataModule",
            "--data.root=events",
            "--data.num_steps=3",
            "--trainer.logger.id=mine",
            "--trainer.logger.mode=disabled",
            "--trainer.max_epochs=3",
            "--trainer.enable_progress_bar=false",
            "--test_after_fit=false",
            *overrides,
        ]
    )


def epochs_written() -> list[int]:
    lines = (RUN / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["epoch"] for line in lines]


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what snnplug says, which is the last line, without a traceback."""
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return err.splitlines()[-1]


class AfterFirstEpoch(pl.Callback):
    """Does something to the run when its second epoch begins."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if trainer.current_epoch == 1:
            self.act()

    def act(self) -> None:
        raise NotImplementedError


class FullDisk(AfterFirstEpoch):
    """Files can no longer grow beyond 100 kB: writing a checkpoint fails as on a full disk."""

    def act(self) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))


@pytest.fixture
def _limits() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("_limits")
def test_a_full_disk_stops_no_training_and_spoils_no_checkpoint() -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert fit("--trainer.callbacks+=tests.cli.test_faults.FullDisk") == 0
    said = [str(warning.message) for warning in warned if "no checkpoint" in str(warning.message)]
    assert said
    assert all("the one there is of an earlier epoch" in text for text in said)
    assert "last.ckpt: File too large. Training goes on" in " ".join(said)
    assert epochs_written() == [0, 1, 2]
    for name in ("last", "best"):
        kept = torch.load(LAST.with_name(f"{name}.ckpt"), weights_only=True)
        assert kept["epoch"] == 0
    assert not list(RUN.rglob("*.partial"))


def test_a_bill_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match=r"cannot write .*file.hardware\.json.* the run goes on"):
        write_json(tmp_path / "file" / "hardware.json", {})


def test_a_folder_that_cannot_be_written_is_told_before_training(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("file").touch()
    folders = ["file/runs", *(["/sys/snnplug-runs"] if sys.platform == "linux" else [])]
    for folder in folders:
        assert fit(f"--trainer.logger.save_dir={folder}") == 2
        said = error_of(capsys)
        assert f"cannot write the run {folder}/quickstart/mine: " in said
        assert "--trainer.logger.save_dir" in said
    assert Path("file").read_bytes() == b""


class Evil:
    """A pickle that leaves a file behind when it is read."""

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.mkdir, ("evil-was-here",)


def damage(kind: str, whole: bytes) -> bytes:
    middle = len(whole) // 2
    match kind:
        case "truncated":
            return whole[:middle]
        case "flipped":
            return whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :]
        case "empty":
            return b""
        case "text":
            return b"not a checkpoint\n"
    raise AssertionError(kind)


def test_checkpoints_that_are_none_are_refused_and_change_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert fit("--trainer.max_epochs=1") == 0
    whole = LAST.read_bytes()
    before = {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()}
    bad = Path("bad.ckpt")
    for kind in ("truncated", "flipped", "empty", "text"):
        bad.write_bytes(damage(kind, whole))
        assert fit("--ckpt_path=bad.ckpt", "--trainer.logger.id=other") == 2, kind
        assert "bad.ckpt: it is damaged or no checkpoint" in error_of(capsys), kind
    torch.save({"weights": torch.zeros(3)}, bad)
    assert fit("--ckpt_path=bad.ckpt", "--trainer.logger.id=other") == 2
    assert "holds no state_dict" in error_of(capsys)
    assert fit("--ckpt_path=nowhere.ckpt", "--trainer.logger.id=other") == 2
    assert "there is no such file" in error_of(capsys)
    LAST.write_bytes(whole[:-100])
    assert fit(f"--ckpt_path={RUN}") == 2
    assert "best.ckpt beside it" in error_of(capsys)
    LAST.write_bytes(whole)
    assert before == {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()}
    assert not Path("runs/quickstart/other").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_never_run(
    zipped: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    content = {"state_dict": {}, "extra": Evil()}
    if zipped:
        torch.save(content, "evil.ckpt")
    else:
        Path("evil.ckpt").write_bytes(pickle.dumps(content, protocol=2))
    for command in ("fit", "test"):
        given = ["-c", "quickstart", "--ckpt_path=evil.ckpt", "--trainer.fast_dev_run=1"]
        assert main([command, *given]) == 2
        assert "evil.ckpt: it " in error_of(capsys)
    assert not Path("evil-was-here").exists()


@pytest.mark.parametrize(
    "line",
    [
        "data: !!python/object/apply:os.mkdir [evil-was-here]",
        "trainer: {logger: {class_path: os.mkdir, init_args: {path: evil-was-here}}}",
        "model: {network: {class_path: os.mkdir, init_args: {path: evil-was-here}}}",
    ],
)
def test_code_in_a_recipe_is_never_run(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("evil.yaml").write_text(f"{line}\n", encoding="utf-8")
    try:
        code: Any = main(["fit", "-c", "quickstart", "-c", "evil.yaml"])
    except SystemExit as exit_:
        code = exit_.code
    assert code == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not Path("evil-was-here").exists()


HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "ab")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(100)
"""


def test_two_processes_cannot_write_one_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger_module, "_LOCK_WAIT_S", 0.2)
    RUN.mkdir(parents=True)
    command = [sys.executable, "-c", HOLD, str(RUN / ".lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert fit() == 2
        other.kill()
    assert f"another process is writing the run {RUN}" in error_of(capsys)
    assert {path.name for path in RUN.iterdir()} == {".lock"}
    assert fit("--trainer.max_epochs=1") == 0  # a lock ends with its process


def test_a_run_that_is_there_is_not_begun_anew(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--trainer.max_epochs=1") == 0
    before = LAST.read_bytes()
    assert fit("--seed_everything=1") == 2
    assert f"add --ckpt_path {RUN} to go on" in error_of(capsys)
    assert LAST.read_bytes() == before
    assert epochs_written() == [0]
    assert fit(f"--ckpt_path={RUN}") == 0
    assert epochs_written() == [0, 1, 2]


class CtrlC(AfterFirstEpoch):
    def act(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.fixture
def _sigint() -> Iterator[None]:
    """Lightning ignores further interrupts, for the rest of the process."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_sigint")
def test_ctrl_c_keeps_the_last_checkpoint_and_finishes_wandb(
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupting = "--trainer.callbacks+=tests.cli.test_faults.CtrlC"
    assert fit(interrupting, "--trainer.logger.mode=offline") == 130
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.endswith(f"to go on, add: --ckpt_path {RUN}\nsnnplug: interrupted\n")
    assert torch.load(LAST, weights_only=True)["epoch"] == 0
    log = wandb_log.log_of(RUN)
    (end,) = [record.exit for record in wandb_log.records(log) if record.HasField("exit")]
    assert end.exit_code == 130
    assert fit(f"--ckpt_path={RUN}") == 0
    assert epochs_written() == [0, 1, 2]


def test_a_logger_lets_its_run_go_when_it_is_finished() -> None:
    for _ in range(2):
        logger = RunLogger(id="again", mode="disabled")
        assert logger.experiment is not None
        logger.finish()
