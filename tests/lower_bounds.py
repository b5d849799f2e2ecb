"""Installs the oldest versions that pyproject.toml allows, and trains.

``python3.10 -m tests.lower_bounds FOLDER [--extra NAME ...]`` makes an environment in FOLDER with
exactly the lower bound of each dependency, installs this package over it, has pip check it, and
runs what a user runs first. The last line says what was installed, or the first command that
failed. It downloads several GB where PyPI's torch comes with CUDA, so it is no part of the tests.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Each must end with 0. The recipe trains an epoch, draws pictures, tests and prices.
SMOKE = (
    ("pip", "check"),
    ("snnplug", "doctor"),
    ("snnplug", "recipes"),
    ("snnplug", "fit", "--help-all"),
    ("snnplug", "fit", "-c", "quickstart", "--trainer.max_epochs=1"),
    ("snnplug", "fit", "-c", "quickstart", "--trainer.max_epochs=2", "--ckpt_path=last"),
    ("snnplug", "fit", "-c", "mnist_snn_dc", "--help"),
)


def lower_bounds(requirements: Sequence[str]) -> list[str]:
    """Return each requirement at its lower bound.

    Example:
        >>> lower_bounds(["torch>=2.7", "lightning>=2.6.4,<3", 'tomli>=2; python_version < "3.11"'])
        ['torch==2.7', 'lightning==2.6.4', 'tomli==2; python_version < "3.11"']
        >>> lower_bounds(["numpy"])
        Traceback (most recent call last):
        ...
        ValueError: numpy has no lower bound
    """
    pins = []
    for requirement in requirements:
        found = re.fullmatch(r"([\w.-]+(?:\[[\w,]+\])?)>=([\w.]+)[^;]*(;.*)?", requirement)
        if found is None:
            raise ValueError(f"{requirement} has no lower bound")
        pins.append(f"{found[1]}=={found[2]}{found[3] or ''}")
    return pins


def requirements_of(extras: Sequence[str]) -> list[str]:
    """Return the dependencies in pyproject.toml, with those of extras."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        from pip._vendor import tomli as tomllib
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(r for extra in extras for r in optional[extra])]


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the environment, install, and run the commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--extra", action="append", default=[])
    given = parser.parse_args(arguments)
    venv.create(given.folder / "venv", with_pip=True, clear=True)
    bin_ = (given.folder / "venv" / "bin").resolve()
    pins = lower_bounds(requirements_of(given.extra))
    commands = [("pip", "install", *pins), ("pip", "install", "--no-deps", str(ROOT)), *SMOKE]
    environment = {**os.environ, "SNNPLUG_CACHE": str((given.folder / "cache").resolve())}
    for command in commands:
        print("$", *command, flush=True)
        program = str(bin_ / command[0])
        done = subprocess.run(
            [program, *command[1:]], cwd=given.folder, env=environment, check=False
        )
        if done.returncode:
            print("failed:", *command)
            return 1
    print(f"Python {sys.version.split()[0]} with {', '.join(pins)}: passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
