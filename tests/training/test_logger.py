"""The logger: never asks, never needs the network, keeps a run in one folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from snnplug.training.logger import RunLogger, logged_in
from tests.support import wandb_log


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def mode_of(logger: RunLogger) -> str | None:
    mode: str | None = logger._wandb_init.get("mode")
    return mode


def test_without_an_account_it_is_offline_and_asks_nothing() -> None:
    assert not logged_in()
    assert mode_of(RunLogger()) == "offline"


def test_with_an_account_it_is_online(monkeypatch: pytest.MonkeyPatch) -> None:
    # wandb keeps a key for the rest of the process: none is set here.
    monkeypatch.setattr("wandb.login", lambda **arguments: True)
    assert logged_in()
    assert mode_of(RunLogger()) is None


def test_what_the_user_says_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mode_of(RunLogger(mode="disabled")) == "disabled"
    monkeypatch.setenv("WANDB_MODE", "online")
    assert mode_of(RunLogger()) is None


def test_a_run_is_one_folder_and_can_be_read_back() -> None:
    logger = RunLogger(project="p", save_dir="all", id="one")
    assert logger.run_dir == Path("all/p/one")
    assert not logger.run_dir.exists()  # nothing is written before something is logged
    logger.log_metrics({"val/acc": 0.5}, step=3)
    logger.finish()
    logger.finish()
    (row,) = wandb_log.history(wandb_log.log_of(logger.run_dir))
    assert (row["val/acc"], row["trainer/global_step"]) == (0.5, 3)
    assert logger.offline_dir is not None
    assert logger.offline_dir.parent.parent == logger.run_dir


def test_runs_do_not_share_a_folder() -> None:
    assert RunLogger().run_dir != RunLogger().run_dir


def test_settings_of_the_user_are_kept() -> None:
    import wandb

    assert RunLogger()._wandb_init["settings"].quiet
    mine = wandb.Settings(quiet=False)
    assert RunLogger(settings=mine)._wandb_init["settings"] is mine
