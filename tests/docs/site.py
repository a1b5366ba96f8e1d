"""Finds what a built site would load from elsewhere: `python -m tests.docs.site FOLDER`.

A link that a reader may click is no load. A script, style, image, font or frame is. So is what the theme's own script
fetches when a page has the element for it: Mermaid's and Pyodide's code, a lightbox, a repository's stars. Needs the
standard library only, because the environment that builds the site has nothing else of the project.
"""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

_LOADING = {"src", "srcset", "poster", "data", "xlink:href"}
# <a href> is a link. <link href> loads, except for where it only says what the page is.
_SAYING = {"canonical", "prev", "next", "alternate", "author", "license", "me"}
_FETCHING = ("mermaid", "pyodide", "glightbox", "arithmatex")
_ELSEWHERE = re.compile(r"(?:https?:|wss?:)?//", re.IGNORECASE)
_URL = re.compile(r"url\(\s*['\"]?([^'\")]*)|@import\s+['\"]([^'\"]*)")


class _Loads(HTMLParser):
    """Collects the remote addresses that a page loads, and the elements that make the theme load some."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._is_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        loaded = [values[name] for name in _LOADING & values.keys()]
        if tag == "link" and not set(values.get("rel", "").split()) <= _SAYING:
            loaded.append(values.get("href", ""))
        addresses = [part for text in loaded for part in re.split(r",\s+", text)]
        self.found += [f"<{tag}> {address}" for address in addresses if _ELSEWHERE.match(address.strip())]
        self.found += [f"<{tag} style> {address}" for address in _in_css(values.get("style", ""))]
        if classes := set(values.get("class", "").split()) & set(_FETCHING):
            self.found.append(f"<{tag} class={'/'.join(sorted(classes))}>: the theme's script fetches code for it")
        if values.get("data-md-component") == "source":
            self.found.append(f"<{tag}>: the theme's script asks a host for the repository's facts")
        self._is_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the base class passes it
        self._is_style = False

    def handle_data(self, data: str) -> None:
        if self._is_style:
            self.found += [f"<style> {address}" for address in _in_css(data)]


def remote_loads(site: Path) -> Iterator[str]:
    """Yield one line per remote load in a built site's HTML, CSS and SVG files. Raises ValueError without pages."""
    pages = sorted(site.rglob("*.html"))
    if not pages:
        raise ValueError(f"{site}: no pages here; build the site first: make docs")
    for path in [*pages, *sorted(site.rglob("*.svg"))]:
        parser = _Loads()
        parser.feed(path.read_text(encoding="utf-8"))
        yield from (f"{path.relative_to(site)}: {load}" for load in parser.found)
    for path in sorted(site.rglob("*.css")):
        yield from (f"{path.relative_to(site)}: {address}" for address in _in_css(path.read_text(encoding="utf-8")))


def _in_css(text: str) -> list[str]:
    addresses = (first or second for first, second in _URL.findall(text))
    return [address for address in addresses if _ELSEWHERE.match(address.strip())]


def main() -> int:
    """Print what is loaded from elsewhere, and return the exit status: 1 if there is any."""
    site = Path(sys.argv[1])
    found = list(remote_loads(site))
    for line in found:
        print(line)
    if not found:
        print(f"{sum(1 for _ in site.rglob('*.html'))} pages load nothing from elsewhere")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
