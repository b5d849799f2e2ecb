"""A real browser without a window, for tests of what a page looks like in one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)

# No package of Python's brings one, so that `make test` cannot install it, as it does the peers.
needs_browser = pytest.mark.skipif(
    CHROMIUM is None and os.environ.get("SNNPLUG_BROWSER") != "required",
    reason=f"none of {', '.join(_NAMES)} is installed; apt install chromium",
)


def ask(folder: Path, document: str, is_dark: bool = False) -> Any:
    """Open a document and return the JSON that its scripts have left in ``<pre id="answer">``.

    Args:
        folder: For the document and the browser's own files.
        document: HTML.
        is_dark: Whether the person prefers dark pages.
    """
    assert CHROMIUM is not None, "SNNPLUG_BROWSER=required, and there is no chromium"
    path = folder / "asked.html"
    path.write_text(document, encoding="utf-8")
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",  # which root cannot have; the page is ours
        "--disable-gpu",
        "--disable-background-networking",
        f"--user-data-dir={folder / 'browser'}",
        f"--blink-settings=preferredColorScheme={0 if is_dark else 1}",
        "--window-size=1400,1000",
        "--dump-dom",
        path.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    answer = re.search(r'<pre id="answer">(.+?)</pre>', done.stdout, re.DOTALL)
    assert answer is not None, done.stderr
    return json.loads(unescape(answer[1]))
