"""Fetching files: checked, taken up where it stopped, and with an error that says what to do."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from snnplug.errors import DataNotFoundError
from snnplug.files import locked

# What may be lost of an answer that breaks off.
_CHUNK_BYTES = 1 << 14
_TIMEOUT_S = 30.0
_ATTEMPTS = 3
_WAIT_S = 1.0


def fetch(url: str, path: str | Path, checksum: str, by_hand: str = "") -> Path:
    """Fetch a file unless it is there, and check it.

    What has arrived is kept in ``path.part``: a download that was interrupted goes on from there if
    the server can (HTTP ranges), and else begins anew. The file appears under its name once its
    checksum is right. Processes that fetch the same file wait for the first of them.

    Args:
        url: Where it is.
        path: Where it goes.
        checksum: ``"md5:…"`` or ``"sha256:…"``.
        by_hand: What else can be done, for the error; empty says where to put the file.

    Raises:
        DataNotFoundError: The file cannot be fetched, or another file came.

    Example:
        >>> fetch("https://example.org/a.gz", "data/a.gz", "md5:0cc175b9")   # doctest: +SKIP
        PosixPath('data/a.gz')
    """
    import pooch
    import requests

    path = Path(path)
    part = path.with_name(path.name + ".part")
    advice = by_hand or f"put the file ({checksum}) into {path.parent.resolve()} by hand"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(path.name + ".lock")):
            pooch.retrieve(
                url,
                known_hash=checksum,
                fname=path.name,
                path=path.parent,
                downloader=_Resumable(part),
            )
    except (OSError, ValueError, requests.RequestException) as error:
        kept = f" ({part.stat().st_size:,} bytes are kept)" if part.exists() else ""
        raise DataNotFoundError(
            f"could not fetch {path.resolve()} from {url}: {error}{kept}; start again to go on, or "
            f"{advice}"
        ) from error
    return path


class _Resumable:
    """A downloader for pooch that goes on with what an earlier one left."""

    def __init__(self, part: Path) -> None:
        self.part = part

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Fetch ``url`` into ``output_file``."""
        import requests

        for attempt in range(_ATTEMPTS):
            try:
                self._go_on(url)
                break
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(_WAIT_S * attempt)
        self.part.replace(output_file)

    def _go_on(self, url: str) -> None:
        import requests

        have = self.part.stat().st_size if self.part.exists() else 0
        # As it is: ranges of a compressed answer are not those of the file.
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                # All of it is here, or it is not the same file any more: the checksum will tell.
                if _total(answer) != have:
                    self.part.unlink()
                    self._go_on(url)
                return
            answer.raise_for_status()
            goes_on = answer.status_code == requests.codes.partial_content
            if goes_on and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                raise ValueError(f"the server sent {answer.headers.get('Content-Range')!r}")
            with self.part.open("ab" if goes_on else "wb") as file:
                for chunk in answer.iter_content(_CHUNK_BYTES):
                    file.write(chunk)


def _total(answer: Any) -> int:
    """Return the size of the whole file, which a refused range states; -1 if it does not."""
    total = answer.headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdigit() else -1
