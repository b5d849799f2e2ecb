"""Where the tests find real data, and the marks of tests that need them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SNNPLUG_DATA = Path(
    os.environ.get("SNNPLUG_DATA") or Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
).resolve()


def _needs(pattern: str) -> pytest.MarkDecorator:
    # In CI the data are there: a test that cannot find them has to fail, not to be skipped.
    found = bool(os.environ.get("CI")) or any(SNNPLUG_DATA.glob(pattern))
    return pytest.mark.skipif(
        not found,
        reason=f"{pattern} not found under {SNNPLUG_DATA}; set SNNPLUG_DATA to its folder",
    )


needs_nmnist = _needs("NMNIST/Train/*/*.bin")
needs_mnist = _needs("mnist/mnist_uint8.npz")
needs_cochlea = _needs("NTIDIGITS18/n-tidigits.hdf5")
