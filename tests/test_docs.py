"""The code in the README and in the docs runs, and what they refer to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.fences import python_blocks

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUNNABLE = [page for page in PAGES if "_generated" not in page.parts and python_blocks(page)]


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_of_a_page_runs_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in python_blocks(page):
        exec(compile(block, str(page), "exec"), namespace)


def test_pages_with_code_are_found() -> None:
    assert {page.name for page in RUNNABLE} >= {"README.md", "use-in-your-loop.md"}


def test_relative_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert links
    assert all((ROOT / link).exists() for link in links)


def test_no_page_has_an_open_place() -> None:
    for page in [*PAGES, ROOT / "CHANGELOG.md", *sorted((ROOT / "recipes").glob("*.yaml"))]:
        if "_generated" not in page.parts:
            text = page.read_text(encoding="utf-8")
            assert not re.search(r"TBD|TODO|GO-HERE|DEMO-OUTPUT|[A-Z]+-TABLE", text), page
