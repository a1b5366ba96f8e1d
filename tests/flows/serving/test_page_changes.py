"""What happens around an open page: a promotion, a full queue, a server that is away for a while."""

from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Route, expect

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
        # Its seed would give another picture now.
        expect(page.page.locator("#detail")).to_contain_text("prod has other weights now")
        expect(page.page.locator("#detail #branch, #detail #add-to-walk")).to_have_count(0)
        page.page.locator(".grid .cell").nth(1).click()
        expect(page.page.locator("#detail #branch, #detail #add-to-walk")).to_have_count(2)
        page.page.wait_for_url("**version=v0.0.2**")
        for old in (link, old_link):
            page.open(old)
            message = page.page.locator("#problem").inner_text()
            assert "prod (v0.0.1)" in message
            assert "`genai serve v0.0.1` draws the link's" in message
        # Whatever else a link calls its version is not offered as a command.
        page.open(old_link.replace("version=v0.0.1", "version=-h%3Brm"))
        assert "The link was made with other weights" in (said := page.page.locator("#problem").inner_text())
        assert "genai serve" not in said
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


def test_a_new_version_is_asked_for_once_at_a_time_and_does_not_end_a_drag(browser: "Browser", server: Server) -> None:
    looks: list[Route] = []
    with server.client() as client:
        old = client.get("/v1/models").json()
    for model in old["data"]:
        model["genai"]["sha256"] = "0" * 64

    def models(route: Route) -> None:
        looks.append(route)
        if len(looks) == 1:  # the page begins with weights that the server then no longer has
            route.fulfill(json=old)

    with context_of(browser) as context:
        page = shown(context, server.address)
        page.page.route("**/v1/models", models)
        page.open(f"{server.address}/#count=4&model=gan")
        for seed in (11, 12, 13):
            page.change(lambda seed=seed: page.page.locator("#seed").fill(str(seed)))  # type: ignore[misc]
        assert len(looks) == 2
        slider = page.page.locator("#option-truncation").element_handle()
        move = (
            "(slider, [kind, value]) => { slider.value = value;"
            " slider.dispatchEvent(new Event(kind, { bubbles: true })); }"
        )
        slider.evaluate(move, ["input", 0.5])
        looks[1].continue_()
        page.page.wait_for_timeout(200)
        slider.evaluate(move, ["input", 0.4])
        assert slider.evaluate("slider => slider.isConnected")
        slider.evaluate(move, ["change", 0.3])
        page.page.get_by_text("gan is new here").wait_for()
        page.settle()
        page.asked(sampling={"truncation": 0.3})
        assert page.problems == []
