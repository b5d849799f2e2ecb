"""Files that are whole or not there."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from snnplug.errors import ArgumentError


def cache_folder() -> Path:
    """Return where what can be made again is kept: ``$SNNPLUG_CACHE``, or the user's cache."""
    given = os.environ.get("SNNPLUG_CACHE")
    if given:
        return Path(given)
    from pooch import os_cache

    return Path(os_cache("snnplug"))


def write_whole(path: str | Path, content: str | bytes) -> Path:
    """Write a file so that no reader ever sees a part of it.

    Args:
        path: Where; the folder is made if it is not there.
        content: Text, written as UTF-8, or bytes.

    Returns:
        The path.

    Raises:
        ArgumentError: It cannot be written there.
    """
    path = Path(path)
    with replacing(path) as partial:
        partial.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield where to write what takes the place of a file, or of a new folder, once it is whole.

    Args:
        path: The file or the folder; what it lies in is made if it is not there. A folder that
            is there has to be empty.

    Raises:
        ArgumentError: It cannot be written there.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            os.replace(partial, path)
        finally:
            if partial.is_dir():
                shutil.rmtree(partial, ignore_errors=True)
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ArgumentError(f"cannot write {path}: {error.strerror or error}") from error


def lock(path: str | Path, wait_s: float = 0.0) -> int:
    """Hold a file against other processes until it is closed or this process ends, however it ends.

    Where the system has no such locks, as on Windows, nobody is kept out.

    Args:
        path: The file; made if it is not there.
        wait_s: How long to wait for another process to let it go.

    Returns:
        The descriptor of the open file, for ``os.close``.

    Raises:
        BlockingIOError: Another holds it.
        OSError: It cannot be written.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        import fcntl
    except ModuleNotFoundError:
        return file
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(file)
                raise
            time.sleep(0.1)


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Hold a file as :func:`lock` does, for a block, and wait for others as long as it takes."""
    file = lock(path, wait_s=float("inf"))
    try:
        yield
    finally:
        os.close(file)
