"""Downloads, from a server on this machine that breaks off, lies, or cannot resume."""

from __future__ import annotations

import hashlib
import multiprocessing
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnplug.data import download
from snnplug.data.download import fetch
from snnplug.errors import DataNotFoundError

CHUNK = download._CHUNK_BYTES
CONTENT = np.random.default_rng(0).bytes(300_000)
SUM = f"md5:{hashlib.md5(CONTENT).hexdigest()}"


class _Handler(BaseHTTPRequestHandler):
    server: Any

    def do_GET(self) -> None:
        state = self.server.state
        asked = self.headers.get("Range")
        state["asked"].append(asked)
        content, first = state["content"], 0
        if asked and state["ranges"]:
            first = int(asked.removeprefix("bytes=").removesuffix("-"))
            if first >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.end_headers()
                return
            self.send_response(206)
            last = len(content) - 1
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        else:
            self.send_response(state["status"])
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        # Each entry breaks one answer off behind so many bytes.
        most = state["breaks"].pop(0) if state["breaks"] else len(content)
        self.wfile.write(content[first : first + most])

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(download, "_WAIT_S", 0.0)
    made = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    made.state = {  # type: ignore[attr-defined]
        "content": CONTENT,
        "breaks": [],
        "asked": [],
        "ranges": True,
        "status": 200,
    }
    made.url = f"http://127.0.0.1:{made.server_port}/a.bin"  # type: ignore[attr-defined]
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def test_fetches_once_and_leaves_nothing_else(server: Any, tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.bin"
    for _ in range(2):
        assert fetch(server.url, path, SUM) == path
        assert path.read_bytes() == CONTENT
    assert server.state["asked"] == [None]
    assert {p.name for p in path.parent.iterdir()} <= {"a.bin", "a.bin.lock"}


@pytest.mark.parametrize("ranges", [True, False])
def test_goes_on_where_it_broke_off(server: Any, tmp_path: Path, ranges: bool) -> None:
    server.state.update(breaks=[6 * CHUNK, 3 * CHUNK], ranges=ranges)
    assert fetch(server.url, tmp_path / "a.bin", SUM).read_bytes() == CONTENT
    second = (9 if ranges else 3) * CHUNK
    assert server.state["asked"] == [None, f"bytes={6 * CHUNK}-", f"bytes={second}-"]


def test_a_later_run_goes_on_with_what_an_earlier_one_left(server: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    server.state["breaks"] = [CHUNK] * 3
    with pytest.raises(DataNotFoundError, match=f"{3 * CHUNK:,} bytes are kept"):
        fetch(server.url, path, SUM)
    assert not path.exists()
    assert fetch(server.url, path, SUM).read_bytes() == CONTENT
    assert server.state["asked"][-1] == f"bytes={3 * CHUNK}-"


def test_a_part_that_is_whole_or_too_long_is_taken_or_dropped(server: Any, tmp_path: Path) -> None:
    for k, left in enumerate((CONTENT, CONTENT + b"more")):
        path = tmp_path / str(k) / "a.bin"
        path.parent.mkdir()
        path.with_name("a.bin.part").write_bytes(left)
        assert fetch(server.url, path, SUM).read_bytes() == CONTENT


def test_another_file_is_refused_and_forgotten(server: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.with_name("a.bin.part").write_bytes(b"of another file" * 100)
    with pytest.raises(DataNotFoundError, match="hash"):
        fetch(server.url, path, SUM)
    assert not path.exists()
    assert fetch(server.url, path, SUM).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_refusal_names_address_folder_and_what_to_do(
    server: Any, tmp_path: Path, status: int
) -> None:
    server.state["status"] = status
    with pytest.raises(DataNotFoundError) as raised:
        fetch(server.url, tmp_path / "a.bin", SUM)
    for part in (str(status), server.url, str(tmp_path), "a.bin", SUM, "by hand"):
        assert part in str(raised.value)
    assert not (tmp_path / "a.bin").exists()


def test_without_a_network_it_says_so(server: Any, tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{server.server_port + 1 if server.server_port < 65535 else 1}/a"
    with pytest.raises(DataNotFoundError, match="do this") as raised:
        fetch(nobody, tmp_path / "a.bin", SUM, by_hand="do this")
    assert nobody in str(raised.value)


def _fetch(url: str, path: Path) -> None:
    fetch(url, path, SUM)


def test_two_processes_fetch_once(server: Any, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    path = tmp_path / "a.bin"
    both = [context.Process(target=_fetch, args=(server.url, path)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    assert server.state["asked"] == [None]
    assert path.read_bytes() == CONTENT
