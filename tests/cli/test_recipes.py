"""Recipes: found by name or path, and every one of them runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from snnplug.cli.main import main
from snnplug.cli.recipes import header, packaged_recipes, resolve_configs
from tests.data.test_mnist import blank, write_archive
from tests.support.events import write_nmnist, write_ntidigits


def test_names_become_files_and_files_stay(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("seed_everything: 1\n", encoding="utf-8")
    quickstart = str(packaged_recipes()["quickstart"])
    args = ["-c", "quickstart", "--config", str(mine), "--config=quickstart", "--x", "quickstart"]
    assert resolve_configs(args) == [
        "--config",
        quickstart,
        "--config",
        str(mine),
        f"--config={quickstart}",
        "--x",
        "quickstart",
    ]


@pytest.mark.parametrize("name", packaged_recipes())
def test_header_says_what_to_expect_and_how_long(name: str) -> None:
    text = "\n".join(header(packaged_recipes()[name]))
    for word in ("Launch:", "What:", "Expect:", "Takes:"):
        assert word in text
    assert f"snnplug fit -c {name}" in text


@pytest.mark.parametrize("name", packaged_recipes())
def test_every_recipe_builds_and_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SNNPLUG_DATA", raising=False)
    root = []
    if name.startswith("nmnist"):
        root = ["--data.root", str(write_nmnist(tmp_path, train=200))]
    elif name.startswith("ntidigits"):
        write_ntidigits(tmp_path)
        root = ["--data.root", str(tmp_path)]
    elif "mnist" in name:
        write_archive(tmp_path, blank())
        root = ["--data.root", str(tmp_path)]
        if name.startswith("saccade"):
            root += ["--data.limit", "200", "--data.leave_out", "0"]
    assert main(["fit", "-c", name, "--trainer.fast_dev_run", "1", *root]) == 0
    assert not (tmp_path / "runs").exists()


def test_options_of_the_spike_train_rules_stand_in_a_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Path(__file__).resolve().parents[2] / "docs/explanation/learning-rules.md"
    (block,) = re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    monkeypatch.chdir(tmp_path)
    write_nmnist(tmp_path, train=200)
    Path("options.yaml").write_text(block, encoding="utf-8")
    args = ["fit", "-c", "nmnist_hm2bp", "-c", "options.yaml", "--data.root", str(tmp_path)]
    args += ["--model.network.init_ranges", "null", "--trainer.fast_dev_run", "1"]
    with pytest.raises(SystemExit, match="0"):
        main([*args, "--print_config"])
    recipe = yaml.safe_load(capsys.readouterr().out)
    network = recipe["model"]["network"]["init_args"]
    assert network["rule"]["init_args"]["silent_ratio"] == 1.0
    assert network["weight_penalty"] == {"strength": 10.0, "slope": 0.01, "limit": 8.0}
    (boosting,) = recipe["trainer"]["callbacks"]
    assert boosting["init_args"] == {"scale": 20.0}
    assert main(args) == 0
