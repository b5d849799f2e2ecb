"""Files that are whole or not there."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from snnplug.errors import ArgumentError


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
    data = content.encode("utf-8") if isinstance(content, str) else content
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(data)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ArgumentError(f"cannot write {path}: {error.strerror}") from error
    return path
