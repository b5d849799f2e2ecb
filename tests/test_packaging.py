"""The wheel in an environment without the checkout, where a newcomer takes the first steps."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from snnplug.files import locked
from tests.support import wandb_log
from tests.support.browser import CHROMIUM, needs_browser
from tests.support.transcript import assert_shows, dialogue

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/tutorials/first-steps.md"
ENERGY = "hardware/yin2017_28nm/energy_nj"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.getbasetemp()
    # Built once, whichever of several worker processes comes first.
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "wheel"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    # For every processor alone a third of the time, and with less optimisation half of that.
    options = ("define.SNNPLUG_PORTABLE=ON", "build-type=Debug", "define.CMAKE_CXX_FLAGS_DEBUG=-O1")
    command += [f"--config-settings=cmake.{option}" for option in options]
    with locked(folder.with_suffix(".lock")):
        if not list(folder.glob("*.whl")):
            subprocess.run(
                [*command, "--wheel-dir", str(folder), str(ROOT)], check=True, timeout=600
            )
    (built,) = folder.glob("*.whl")
    return built


def test_holds_everything_that_is_used(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in ROOT.glob("recipes/**/*.yaml"):
        assert f"snnplug/{path.relative_to(ROOT)}" in names
    assert "snnplug/hardware/targets/yin2017-28nm.toml" in names
    assert "snnplug/hardware/sram_28nm_45nm.csv" in names
    assert "snnplug/py.typed" in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"snnplug"}
    assert "-py3-none-" in wheel.name
    assert any(name.startswith("snnplug/kernels/libsnnplug_kernels.") for name in names)
    assert not any(name.endswith((".cpp", ".h")) for name in names)


def test_the_source_archive_can_be_built_and_tested(tmp_path: Path) -> None:
    build = "import sys; from scikit_build_core.build import build_sdist; build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=ROOT, check=True, timeout=120)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode == 0:  # a checkout, not an archive of its own
        hidden = (".ci/", ".github/")
        files = {name for name in tracked.stdout.split("\0") if (ROOT / name).is_file()}
        assert {name for name in files if not name.startswith(hidden)} <= names
    assert {"pyproject.toml", "recipes/quickstart.yaml", "tests/conftest.py"} <= names
    assert "snnplug/kernels/native/kernels.h" in names
    assert not any(".venv" in name or name.endswith((".so", ".pyc")) for name in names)


# Lightning asks this entry point for callbacks. It writes what the process has taken of the CPU
# when the first training step of a run is done.
PROBE = """
import os, time
import lightning.pytorch as pl

class FirstStep(pl.Callback):
    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == 1:
            with open(os.environ["FIRST_STEP"], "a") as file:
                file.write(f"{time.process_time()}\\n")

def callbacks():
    return [FirstStep()]
