"""Completion: the script is run by the shells themselves, and the help at once by the clock."""

from __future__ import annotations

import os
import pty
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from snnplug import backends
from snnplug.cli import completion
from snnplug.cli.help import TRAINING_HELP
from snnplug.cli.main import _COMMANDS, main
from snnplug.cli.recipes import packaged_recipes, packaged_sweeps
from snnplug.hardware.target import packaged_targets
from tests.support.events import write_nmnist


def script(shell: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["completion", shell]) == 0
    path = folder / f"complete.{shell}"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    return path


def offered(script: Path, *words: str) -> set[str]:
    """Return what bash offers for the last of the words."""
    command = (
        f'source {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _snnplug; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", command, "bash", "snnplug", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def test_bash_offers_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bash = script("bash", tmp_path, capsys)
    recipes, targets = set(packaged_recipes()), set(packaged_targets())
    expected: list[tuple[list[str], set[str]]] = [
        ([""], set(_COMMANDS)),
        (["comp"], {"completion"}),
        (["fit", "-c", ""], recipes),
        (["fit", "-c", "quick"], {"quickstart"}),
        (["fit", "-c", "my_own"], set()),  # files, then
        (["fit", "-c", "quickstart", "--hardware.target", "yin"], {"yin2017-28nm"}),
        # bash cuts --field=value into three words, unless it is told not to
        (["fit", "--hardware.target", "=", "yin"], {"yin2017-28nm"}),
        (["fit", "--hardware.target", "="], targets),
        (["fit", "--hardware.target=yin"], {"--hardware.target=yin2017-28nm"}),
        (["fit", "--trainer.max_epochs="], set()),
        (["fit", "--trainer.max_e"], {"--trainer.max_epochs"}),
        (["test", "--ckpt_path", ""], {"last"}),
        (["fit", "--backend", ""], set(backends.names())),
        (["price", "activity.json", "--target", ""], targets),
        (["estimate", "net:Net", "--data", "mnist_snn"], {"mnist_snn_dc"}),
        (["recipes", "cp", "sweeps/"], set(packaged_sweeps())),
        (["targets", ""], {"ls", "show"} | targets),
        (["report", ""], set()),
    ]
    for words, those in expected:
        assert offered(bash, *words) == those, words


@pytest.mark.parametrize(
    ("shell", "start"),
    [("bash", "bash --norc --noprofile -i"), ("zsh", "zsh -f -i")],
)
def test_the_tab_key_completes(
    shell: str, start: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An interactive shell at a terminal, its command replaced by one that shows its arguments."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    source = script(shell, tmp_path, capsys)
    dialogue = [
        (f"source {source}; snnplug() {{ echo GOT:$*:; }}; echo READ''Y\n", r"READY"),
        ("snnplug fit -c quicks\t", r"-c quickstart"),
        ("--hardware.target=yin\t", r"yin2017-28nm"),
        ("\n", r"GOT:fit -c quickstart --hardware\.target=yin2017-28nm *:"),
    ]
    hold(dialogue, start.split(), tmp_path)


def hold(dialogue: list[tuple[str, str]], command: list[str], home: Path) -> None:
    """Type at a terminal that runs the command, each time until it shows what is expected."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(HOME=str(home), TERM="dumb", INPUTRC="/dev/null", COLUMNS="200")
        os.chdir(home)
        os.execvp(command[0], command)
    seen, give_up = "", time.monotonic() + 60
    try:
        for keys, expected in dialogue:
            os.write(terminal, keys.encode())
            while not re.search(expected, seen):
                assert select.select([terminal], [], [], give_up - time.monotonic())[0], seen
                seen += os.read(terminal, 4096).decode(errors="replace")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)


def test_names_in_the_script_are_those_of_the_package() -> None:
    assert set(completion._BACKENDS) == set(backends.names())


@pytest.mark.parametrize("args", [[], ["fish"], ["bash", "zsh"]])
def test_another_shell_is_a_short_error(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", *args]) == 2
    assert "usage is completion bash|zsh" in capsys.readouterr().err


@pytest.mark.parametrize("args", [["fit", "--help"], ["test", "-c", "quickstart", "-h"]])
def test_help_takes_little_time(args: list[str]) -> None:
    """CPU time of the process, which other programs on the machine do not lengthen."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "snnplug", *args],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5
    assert f"usage: snnplug {args[0]} -c NAME|FILE" in done.stdout
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert not {"torch", "lightning", "jsonargparse"} & imported


def test_every_field_of_the_help_is_taken_by_the_parser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_nmnist(tmp_path / "data", train=20)
    given = {
        "--data": "NMNISTDataModule",
        "--model.network": "DenseSNN",
        "--model.loss": "CountCrossEntropy",
        "--model.optimizer": "Adam",
        "--model.lr_scheduler": "CosineAnnealingLR",
        "--hardware.target": "odin-2019",
        "--checkpoint.mode": "min",
        "--checkpoint.monitor": "val/loss",
        "--trainer.logger": "RunLogger",
        "--trainer.logger.mode": "offline",
        "--trainer.logger.project": "mine",
        "--trainer.logger.save_dir": "there",
        "--trainer.callbacks+": "SpikeMetrics",
        "--trainer.accelerator": "cpu",
        "--trainer.precision": "bf16-mixed",
        "--trainer.enable_progress_bar": "false",
        "--test_after_fit": "false",
        "--backend": "eager",
    }
    left_out = {"--config", "--ckpt_path", "--print_config", "--help", "--help-all", "--data.help"}
    fields = set(completion.fields_of_help())
    assert left_out | set(given) <= fields
    numbers = dict.fromkeys(sorted(fields - left_out - set(given)), "1")
    after = {"--model.lr_scheduler.T_max": "3", "--model.network.hidden": "[3]"}
    options = [f"{name}={value}" for name, value in (given | numbers | after).items()]
    options.sort(key=lambda option: option.count("."))
    with pytest.raises(SystemExit, match="0"):
        main(["fit", "-c", "quickstart", *options, "--print_config"])
    printed = capsys.readouterr().out
    assert "max_epochs: 1\n" in printed
    assert "class_path: snnplug.callbacks.spike_metrics.SpikeMetrics" in printed


def test_the_longer_help_lists_what_the_short_one_leaves_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["fit", "--help-all"])
    everything = capsys.readouterr().out
    assert "--trainer.accumulate_grad_batches" in everything
    assert "--trainer.accumulate_grad_batches" not in TRAINING_HELP
