"""The process that reads HDF5 files for :mod:`snnplug.data.hdf5`: only it may crash on one."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
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
    """Answer each line of JSON on the input: a path, places in it, and seconds to wait at most.

    The answer is a line of JSON, types and shapes of the arrays or what went wrong, and then their
    bytes. Who waits too long for the file is ended, with status 1, by a watchdog that no loop in
    the library can hold up.
    """
    answers = sys.stdout.buffer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    _limit_memory()
    with open(os.devnull, "w") as nowhere:
        answers.write(b"ready\n")
        answers.flush()
        for line in sys.stdin.buffer:
            path, places, patience_s = json.loads(line)
            faulthandler.dump_traceback_later(patience_s, exit=True, file=nowhere)
            try:
                arrays = _read(path, places)
                bodies = [array.tobytes() for array in arrays]
                stated = [(array.dtype.str, array.shape) for array in arrays]
                head: dict[str, Any] = {"arrays": stated}
            # What HDF5 raises on damaged files is not documented, and is of every kind.
            except Exception as error:
                bodies, head = [], {"error": f"{error}" or type(error).__name__}
            answers.write(json.dumps(head).encode() + b"\n")
            answers.writelines(bodies)
            answers.flush()
            faulthandler.cancel_dump_traceback_later()


def _limit_memory() -> None:
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = _MEMORY_BYTES if most == resource.RLIM_INFINITY else min(_MEMORY_BYTES, most)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, most))


def _read(path: str, places: list[Any]) -> list[npt.NDArray[Any]]:
    longest = max(_SMALL_BYTES, _DEFLATE_RATIO * os.path.getsize(path))
    with h5py.File(path, "r") as file:
        return [_array(file[name], what, longest) for name, what in places]


def _array(found: Any, what: int | str | None, longest: int) -> npt.NDArray[Any]:
    if what == "shape":
        return np.array(found.shape, dtype=np.int64)
    rows = 1 if what is None else max(1, found.shape[0])
    if found.size * found.dtype.itemsize // rows > longest:
        raise ValueError(f"{found.name} states {found.shape} of {found.dtype}, more than it holds")
    array = np.asarray(found[() if what is None else what])
    if array.dtype.kind == "O" and h5py.check_string_dtype(found.dtype) is not None:
        texts = [v if isinstance(v, bytes) else str(v).encode() for v in array.ravel().tolist()]
        array = np.array(texts, dtype=np.bytes_).reshape(array.shape)
    if array.dtype.kind not in "biufS":
        raise ValueError(f"{found.name} holds {array.dtype}")
    return array
