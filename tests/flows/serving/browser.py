"""A real Chromium that shows the page, and what tests look at in it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: apt install chromium)")


@dataclass
class Shown:
    """The page in a tab. problems: what the console says that it should not; requests: bodies of /v1/draw, in order."""

    page: Page
    problems: list[str] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    aborted: list[dict[str, Any]] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def pictures(self, grid: str = ".grid") -> list[str]:
        """Base64 of the pictures in a grid."""
        sources = self.page.locator(grid).first.locator("img").evaluate_all("all => all.map(image => image.src)")
        return [source.partition(",")[2] for source in sources]

    def settle(self) -> None:
        """Wait until no grid is being redrawn."""
        expect(self.page.locator(".grid, .upload, .strips").first).to_be_visible()
        expect(self.page.locator(".grid[aria-busy=true]")).to_have_count(0, timeout=20_000)

    def change(self, action: Callable[[], object]) -> list[str]:
        """Do something that redraws the grid, and return its pictures then."""
        action()
        self.settle()
        return self.pictures()

    def asked(self, **values: Any) -> None:
        """Wait until the newest request has these values: a browser tells of requests a little late."""
        for _ in range(100):
            if self.requests and self.requests[-1].items() >= values.items():
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"expected {values} in the newest of {self.requests}")

    def slide(self, selector: str, value: float) -> None:
        """Move a slider to a value, as a hand does: one `input` and at the end `change`."""
        self.page.locator(selector).evaluate(
            "(slider, value) => { slider.value = value; for (const kind of ['input', 'change'])"
            " slider.dispatchEvent(new Event(kind, { bubbles: true })); }",
            value,
        )

    def open(self, address: str) -> None:
        self.page.goto("about:blank")
        self.page.goto(address)
        self.settle()


def shown(context: BrowserContext, address: str) -> Shown:
    """Open the page and note what happens in it."""
    found = Shown(context.new_page())

    def asked(request: Request) -> None:
        if not request.url.startswith((address, "data:", "blob:", "about:")):
            found.elsewhere.append(request.url)
        if request.url.endswith("/v1/draw"):
            found.requests.append(request.post_data_json)

    def failed(request: Request) -> None:
        if request.url.endswith("/v1/draw"):
            found.aborted.append(request.post_data_json)

    found.page.on(
        "console", lambda said: found.problems.append(said.text) if said.type in ("error", "warning") else None
    )
    found.page.on("pageerror", lambda error: found.problems.append(str(error)))
    found.page.on("request", asked)
    found.page.on("requestfailed", failed)
    return found


def context_of(browser: Browser, *, phone: bool = False, dark: bool = False) -> BrowserContext:
    """A fresh profile: a desktop's window, or a phone's with touch."""
    size = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 860}
    return browser.new_context(
        viewport=size,
        has_touch=phone,
        is_mobile=phone,
        color_scheme="dark" if dark else "light",
        accept_downloads=True,
        permissions=["clipboard-read", "clipboard-write"],
    )


def faults(page: Page) -> list[str]:
    """What axe finds, of any impact, as "rule: element"."""
    found = Axe().run(page).response["violations"]
    return [f"{rule['id']} ({rule['impact']}): {node['html'][:120]}" for rule in found for node in rule["nodes"]]
