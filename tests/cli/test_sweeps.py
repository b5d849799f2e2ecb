"""Every sweep: what wandb's agent would launch, this command line takes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from snnplug.cli.main import main
from snnplug.cli.recipes import header, packaged_sweeps
from snnplug.training.logger import RunLogger
from tests.support.events import write_nmnist


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(packaged_sweeps()[name].read_text(encoding="utf-8"))
    return content


def point(parameters: dict[str, Any], seed: int) -> dict[str, Any]:
    """Draw a point as the server would send it to an agent."""
    draw, drawn = random.Random(seed), {}
    for name, given in parameters.items():
        if "values" in given:
            value = draw.choice(given["values"])
        elif "value" in given:
            value = given["value"]
        else:
            value = draw.uniform(given["min"], given["max"])
        drawn[name] = {"value": value}
    return drawn


def launched(sweep: dict[str, Any], seed: int) -> list[str]:
    """Return the command that wandb's own agent makes of a point."""
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    made = utils.create_sweep_command_args({"args": point(sweep["parameters"], seed)})
    command: list[str] = []
    for word in utils.create_sweep_command(list(sweep["command"])):
        command += made["args"] if word == "${args}" else [word]
    return command


@pytest.mark.parametrize("name", packaged_sweeps())
def test_what_the_agent_launches_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = read(name)
    if "nmnist" in name:
        write_nmnist(tmp_path / "data", train=200)
    program, *arguments = launched(sweep, seed=0)
    assert program == sweep["program"] == "snnplug"
    assert sum(argument.startswith("--") for argument in arguments) == len(sweep["parameters"])
    assert main([*arguments, "--trainer.fast_dev_run=1"]) == 0


@pytest.mark.parametrize("name", packaged_sweeps())
def test_the_metric_is_one_that_is_logged(name: str) -> None:
    sweep = read(name)
    assert sweep["metric"]["name"] in ("val/acc", "hardware/yin2017_28nm/energy_nj")
    assert sweep["method"] in ("grid", "random", "bayes")
    text = "\n".join(header(packaged_sweeps()[name]))
    assert f"wandb sweep {Path(name).name}.yaml" in text
    assert "By hand: snnplug fit -c" in text


def test_a_sweeps_run_has_the_id_that_the_agent_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
    monkeypatch.setenv("WANDB_RUN_ID", "point1")
    logger = RunLogger(project="digits", save_dir=str(tmp_path))
    assert logger.run_dir == tmp_path / "digits" / "point1"
    assert not {"id", "project", "entity"} & logger._wandb_init.keys()


def test_sweeps_are_listed_and_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    assert "sweeps/quickstart_front" in capsys.readouterr().out
    assert main(["recipes", "cp", "sweeps/quickstart_front", str(tmp_path)]) == 0
    copied = (tmp_path / "quickstart_front.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(copied) == read("sweeps/quickstart_front")
