"""HDF5 is read in another process: what crashes or hangs there is an error here, by name."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from snnplug.data import hdf5
from snnplug.data.hdf5 import read_hdf5
from snnplug.data.hdf5_process import _read
from snnplug.data.heidelberg import SHD
from snnplug.data.ntidigits import NTIDIGITS
from snnplug.errors import DataError
from tests.support.events import write_heidelberg, write_ntidigits
from tests.support.mutations import COUNT, damaged


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["rows"] = np.arange(6, dtype=np.int16).reshape(3, 2)
        file["texts"] = [b"one", b"three"]
        file["written"] = "now"
        file["empty"] = np.zeros(0, dtype=np.float32)
        file.create_dataset("fill", 10**12, np.float64)
        file["pairs"] = np.zeros(2, dtype=[("a", int), ("b", int)])
        file.create_dataset("ragged", 2, h5py.vlen_dtype(np.int8))
    return tmp_path / "a.h5"


def reader() -> subprocess.Popen[bytes]:
    assert hdf5._reader is not None
    return hdf5._reader.process


def test_gives_what_h5py_gives(path: Path) -> None:
    whole, row, shape, texts, written, empty = read_hdf5(
        path,
        [("rows", None), ("rows", 2), ("rows", "shape"), ("texts", None), ("written", None),
         ("empty", None)],
    )  # fmt: skip
    assert whole.dtype == np.int16
    assert whole.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert (row.tolist(), shape.tolist()) == ([4, 5], [3, 2])
    assert texts.tolist() == [b"one", b"three"]
    assert (written[()], empty.shape, empty.dtype) == (b"now", (0,), np.float32)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (("nothing", None), "nothing"),
        (("rows", 3), "[Ii]ndex"),
        (("fill", None), "more than it holds"),
        (("pairs", None), "pairs holds"),
        (("ragged", None), "ragged holds"),
    ],
)
def test_what_is_not_there_or_too_much_is_refused(path: Path, place: Any, message: str) -> None:
    read_hdf5(path, [("rows", None)])
    before = reader().pid
    with pytest.raises(DataError, match=message) as raised:
        read_hdf5(path, [place], "recording 3", "mend it")
    assert str(raised.value).startswith(f"{path}: recording 3 cannot be read (")
    assert str(raised.value).endswith("; mend it")
    assert reader().pid == before


def test_a_crash_is_an_error_that_names_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_hdf5(path, [("rows", None)])
    process = reader()
    write = hdf5._reader.requests.write  # type: ignore[union-attr]

    def crash(request: bytes) -> None:
        os.kill(process.pid, signal.SIGSEGV)
        process.wait()
        write(request)

    monkeypatch.setattr(hdf5._reader, "requests", _Writes(hdf5._reader, crash))
    with pytest.raises(DataError, match=r"a\.h5: it cannot be read .*SIGSEGV"):
        read_hdf5(path, [("rows", None)])
    assert read_hdf5(path, [("rows", 0)])[0].tolist() == [0, 1]
    assert reader().pid != process.pid


class _Writes:
    """A pipe whose writing is something else."""

    def __init__(self, of: Any, write: Callable[[bytes], None]) -> None:
        self._pipe, self.write = of.requests, write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipe, name)


def test_one_that_has_ended_by_itself_is_replaced(path: Path) -> None:
    read_hdf5(path, [("rows", None)])
    reader().kill()
    reader().wait()
    assert read_hdf5(path, [("rows", 0)])[0].tolist() == [0, 1]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_what_does_not_come_to_an_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "PATIENCE_S", 0.2)
    os.mkfifo(tmp_path / "a.h5")
    with pytest.raises(DataError, match=r"took more than 0\.2 s"):
        read_hdf5(tmp_path / "a.h5", [("rows", None)])


def _read_in_process(path: Path, answers: Any) -> None:
    answers.put((read_hdf5(path, [("rows", 1)])[0].tolist(), reader().pid))


def test_a_forked_process_has_its_own(path: Path) -> None:
    read_hdf5(path, [("rows", None)])
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    process = context.Process(target=_read_in_process, args=(path, answers))
    process.start()
    row, pid = answers.get(timeout=60)
    process.join()
    assert (process.exitcode, row) == (0, [2, 3])
    assert pid != reader().pid
    assert read_hdf5(path, [("rows", 0)])[0].tolist() == [0, 1]


def test_it_ends_with_the_process_that_asks(path: Path) -> None:
    code = (
        "import os, sys; from snnplug.data import hdf5; hdf5.read_hdf5(sys.argv[1], [('rows', 0)]);"
        "print(hdf5._reader.process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL
    _gone(int(done.stdout))


def _gone(pid: int) -> None:
    for _ in range(1000):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").is_file() and " Z " in Path(f"/proc/{pid}/stat").read_text():
            return
        signal.sigtimedwait([], 0.01)
    pytest.fail(f"the process {pid} goes on")


READERS: dict[str, Any] = {
    "ntidigits": (
        lambda root: write_ntidigits(root, 1, ("o", "1z")),
        lambda root: NTIDIGITS(root, single_digits=False),
        11,
    ),
    "shd": (lambda root: write_heidelberg(root, "shd", "train", 2), SHD, 20),
}


class _Here:
    """A reader that is this process."""

    def read(self, path: str, places: Any) -> Any:
        try:
            return _read(path, list(places))
        except Exception as error:
            raise hdf5._UnreadableError(error) from error


def _read_damaged(path: Path, name: str, counts: Any) -> None:
    """Read copies from the one behind ``counts[0]`` on: in this process, which may die of it."""
    _, build, classes = READERS[name]
    hdf5._running = _Here  # type: ignore[assignment]
    # As the reader's, above what this process has.
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 2**28
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for _ in damaged(path, start=counts[0]):
        counts[0] += 1
        faulthandler.dump_traceback_later(0.25, exit=True, file=sys.__stderr__)
        try:
            recordings = build(path.parents[1])
            for index in range(len(recordings)):
                events, label = recordings[index]
                assert -1 <= label < classes
                assert (np.diff(events["t"]) >= 0).all()
        except DataError as error:
            counts[1] += str(path) in str(error)
        except Exception:
            counts[3] += 1
            raise
        else:
            counts[2] += 1


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_every_mutation_is_refused_or_read_or_ends_the_reader_alone(
    name: str, tmp_path: Path
) -> None:
    path = READERS[name][0](tmp_path)
    whole = path.read_bytes()
    context = multiprocessing.get_context("fork")
    counts, ended = context.RawArray("i", 4), 0
    while counts[0] < COUNT:
        path.write_bytes(whole)
        process = context.Process(target=_read_damaged, args=(path, name, counts))
        process.start()
        process.join()
        ended += counts[0] < COUNT or process.exitcode != 0
    _, refused, read, wrong = counts
    assert wrong == 0
    assert refused + read + ended == COUNT
    assert ended < COUNT / 20
    assert refused > COUNT / 5
    assert read > COUNT / 5
