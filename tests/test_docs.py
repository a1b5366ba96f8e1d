"""The documentation: relative links resolve, lines wrap, and the README stays one page."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = tuple(sorted((ROOT / "docs").rglob("*.md")))
WRAPPED = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES)
LINKED = (*WRAPPED, ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md")
MAX_COLUMNS = 100
MAX_CODE_COLUMNS = 84  # what the site's column shows without scrolling
MAX_README_LINES = 110

_ITEM = re.compile(r"([-*]|\d+\.) ")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _prose(path: Path) -> Iterator[tuple[int, str]]:
    """The lines outside of fenced code, with their numbers."""
    is_code = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        elif not is_code:
            yield number, line


def _code(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of fenced code, with their numbers."""
    prose = {number for number, _ in _prose(path)}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if number not in prose and not line.lstrip().startswith("```"):
            yield number, line


def _anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = (line.lstrip("#").strip() for _, line in _prose(path) if line.startswith("#"))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", LINKED, ids=_name)
def test_relative_links_resolve(page: Path) -> None:
    targets = _LINK.findall("\n".join(line for _, line in _prose(page)))
    broken = []
    for target in targets:
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        is_address = re.match(r"[a-z]+:", target)
        if not is_address and not (path.exists() and (not anchor or anchor in _anchors(path))):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("page", WRAPPED, ids=_name)
def test_lines_of_prose_wrap(page: Path) -> None:
    """A row of a table is one line, however long."""
    prose = ((number, line) for number, line in _prose(page) if not line.lstrip().startswith("|"))
    assert not [number for number, line in prose if len(line) > MAX_COLUMNS]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_code_fits_the_column_of_the_site(page: Path) -> None:
    assert not [number for number, line in _code(page) if len(line) > MAX_CODE_COLUMNS]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_what_is_nested_in_a_list_is_nested_on_the_site_too(page: Path) -> None:
    """Its Markdown needs four spaces for an item or a paragraph in an item; with fewer, it ends or joins the list."""
    before, shallow = "", []
    for number, line in _prose(page):
        indent = len(line) - len(line.lstrip())
        if _ITEM.match(line.lstrip()) or not before.strip():
            shallow += [number] if indent % 4 else []
        before = line
    assert not shallow


def test_the_readme_is_one_page_and_leads_to_every_other() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= MAX_README_LINES
    linked = {target.partition("#")[0] for target in _LINK.findall(readme)}
    assert {_name(page) for page in WRAPPED if page.name != "README.md"} <= linked
