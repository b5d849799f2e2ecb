"""Packages that only the tests use, as independent references."""

from __future__ import annotations

import os
import platform
import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import pytest


def peer(name: str) -> ModuleType:
    """Import a reference package.

    Where it is not installed the test is skipped, except under ``make test``, which installs it:
    there a missing one is a failure.
    """
    package = name.partition(".")[0]
    if find_spec(package) is not None:
        return import_module(name)
    required = os.environ.get("SNNPLUG_PEERS") == "required"
    if required and not (package == "sanafe" and not _has_sana_fe()):
        pytest.fail(f"{package} is not installed; `make install` installs it")
    pytest.skip(f"{package} is not installed")


def _has_sana_fe() -> bool:
    """Whether SANA-FE is built for this platform."""
    return sys.platform == "linux" and platform.machine() == "x86_64"
