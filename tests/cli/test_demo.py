"""``make demo``: what it does in a process of its own, how soon it trains, and what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support import wandb_log

pytestmark = pytest.mark.slow
ENERGY = "hardware/yin2017_28nm/energy_nj"

# Writes what the process has taken of the CPU when its first training step is done.
FIRST_STEP = """
import time
import lightning.pytorch as pl

class FirstStep(pl.Callback):
    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == 1:
            open("first_step", "w").write(str(time.process_time()))
"""


class Demo(NamedTuple):
    folder: Path
    out: str
    err: str


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("demo")
    (folder / "first_step_seen.py").write_text(FIRST_STEP, encoding="utf-8")
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "PYTHONW"))},
        "SNNPLUG_CACHE": str(folder / "cache"),  # the recordings are simulated in this run
        "NETRC": str(folder / "netrc"),
        "COLUMNS": "80",
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "snnplug", "fit", "-c", "quickstart"),
            "--trainer.callbacks+=first_step_seen.FirstStep",
        ],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Demo(folder, done.stdout, done.stderr)


def test_it_reaches_90_percent_and_its_rows_hold_both(demo: Demo) -> None:
    found = re.search(r"test accuracy +([\d.]+) %", demo.out)
    assert found
    assert float(found[1]) >= 90
    (run,) = Path(demo.folder, "runs/quickstart").iterdir()
    rows = [row for row in wandb_log.history(wandb_log.log_of(run)) if ENERGY in row]
    assert [row["epoch"] for row in rows] == list(range(15))
    assert all("val/acc" in row for row in rows)


def test_the_first_step_comes_within_twelve_seconds_of_work(demo: Demo) -> None:
    """Imports, the recipe, simulating 1,797 recordings and the check of the validation included."""
    assert float((demo.folder / "first_step").read_text(encoding="utf-8")) < 12


# What a newcomer reads on the way. Whatever else appears is noise, or is added here.
SAID = [
    r"Seed set to 0",
    r"GPU available: \w+, used: \w+",
    r"SaccadeDigits \(simulated events\): [\d,]+ train \+ [\d,]+ val recordings, .* dropped",
    r"SaccadeDigits \(simulated events\): [\d,]+ test recordings, .* dropped",
    r"`Trainer.fit` stopped: `max_epochs=15` reached\.",
    r"Restoring states from the checkpoint path at runs/quickstart/.*/best\.ckpt",
]


def test_it_says_nothing_that_a_newcomer_cannot_use(demo: Demo) -> None:
    for line in demo.err.splitlines():
        assert any(re.fullmatch(pattern, line.strip()) for pattern in SAID), line
    assert not re.search(r"(?i)warn|deprecat|error|traceback|nan\b", demo.out + demo.err)
    assert all(len(line) <= 80 or "runs/" in line for line in demo.out.splitlines())


def test_every_command_that_it_prints_and_every_path_is_there(demo: Demo) -> None:
    paths = re.findall(r"runs/\S+", demo.out)
    assert len(paths) >= 4
    assert all((demo.folder / path).exists() for path in paths)
    (run,) = Path(demo.folder, "runs/quickstart").iterdir()
    bill: dict[str, Any] = json.loads((run / "hardware_test.json").read_text(encoding="utf-8"))
    found = re.search(r"energy +([\d,.]+) nJ/inference", demo.out)
    assert found
    assert float(found[1].replace(",", "")) == pytest.approx(bill["energy_nj"], abs=0.05)
