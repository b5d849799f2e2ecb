"""HDF5 is read in another process: what crashes or hangs there is an error here, by name."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from snnplug.data import hdf5, hdf5_process
from snnplug.data.hdf5 import read_hdf5
from snnplug.data.hdf5_process import answer, arrays
from snnplug.data.heidelberg import SHD, SSC
from snnplug.data.ntidigits import NTIDIGITS
from snnplug.errors import DataError
from tests.support.events import write_heidelberg, write_ntidigits
from tests.support.mutations import COUNT, mutations


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


# What stands for the process: `a` is the answer it owes, as its parts joined.
ANSWERS = {
    "dies": "os._exit(3)",
    "head": "write(a[:20]); os._exit(3)",
    "body": "write(a[:-5]); os._exit(3)",
    "garbled": "write(a.replace(b'arrays', b'arrows'))",
    "flipped": "write(a[:-1] + b'?')",
    "words": "write(b'warning: \\n' + a)",
    "list": "write(line([1]))",
    "none": "write(line({'number': 1}))",
    "late": "write(line({'number': 0, 'arrays': []}))",
    "shape": "write(line({'number': 1, 'arrays': [['<i2', [-1]]]}))",
    "huge": "write(line({'number': 1, 'arrays': [['<i2', [10**15]]]}))",
    "silent": "time.sleep(60)",
    "slow": "write(a[:-5]); time.sleep(60)",
    "stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
}
SAYS = {
    "dies": "ended with status 3",
    "head": "ended with status 3",
    "body": "ended with status 3",
    "garbled": "gave no answer: the sum of its line",
    "flipped": "gave no answer: the sum of its arrays",
    "words": "gave no answer: the sum of its line",
    "list": "gave no answer",
    "none": "gave no answer: 'arrays'",
    "late": "gave no answer: it is the answer to request 0, not 1",
    "shape": "gave no answer: it states",
    "huge": "gave no answer: it states",
    "silent": "took more than 0.3 s",
    "slow": "took more than 0.3 s",
    "stopped": "took more than 0.3 s",
}
PLAY = """
import os, signal, sys, time, zlib, json
print("ready", flush=True)
sys.stdin.readline()
def write(raw): sys.stdout.buffer.write(raw); sys.stdout.flush()
def line(of):
    head = b"00000000 " + json.dumps(of).encode()
    return b"%08x %s\\n" % (zlib.crc32(head), head)
a = bytes.fromhex({answer!r})
{action}
time.sleep(60)
"""


@pytest.mark.parametrize("what", ANSWERS)
def test_an_answer_that_is_none_is_an_error_and_the_next_file_is_read(
    path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hdf5._end()
    right = b"".join(answer(1, [np.arange(6, dtype=np.int16)])).hex()
    with monkeypatch.context() as patch:
        patch.setattr(hdf5, "_START", PLAY.format(answer=right, action=ANSWERS[what]))
        if "0.3 s" in SAYS[what]:  # the others are given as long as a busy machine takes
            patch.setattr(hdf5, "PATIENCE_S", 0.3)
            patch.setattr(hdf5, "_GRACE_S", 0.05)
        with pytest.raises(DataError, match=r"a\.h5: it cannot be read .*; copy it") as raised:
            read_hdf5(path, [("rows", None)])
        assert SAYS[what] in str(raised.value)
    assert read_hdf5(path, [("rows", 0)])[0].tolist() == [0, 1]


class _Ended:
    """A process that has ended."""

    def kill(self) -> None:
        pass

    def wait(self, patience_s: float = 0.0) -> int:
        return 0


def test_no_damaged_answer_is_taken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5._Reader, "_in_time", lambda self: contextlib.nullcontext())
    sent = [np.arange(40, dtype=np.uint16), np.linspace(0, 1, 5).reshape(5, 1), np.array([b"one"])]
    parts = answer(1, sent)
    whole = b"".join(parts)
    read = refused = 0
    for raw in mutations(whole, header=len(parts[0])):
        asked: Any = hdf5._Reader.__new__(hdf5._Reader)
        asked.process, asked.number = _Ended(), 0
        asked.requests, asked.answers = io.BytesIO(), io.BytesIO(raw)
        try:
            found = asked.read("a.h5", [])
        except hdf5._UnreadableError:
            refused += 1
            continue
        read += 1  # what follows the answer is not part of it
        assert raw.startswith(whole)
        for one, other in zip(found, sent, strict=True):
            assert one.dtype == other.dtype
            assert np.array_equal(one, other)
    assert read + refused == COUNT
    assert read < COUNT / 5


def test_what_a_library_prints_is_not_taken_for_an_answer(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hdf5._end()
    loud = "import os, h5py; of = h5py.File; "
    loud += "h5py.File = lambda *a: os.write(1, b'HDF5: warning') and of(*a); "
    monkeypatch.setattr(hdf5, "_START", f"{hdf5._START.replace('serve()', loud + 'serve()')}")
    assert read_hdf5(path, [("rows", 0)])[0].tolist() == [0, 1]
    hdf5._end()


# How a file is made and read, and how many classes there are.
READERS: dict[str, Any] = {
    "ntidigits": (
        lambda root: write_ntidigits(root, 1, ("1z",)),
        lambda root: NTIDIGITS(root, single_digits=False),
        11,
    ),
    "shd": (lambda root: write_heidelberg(root, "shd", "train", 1), SHD, 20),
    "ssc": (lambda root: write_heidelberg(root, "ssc", "train", 1), SSC, 35),
}


class _Here:
    """A reader that is this process, of a file in memory, opened once."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.file: Any = None

    def read(self, path: str, places: Any) -> Any:
        try:
            if self.file is None:
                self.file = h5py.File(h5py.h5f.open_file_image(self.raw))
            return arrays(self.file, list(places), len(self.raw))
        except Exception as error:
            raise hdf5._UnreadableError(error) from error


def _read_damaged(path: Path, name: str, counts: Any) -> None:
    """Read copies from the one behind ``counts[0]`` on: in this process, which may die of it."""
    _, build, classes = READERS[name]
    hdf5_process._SMALL_BYTES = 1 << 20  # to read the fill values of 64 MB takes most of the time
    # As the reader's, above what this process has.
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 2**28
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for raw in islice(mutations(path.read_bytes()), counts[0], None):
        counts[0] += 1
        here = _Here(raw)
        hdf5._running = lambda here=here: here  # type: ignore[assignment, misc]
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
        if here.file is not None:
            here.file.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_every_mutation_is_refused_or_read_or_ends_the_reader_alone(
    name: str, tmp_path: Path
) -> None:
    path = READERS[name][0](tmp_path)
    context = multiprocessing.get_context("fork")
    counts, ended = context.RawArray("i", 4), 0
    while counts[0] < COUNT:
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
