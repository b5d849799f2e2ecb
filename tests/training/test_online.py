"""Runs that go to wandb while they train, against a server on loopback that may fail."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from snnplug.cli.main import main
from snnplug.training.logger import RunLogger
from tests.support import wandb_log
from tests.support.events import write_nmnist
from tests.support.wandb_server import WandbServer

ENERGY = "hardware/yin2017_28nm/energy_nj"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    monkeypatch.chdir(tmp_path)
    wandb.teardown()  # wandb reads the environment once
    with WandbServer() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server
        wandb.finish()
        server.shutdown()
    wandb.teardown()


def test_a_run_arrives_with_its_figures_tables_and_summary(
    server: WandbServer, capsys: pytest.CaptureFixture[str]
) -> None:
    write_nmnist(Path("events"), train=100)
    command = ["fit", "-c", "quickstart", "--data=NMNISTDataModule", "--data.root=events"]
    command += ["--data.num_steps=3", "--trainer.enable_progress_bar=false"]
    assert main([*command, "--trainer.max_epochs=2"]) == 0
    (run,) = Path("runs/quickstart").iterdir()
    assert "wandb leet" not in capsys.readouterr().out  # it is not offline
    rows = [row for row in server.history() if ENERGY in row]
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    epochs = [json.loads(line) for line in lines]
    assert [row["epoch"] for row in rows] == [0, 1]
    for row, epoch in zip(rows, epochs, strict=True):
        assert (row[ENERGY], row["val/acc"]) == (epoch[ENERGY], epoch["val/acc"])
    (made, *_) = [given for name, given in server.operations if name == "UpsertBucket"]
    assert (made["name"], made["project"]) == (run.name, "quickstart")
    assert any("media/table/hardware/yin2017_28nm/layers" in name for name in server.files)
    assert any("media/images/activity/raster" in name for name in server.files)
    summary = json.loads(server.files["wandb-summary.json"])
    assert summary[f"best/{ENERGY}"] == epochs[summary["best/epoch"]][ENERGY]

    # Resumed, it is the same run of wandb.
    assert main([*command, "--trainer.max_epochs=3", "--ckpt_path=last"]) == 0
    names = {given["name"] for name, given in server.operations if name == "UpsertBucket"}
    assert names == {run.name}
    assert [row["epoch"] for row in server.history() if ENERGY in row] == [0, 1, 2]


def offline_rows(logger: RunLogger) -> list[Any]:
    return [row["a"] for row in wandb_log.history(wandb_log.log_of(logger.run_dir))]


@pytest.mark.parametrize("fault", ["network", "key"])
def test_a_run_that_cannot_begin_online_is_written_offline(server: WandbServer, fault: str) -> None:
    if fault == "network":
        server.lose()
    else:
        server.key_is_valid = False
    logger = RunLogger(id="one", init_timeout_s=1.0)
    start = time.monotonic()
    with pytest.warns(UserWarning, match=r"wandb cannot be reached.*offline.*wandb sync"):
        logger.log_metrics({"a": 1})
    logger.log_metrics({"a": 2})
    logger.finish()
    assert time.monotonic() - start < 30  # the computer may be busy; wandb's own is 90 s and fails
    assert offline_rows(logger) == [1, 2]


@pytest.mark.parametrize(
    "fault",
    [WandbServer.lose, lambda server: setattr(server, "key_is_valid", False)],
    ids=["network", "key"],
)
def test_a_run_that_loses_wandb_goes_on_and_can_be_synced(
    server: WandbServer, fault: Callable[[WandbServer], None]
) -> None:
    logger = RunLogger(id="one", finish_timeout_s=1.0)
    for k in range(20):
        start = time.monotonic()
        logger.log_metrics({"a": k})
        assert time.monotonic() - start < 5 or k == 0  # logging waits for nothing
        if k == 9:
            server.wait_for_rows(3)
            fault(server)
    start = time.monotonic()
    logger.finish()
    assert time.monotonic() - start < 30
    assert len(server.history()) < 20
    # Everything is in the folder that the summary names.
    assert logger.online_dir is not None
    assert logger.offline_dir is None
    (log,) = logger.online_dir.glob("run-*.wandb")
    assert [row["a"] for row in wandb_log.history(log)] == list(range(20))
