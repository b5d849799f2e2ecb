"""Reading HDF5 files: in a process of its own, because a damaged one can crash the library."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
import numpy.typing as npt

from snnplug.errors import DataError

#: A data set of the file: all of it (None), one of its rows, or its shape.
Place = tuple[str, int | Literal["shape"] | None]

# What the process may take of memory, and more.
_MOST_BYTES = 1 << 30
#: How long the library may take over one request, in seconds.
PATIENCE_S = 60.0
# The paths are handed over: a script's own folder, or a changed one, is not in the environment.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from snnplug.data.hdf5_process import serve; serve()"
)


def read_hdf5(
    path: str | Path, places: Sequence[Place], what: str = "it", remedy: str = "copy it again"
) -> list[npt.NDArray[Any]]:
    """Return arrays of an HDF5 file; nothing in the file can harm this process.

    The library, which ends the process that opens some damaged files, runs in another: one for all
    files, started when it is first needed, and again when it has ended. It inherits nothing and
    imports neither the program nor torch, so it works on every system.

    Args:
        path: The file.
        places: What is read of it, in the order returned.
        what: What that is, for the error.
        remedy: What can be done, for the error.

    Returns:
        Numbers or bytes, one array per place.

    Raises:
        DataError: The file cannot be read, the library crashed on it, or did not come to an end.

    Example:
        >>> import h5py, tempfile
        >>> path = Path(tempfile.mkdtemp(), "a.h5")
        >>> with h5py.File(path, "w") as file:
        ...     file["labels"] = [3, 4, 5]
        >>> [a.tolist() for a in read_hdf5(path, [("labels", 1), ("labels", "shape")])]
        [4, [3]]
    """
    try:
        with _lock:
            return _running().read(str(path), places)
    except _UnreadableError as error:
        raise DataError(f"{path}: {what} cannot be read ({error}); {remedy}") from None


class _UnreadableError(Exception):
    """Why a file cannot be read."""


class _Reader:
    """The process, and the pipes to it."""

    def __init__(self) -> None:
        self.asked_s = time.monotonic()
        try:
            self.process = subprocess.Popen(  # noqa: S603  # our own module, by this interpreter
                [sys.executable, "-c", _START, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # It computes nothing; threads would only take memory.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        except OSError as error:
            raise _UnreadableError(f"no process can be started: {error}") from error
        self.requests = cast("IO[bytes]", self.process.stdin)
        self.answers = cast("IO[bytes]", self.process.stdout)
        self.number = 0
        with self._in_time():
            said = self.answers.readline()
        if said != b"ready\n":
            raise _UnreadableError(
                f"the process that reads HDF5 files {self.end()} as it started; "
                f"{sys.executable} -c 'import h5py' may say why"
            )

    def read(self, path: str, places: Sequence[Place]) -> list[npt.NDArray[Any]]:
        """Ask for arrays and take them."""
        self.asked_s = time.monotonic()
        self.number += 1
        try:
            with self._in_time():
                request = json.dumps([self.number, path, list(places), PATIENCE_S])
                self.requests.write(request.encode() + b"\n")
                self.requests.flush()
                return self._answer()
        except (OSError, EOFError) as error:
            raise _UnreadableError(f"the process that read it {self.end()}") from error
        except (ValueError, TypeError, KeyError, MemoryError) as error:
            self.process.kill()
            self.end()
            raise _UnreadableError(f"the process that read it gave no answer: {error}") from error
        except _UnreadableError:
            raise
        # Interrupted: what it answers would be taken for the answer to the next request.
        except BaseException:
            self.end()
            raise

    @contextlib.contextmanager
    def _in_time(self) -> Iterator[None]:
        """End a process that answers nothing: one that is stopped does not end itself."""
        overdue = threading.Timer(PATIENCE_S + _GRACE_S, self.process.kill)
        overdue.daemon = True
        overdue.start()
        try:
            yield
        finally:
            overdue.cancel()

    def _answer(self) -> list[npt.NDArray[Any]]:
        line = self.answers.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        of_head, _, head = line[:-1].partition(b" ")
        if of_head != b"%08x" % zlib.crc32(head):
            raise ValueError("the sum of its line is wrong")
        of_bodies, _, content = head.partition(b" ")
        answer = json.loads(content)
        if answer["number"] != self.number:
            raise ValueError(f"it is the answer to request {answer['number']}, not {self.number}")
        if "error" in answer:
            raise _UnreadableError(answer["error"])
        stated = [(np.dtype(dtype), shape) for dtype, shape in answer["arrays"]]
        if not all(0 <= dtype.itemsize * prod(shape) <= _MOST_BYTES for dtype, shape in stated):
            raise ValueError(f"it states arrays of {answer['arrays']}")
        bodies = [self._taken(dtype.itemsize * prod(shape)) for dtype, shape in stated]
        found = 0
        for body in bodies:
            found = zlib.crc32(body, found)
        if of_bodies != b"%08x" % found:
            raise ValueError("the sum of its arrays is wrong")
        return [
            np.frombuffer(body, dtype=dtype).reshape(shape)
            for body, (dtype, shape) in zip(bodies, stated, strict=True)
        ]

    def _taken(self, num_bytes: int) -> bytes:
        raw = self.answers.read(num_bytes)
        if len(raw) < num_bytes:
            raise EOFError
        return raw

    def end(self) -> str:
        """End the process if it has not ended, and say how it did."""
        for pipe in (self.requests, self.answers):
            with contextlib.suppress(OSError):  # what was to be written to it goes nowhere
                pipe.close()
        try:
            status = self.process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        if time.monotonic() - self.asked_s >= PATIENCE_S:
            return f"took more than {PATIENCE_S:g} s"
        if status < 0:
            return f"ended with {signal.Signals(-status).name}"
        return f"ended with status {status}"


# Between the end of its input and that of the process.
_GRACE_S = 2.0
_lock = threading.Lock()
_reader: _Reader | None = None
#: Those of the process that this one was forked from.
_others: list[_Reader] = []


def _running() -> _Reader:
    global _reader
    if _reader is not None and _reader.process.poll() is not None:
        _end()
    if _reader is None:
        _reader = _Reader()
    return _reader


def _end() -> None:
    global _reader
    if _reader is not None:
        _reader.end()
        _reader = None


def _forked() -> None:
    """Leave the reader to the parent: two that ask at once would take each other's answers."""
    global _lock, _reader
    _lock = threading.Lock()
    if _reader is not None:
        _others.append(_reader)
        _reader = None


atexit.register(_end)
if hasattr(os, "register_at_fork"):  # not on Windows, where nothing is forked
    os.register_at_fork(after_in_child=_forked)