"""


class Shown(NamedTuple):
    command: str
    page: list[str]
    out: str
    err: str


class Steps(NamedTuple):
    folder: Path
    shown: list[Shown]


@pytest.fixture(scope="session")
def steps(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Steps:
    """Install the wheel beside what it needs, and do what the page says."""
    place = tmp_path_factory.mktemp("elsewhere")
    venv.create(place / "venv")
    python = place / "venv/bin/python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*install, "--no-deps", "--no-index", str(wheel)], check=True, timeout=120)
    (site,) = place.glob("venv/lib/python*/site-packages")
    # The dependencies of this environment; a folder's own .pth files, such as that of the editable
    # install, are not read from here.
    elsewhere = [path for path in sys.path if path.endswith("-packages")]
    (site / "dependencies.pth").write_text("\n".join(elsewhere) + "\n", encoding="utf-8")
    (site / "first_step.py").write_text(PROBE, encoding="utf-8")
    info = site / "first_step-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: first_step\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[lightning.pytorch.callbacks_factory]\nprobe = first_step:callbacks\n"
    )
    folder = place / "work"
    folder.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "PYTHON"))}
    environment = {
        **kept,
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "SNNPLUG_CACHE": str(place / "cache"),  # the recordings are simulated here
        "FIRST_STEP": str(place / "first_step"),
        "NETRC": str(place / "netrc"),
        "COLUMNS": "80",
    }
    shown = []
    for command, page in dialogue(PAGE):
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, (command, done.stderr)
        shown.append(Shown(command, page, done.stdout, done.stderr))
    return Steps(folder, shown)


def test_it_is_the_installed_one(steps: Steps) -> None:
    (where,) = [one.out for one in steps.shown if "snnplug.__file__" in one.command]
    assert where.startswith(str(steps.folder.parent / "venv"))


def test_a_newcomer_sees_what_the_page_shows(steps: Steps) -> None:
    assert len(steps.shown) >= 7
    for _, page, out, _ in steps.shown:
        assert_shows(out.splitlines(), page)


def test_the_demo_reaches_90_percent_and_its_rows_hold_both(steps: Steps) -> None:
    demo = next(one for one in steps.shown if one.command == "snnplug fit -c quickstart")
    found = re.search(r"test accuracy +([\d.]+) %", demo.out)
    assert found
    assert float(found[1]) >= 90
    run = runs(steps)[0]
    rows = [row for row in wandb_log.history(wandb_log.log_of(run)) if ENERGY in row]
    assert [row["epoch"] for row in rows] == list(range(15))
    assert all("val/acc" in row for row in rows)
    bill: dict[str, Any] = json.loads((run / "hardware_test.json").read_text(encoding="utf-8"))
    found = re.search(r"energy +([\d,.]+) nJ/inference", demo.out)
    assert found
    assert float(found[1].replace(",", "")) == pytest.approx(bill["energy_nj"], abs=0.05)


def runs(steps: Steps) -> list[Path]:
    return sorted(Path(steps.folder, "runs/quickstart").iterdir())


def test_the_first_step_comes_within_twelve_seconds_of_work(steps: Steps) -> None:
    """Imports, the recipe, simulating 1,797 recordings and the check of the validation included."""
    times = Path(steps.folder.parent, "first_step").read_text(encoding="utf-8").split()
    assert float(times[0]) < 12


# What a newcomer reads on the way. Whatever else appears is noise, or is added here.
SAID = [
    r"Adding 1 callbacks from entry point .probe.: FirstStep",  # of this test
    r"Seed set to 0",
    r"GPU available: \w+, used: \w+",
    r"SaccadeDigits \(simulated events\): [\d,]+ train \+ [\d,]+ val recordings, .* dropped",
    r"SaccadeDigits \(simulated events\): [\d,]+ test recordings, .* dropped",
    r"`Trainer.fit` stopped: `max_epochs=\d+` reached\.",
    r"Restoring states from the checkpoint path at runs/quickstart/.*/(best|last)\.ckpt",
    # of a run that goes on
    r"Restored all states from the checkpoint at runs/quickstart/.*/last\.ckpt",
    r"runs/quickstart/.*/last\.ckpt was trained with the recipe beside it",
    r"  differs now: trainer\.max_epochs: 3 -> 4",
]


def test_nothing_is_said_that_a_newcomer_cannot_use(steps: Steps) -> None:
    for command, _, out, err in steps.shown:
        for line in err.splitlines():
            assert any(re.fullmatch(pattern, line.rstrip()) for pattern in SAID), (command, line)
        assert not re.search(r"(?i)warn|deprecat|error|traceback|nan\b", out + err), command
        if "fit" in command:
            assert all(len(line) <= 80 or "runs/" in line for line in out.splitlines())
            paths = re.findall(r"runs/[^\s*]+(?=\s)", out)
            assert len(paths) >= 3
            assert all((steps.folder / path).exists() for path in paths)


def test_the_runs_are_what_was_asked_for(steps: Steps) -> None:
    _, resumed, point = runs(steps)
    launched = yaml.safe_load((resumed / "recipe.yaml").read_text(encoding="utf-8"))
    assert launched["trainer"]["max_epochs"] == 4
    assert launched["model"]["network"]["init_args"]["hidden"] == [64]
    assert launched["model"]["optimizer"]["init_args"]["lr"] == 0.003
    lines = (resumed / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1, 2, 3]
    drawn = yaml.safe_load((steps.folder / "quickstart_front.yaml").read_text(encoding="utf-8"))
    tried = yaml.safe_load((point / "recipe.yaml").read_text(encoding="utf-8"))
    hidden = tried["model"]["network"]["init_args"]["hidden"]
    assert hidden in drawn["parameters"]["model.network.hidden"]["values"]
    assert hidden != [64]


@needs_browser
def test_the_report_opens_in_a_browser(steps: Steps, tmp_path: Path) -> None:
    assert CHROMIUM is not None, "SNNPLUG_BROWSER=required, and there is no chromium"
    page = steps.folder / "report.html"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path}", page.as_uri()]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert seen.count("<svg") >= 3
    for run in runs(steps):
        assert run.name in seen
