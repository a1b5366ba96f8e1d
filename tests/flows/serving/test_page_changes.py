"""What happens around an open page: a promotion, a full queue, a server that is away for a while."""

from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from flows.data.remote import push_commit
from flows.registry.promotion import promote
from tests.flows.model_home import make, new_home
from tests.flows.serving.browser import Shown, context_of, needs_chromium, shown
from tests.flows.serving.served import Server, serving
from tests.flows.serving.test_promotion import other_weights

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = needs_chromium


def copied(page: Shown, press: str) -> str:
    """Press a button and return what it copied."""
    page.page.evaluate("navigator.clipboard.writeText('')")
    page.page.locator(press).click()
    page.page.wait_for_function("async () => (await navigator.clipboard.readText()) !== ''")
    text: str = page.page.evaluate("navigator.clipboard.readText()")
    return text


def test_a_promotion_while_the_page_is_open(browser: "Browser", tmp_path: Path) -> None:
    home = new_home(tmp_path / "home")
    make(home, 3.0)
    promote(home, push_commit, by="test")
    with serving(workspace=home) as server, context_of(browser) as context:
        page = shown(context, server.address)
        page.open(f"{server.address}/#count=4&seed=3")
        chosen = page.page.locator("#model option")
        assert chosen.all_inner_texts() == ["prod (v0.0.1)"]
        link = copied(page, "#copy-link")
        page.page.locator(".grid .cell").nth(1).click()
        other_weights(home)
        make(home, 2.0)
        promote(home, push_commit, by="test")
        for _ in range(100):
            if server.draw(seed=1).json()["images"][0]["provenance"]["version"] == "v0.0.2":
                break
            page.page.wait_for_timeout(100)
        # The next answer says so, and not only a look every half a minute.
        page.page.locator("[aria-label='Later seeds']").click()
        expect(chosen).to_have_text("prod (v0.0.2)")
        page.page.get_by_text("prod (v0.0.2) is new here").wait_for()
        page.settle()
        now = server.draw(count=4, seed=7).json()["images"]
        assert page.pictures() == [image["b64"] for image in now]
        # What was selected before is still the old version's, and so are its link and its commands.
        old_link = copied(page, "#link-picture")
        assert "version=v0.0.1" in old_link
        page.page.locator("#copy-picture").click()
        texts = page.page.locator("#dialog pre").all_inner_texts()
        assert len(texts) == 3
        assert all("v0.0.1" in text for text in texts)
        page.page.keyboard.press("Escape")
        page.page.wait_for_url("**version=v0.0.2**")
        for old in (link, old_link):
            page.open(old)
            message = page.page.locator("#problem").inner_text()
            assert "prod (v0.0.1)" in message
            assert "`genai serve v0.0.1` draws the link's" in message
        assert page.problems == []


@pytest.fixture
def small_queue(model_folders: Path) -> Iterator[Server]:
    names = [str(model_folders / name) for name in ("diffusion", "gan")]
    with serving(*names, workspace=model_folders, options=("--queue=4", "--threads=1")) as found:
        yield found


def test_a_full_queue_is_said_and_waited_for(browser: "Browser", small_queue: Server) -> None:
    with context_of(browser) as context:
        page = shown(context, small_queue.address)
        page.open(f"{small_queue.address}/#count=4&model=gan")
        before = page.pictures()
        body = {"model": "diffusion", "count": 64, "sampling": {"steps": 120}}
        threads = [Thread(target=lambda: small_queue.draw(**body)) for _ in range(2)]
        for thread in threads:
            thread.start()
            page.page.wait_for_timeout(150)
        page.page.locator("#shuffle").click()
        page.page.get_by_text("The server is busy. Trying again in").wait_for()
        assert page.page.locator("#problem").is_hidden()
        assert page.pictures() == before
        for thread in threads:
            thread.join()
        page.settle()
        assert page.pictures() != before
        expect(page.page.locator("#status")).to_have_text("")
        assert all("429" in problem for problem in page.problems)  # Chromium notes them itself


def test_a_server_that_was_away_is_forgotten_by_every_tab(browser: "Browser", server: Server) -> None:
    with context_of(browser) as context:
        page = shown(context, server.address)
        page.open(f"{server.address}/#count=4&model=gan")
        problem = page.page.locator("#problem")
        for tab in ("redo", "walk", "grid"):
            context.set_offline(True)
            page.page.locator(f"#tab-{tab}").click()
            page.page.locator("#shuffle").click()
            problem.get_by_text("The server does not answer").wait_for()
            context.set_offline(False)
            page.page.locator("#shuffle").click()
            page.settle()
            problem.wait_for(state="hidden")
