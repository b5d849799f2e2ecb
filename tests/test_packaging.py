"""The wheel: recipes, targets and the SRAM table are in it, and it works without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], check=True, timeout=300)
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


def test_runs_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    # Without the finder of the editable install, which would come first.
    script = (
        "import sys; "
        "sys.meta_path[:] = [f for f in sys.meta_path if 'skbc' not in type(f).__module__]; "
        "import snnplug; from snnplug.cli.main import main; "
        "assert 'site' in snnplug.__file__, snnplug.__file__; sys.exit(main(sys.argv[1:]))"
    )
    for args, expected in (
        (["recipes"], "quickstart"),
        (["targets"], "yin2017-28nm"),
        (["fit", "-c", "quickstart", "--trainer.fast_dev_run=1"], "Trainer.fit"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", script, *args],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout + done.stderr
