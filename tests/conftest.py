"""What every test runs under: one thread, no network, no account, no leftovers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Before torch is imported: on two shared cores one thread is faster than two that wait.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Lightning's log handler keeps the stderr of its import: that of the session, not of one test.
import lightning.pytorch  # noqa: F401


@pytest.hookimpl(trylast=True)  # of those that are selected
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow ones, so that no process is left alone with one of them at the end.

    Each process is first given as many tests, one process after the other, and then takes from
    those that others have left. Slow ones that share a preparation are in one file.
    """
    slow = [item for item in items if item.get_closest_marker("slow")]
    quick = [item for item in items if not item.get_closest_marker("slow")]
    files = sorted({item.path for item in slow}, key=lambda p: (p.name != "test_packaging.py", p))
    count, processes = len(items), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    items.clear()
    for k in range(processes):
        for path in files[k::processes]:
            items += [item for item in slow if item.path == path]
        size = max(count * (k + 1) // processes - len(items), 0)
        items += quick[:size]
        del quick[:size]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Pack recordings into a folder of this session, not into the user's."""
    os.environ["SNNPLUG_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that leaves the machine."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else ""
        if host and host not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No wandb key, no run left open, nothing written outside the test's folder."""
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield
    import sys

    if "wandb" in sys.modules:
        sys.modules["wandb"].finish()
