"""The Python blocks of a markdown page."""

from __future__ import annotations

import re
from pathlib import Path


def python_blocks(page: Path) -> list[str]:
    """Return the content of every fence marked ``python``, and of every code cell, in order."""
    fence = r"^```(?:python|\{code-cell\} ipython3\n(?:^:.*?\n)*)\n?(.*?)^```"
    return re.findall(fence, page.read_text(encoding="utf-8"), re.M | re.S)
