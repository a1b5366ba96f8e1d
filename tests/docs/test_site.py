"""The check of the built site, and the site's configuration: every page is in it, and nothing comes from elsewhere."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.site import remote_loads
from tests.test_rooms import ROOT

SETTINGS = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://example.org/a.js"></script>',
        '<img alt="" src="//example.org/a.png">',
        '<img alt="" src="a.png" srcset="a.png 1x, https://example.org/a.png 2x">',
        '<link rel="stylesheet" href="https://example.org/font.css">',
        '<link rel="preconnect" href="https://example.org">',
        '<iframe src="http://example.org/"></iframe>',
        '<p style="background: url(https://example.org/a.png)">',
        "<style>@import 'https://example.org/a.css';</style>",
        "<style>@font-face { src: url( '//example.org/a.woff2' ) }</style>",
        '<pre class="mermaid"><code>graph</code></pre>',
        '<a data-md-component="source" href="https://example.org/me/code">code</a>',
    ],
)
def test_a_remote_load_is_found(html: str, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(f"<html><body>{html}</body></html>")
    assert len(list(remote_loads(tmp_path))) == 1


def test_links_and_own_files_are_no_remote_loads(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        '<link rel="canonical" href="https://example.org/"><link rel="stylesheet" href="../a.css">'
        '<a href="https://example.org/">there</a><img alt="" src="images/a.png"><script src="a.js"></script>'
        "<svg xmlns='http://www.w3.org/2000/svg'></svg><code>https://example.org</code>"
    )
    (tmp_path / "a.css").write_text("p { background: url(data:image/png;base64,AA//) } q { src: url(a.woff2) }")
    assert not list(remote_loads(tmp_path))
    (tmp_path / "a.css").write_text("p { background: url(https://example.org/a.png) }")
    assert list(remote_loads(tmp_path)) == ["a.css: https://example.org/a.png"]


def test_a_folder_without_pages_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="make docs"):
        list(remote_loads(tmp_path))


def test_the_navigation_has_every_page_once() -> None:
    pages = sorted(str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md"))
    assert sorted(_pages(SETTINGS["nav"])) == pages


def test_the_theme_fetches_no_fonts() -> None:
    assert SETTINGS["theme"]["font"] is False


def test_no_lock_names_a_registry() -> None:
    for lock in (ROOT / "docs.lock", ROOT / "requirements.lock", ROOT / "benchmarks" / "peers.lock"):
        text = lock.read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text, lock.name


def test_the_lock_of_the_site_has_its_tools_and_not_the_pipelines() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["docs"]
    pinned = {line.partition("==")[0] for line in (ROOT / "docs.lock").read_text().splitlines() if "==" in line}
    assert {name.partition(">")[0] for name in wanted} <= pinned
    assert not {"torch", "prefect", "dvc"} & pinned


def _pages(entries: list[dict[str, Any]]) -> Iterator[str]:
    for entry in entries:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else _pages(value)
