"""A recipe in two processes is the recipe in one: counts, energies, metrics, also when one dies."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from snnplug.cli.main import main
from tests.support.events import write_nmnist

ROOT = Path(__file__).resolve().parents[2]
# Without dropout, which every process draws for itself; with samples that come out even.
RECIPE = [
    "fit",
    "-c",
    "quickstart",
    "--data=NMNISTDataModule",
    "--data.root=events",
    "--data.num_steps=4",
    "--data.val_fraction=0.3",
    "--model.network.dropout_input=0",
    "--model.network.dropout_hidden=0",
    "--model.network.hidden=[24]",
    "--trainer.max_epochs=3",
    "--trainer.enable_progress_bar=false",
    "--trainer.callbacks+=SpikeMetrics",
    "--trainer.logger.mode=offline",
]
TWO = ["--trainer.strategy=ddp", "--trainer.devices=2", "--trainer.accelerator=cpu"]


class DiesOnce(pl.Callback):
    """Kills the second process in the second epoch, unless the job was restarted."""

    def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
        """Kill."""
        first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
        if first and trainer.global_rank == 1 and trainer.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process, and the recordings."""
    folder = tmp_path_factory.mktemp("scale")
    write_nmnist(folder / "events", train=100)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        batch = ["--data.batch_size=20", "--trainer.logger.id=one"]
        assert main([*RECIPE, *batch]) == 0
    return folder


def environment(**variables: str) -> dict[str, str]:
    quiet = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "OMP_NUM_THREADS": "1"}
    # Not the wandb service of this process, which would hold a killed run open.
    ours = {key: value for key, value in os.environ.items() if key != "WANDB_SERVICE"}
    return {**ours, **quiet, "PYTHONPATH": str(ROOT), **variables}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def assert_same_run(one: Path, other: Path) -> None:
    for name in ("activity.json", "activity_test.json", "hardware.json", "hardware_test.json"):
        assert (one / name).read_text() == (other / name).read_text(), name
    ours, theirs = (
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (one, other)
    )
    assert len(ours) == len(theirs) == 3
    for a, b in zip(ours, theirs, strict=True):
        losses = {key for key in a if key.endswith("/loss")}
        assert len(losses) == 2
        # A sum of floats has another order in two processes.
        assert b == {**a, **{key: pytest.approx(a[key], rel=1e-5) for key in losses}}
        assert a["activity/synops"] > 0
    mine, yours = (
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for run in (one, other)
    )
    for name, value in mine.items():
        torch.testing.assert_close(yours[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_weights_may_be_parted_among_the_processes(folder: Path) -> None:
    command = [sys.executable, "-m", "snnplug", *RECIPE, "--trainer.strategy=fsdp2", *TWO[1:]]
    command += ["--data.batch_size=10", "--trainer.logger.id=parted"]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Warning" not in done.stderr
    runs = folder / "runs" / "quickstart"
    assert_same_run(runs / "one", runs / "parted")
    # The checkpoint is that of a run in one process, its optimiser's state included.
    mine, theirs = (
        torch.load(runs / run / "checkpoints" / "last.ckpt", weights_only=True)
        for run in ("one", "parted")
    )
    ours, others = (each["optimizer_states"][0]["state"] for each in (mine, theirs))
    assert ours.keys() == others.keys()
    for key, state in ours.items():
        torch.testing.assert_close(others[key]["exp_avg"], state["exp_avg"], rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_torchrun_goes_on_when_a_process_is_killed(folder: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += ["--max-restarts=1", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0"]
    command += ["--rdzv-id=job", "--monitor-interval=0.2", "-m", "snnplug", *RECIPE, *TWO]
    command += ["--data.batch_size=10", "--trainer.callbacks+=tests.cli.test_scale.DiesOnce"]
    command += ["--ckpt_path=auto"]
    # torch's agent keeps its store over restarts, and with it the addresses of dead processes.
    fresh = environment(TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1")
    done = subprocess.run(
        command, cwd=folder, env=fresh, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Restoring states from the checkpoint" in done.stdout + done.stderr
    runs = folder / "runs" / "quickstart"
    assert {run.name for run in runs.iterdir()} >= {"one", "torchrun-job"}
    known = ("one", "parted", "torchrun-job", "slurm-12", "on-ray")
    assert not [run for run in runs.iterdir() if run.name not in known]
    assert_same_run(runs / "one", runs / "torchrun-job")
    assert len(list((runs / "torchrun-job").glob("wandb/offline-run-*"))) == 2
    assert "It is recommended to use `self.log(" not in done.stderr


@pytest.mark.slow
def test_slurm_names_the_run_after_its_job(folder: Path) -> None:
    port = str(free_port())
    job = {"SLURM_JOB_ID": "12", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}
    job |= {"SLURM_NNODES": "1", "SLURM_NODEID": "0", "SLURM_NODELIST": "127.0.0.1"}
    command = [sys.executable, "-m", "snnplug", *RECIPE, *TWO, "--data.batch_size=10"]
    command += ["--ckpt_path=auto"]
    tasks = [
        subprocess.Popen(
            command,
            cwd=folder,
            env=environment(SLURM_PROCID=rank, SLURM_LOCALID=rank, MASTER_PORT=port, **job),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in ("0", "1")
    ]
    try:
        printed = [task.communicate(timeout=300)[0] for task in tasks]
    finally:
        for task in tasks:
            task.kill()
    assert [task.returncode for task in tasks] == [0, 0], printed
    runs = folder / "runs" / "quickstart"
    assert_same_run(runs / "one", runs / "slurm-12")
    assert len(list((runs / "slurm-12").glob("wandb/offline-run-*"))) == 1
    assert "test accuracy" in printed[0]
    assert "test accuracy" not in printed[1]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="pip install 'snnplug[ray]'")
def test_the_script_for_ray_trains_the_same_run(folder: Path) -> None:
    page = (ROOT / "docs/how-to/scale.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```py\n(.*?)```", page, re.S)
    # The names of Ray's sockets have to be short; its cores may be more than this machine's.
    with tempfile.TemporaryDirectory(prefix="ray") as sockets:
        start = f"import ray\nray.init(num_cpus=2, _temp_dir={sockets!r})\n"
        (folder / "on_ray.py").write_text(start + script, encoding="utf-8")
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        quiet = {"RAY_USAGE_STATS_ENABLED": "0", "HOME": str(folder), "PYTHONPATH": paths}
        done = subprocess.run(
            [sys.executable, "on_ray.py", *RECIPE[1:], "--data.batch_size=10"],
            cwd=folder,
            env={**environment(), **quiet},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-4000:]
    runs = folder / "runs" / "quickstart"
    assert_same_run(runs / "one", runs / "on-ray")
    assert done.stdout.count("test accuracy") == 1
