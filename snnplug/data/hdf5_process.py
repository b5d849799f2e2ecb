"""The process that reads HDF5 files for :mod:`snnplug.data.hdf5`: only it may crash on one."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import zlib
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

# Many times what a recording takes, and the 0.2 GB of the libraries; a damaged length may ask for
# any number.
_MEMORY_BYTES = 1 << 30
# Deflate, the only compression that these files have, packs 1,032 bytes into one at most. A small
# file may hold fill values beyond that.
_DEFLATE_RATIO = 1032
_SMALL_BYTES = 1 << 26


def serve() -> None:
    """Answer each line of JSON on the input: number, path, places in it, seconds to wait at most.

    The answer is what :func:`answer` returns. Who waits too long for the file is ended, with status
    1, by a watchdog that no loop in the library can hold up.
    """
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    _limit_memory()
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
        answers.write(b"ready\n")
        answers.flush()
        for line in sys.stdin.buffer:
            number, path, places, patience_s = json.loads(line)
            faulthandler.dump_traceback_later(patience_s, exit=True, file=nowhere)
            try:
                parts = answer(number, _read(path, places))
            # What HDF5 raises on damaged files is not documented, and is of every kind.
            except Exception as error:
                parts = answer(number, f"{error}" or type(error).__name__)
            answers.writelines(parts)
            answers.flush()
            faulthandler.cancel_dump_traceback_later()


def answer(number: int, found: list[npt.NDArray[Any]] | str) -> list[bytes]:
    """Return an answer in parts: a line, and the bytes of the arrays.

    The line has the CRC-32 of what follows in it, that of the bytes, and, in JSON, the number of
    the request and types and shapes of the arrays, or what went wrong.
    """
    bodies: list[bytes] = []
    content: dict[str, Any] = {"number": number, "error": found}
    if not isinstance(found, str):
        bodies = [array.tobytes() for array in found]
        content = {"number": number, "arrays": [(a.dtype.str, a.shape) for a in found]}
    of_bodies = 0
    for body in bodies:
        of_bodies = zlib.crc32(body, of_bodies)
    head = b"%08x %s" % (of_bodies, json.dumps(content).encode())
    return [b"%08x %s\n" % (zlib.crc32(head), head), *bodies]


def _limit_memory() -> None:
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = _MEMORY_BYTES if most == resource.RLIM_INFINITY else min(_MEMORY_BYTES, most)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, most))


def _read(path: str, places: list[Any]) -> list[npt.NDArray[Any]]:
    with h5py.File(path, "r") as file:
        return arrays(file, places, os.path.getsize(path))


def arrays(file: Any, places: list[Any], num_bytes: int) -> list[npt.NDArray[Any]]:
    """Return arrays of an open file of so many bytes."""
    longest = max(_SMALL_BYTES, _DEFLATE_RATIO * num_bytes)
    return [_array(file[name], what, longest) for name, what in places]


def _array(found: Any, what: int | str | None, longest: int) -> npt.NDArray[Any]:
    shape = found.shape
    if what == "shape":
        return np.array(shape, dtype=np.int64)
    dtype, rows = found.dtype, 1 if what is None else max(1, shape[0])
    if found.size * dtype.itemsize // rows > longest:
        raise ValueError(f"{found.name} states {shape} of {dtype}, more than it holds")
    array = np.asarray(found[() if what is None else what])
    if array.dtype.kind == "O" and h5py.check_string_dtype(dtype) is not None:
        texts = [v if isinstance(v, bytes) else str(v).encode() for v in array.ravel().tolist()]
        array = np.array(texts, dtype=np.bytes_).reshape(array.shape)
    if array.dtype.kind not in "biufS":
        raise ValueError(f"{found.name} holds {array.dtype}")
    return array
