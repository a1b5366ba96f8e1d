"""The page before a server that asks for a token."""

from pathlib import Path
from typing import TYPE_CHECKING

from flows.serving.tokens import add_token, revoke_token
from tests.flows.serving.browser import context_of, needs_chromium, shown
from tests.flows.serving.served import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = needs_chromium


def test_the_page_asks_for_a_token_and_again_when_it_was_revoked(
    browser: "Browser", model_folders: Path, tmp_path: Path
) -> None:
    token = add_token(tmp_path, "ann")
    with serving(str(model_folders / "gan"), workspace=tmp_path) as server, context_of(browser) as context:
        found = shown(context, server.address)
        page = found.page
        page.goto(f"{server.address}/#count=4")
        assert "needs a token" in page.locator("#dialog").inner_text()
        page.fill("#token", "wrong")
        page.keyboard.press("Enter")
        page.locator("#dialog").get_by_text("unknown or was revoked").wait_for()
        page.fill("#token", token)
        page.keyboard.press("Enter")
        page.locator(".grid .cell img").nth(3).wait_for()
        found.settle()
        assert all(found.pictures())
        page.locator("#copy-as").click()
        assert token not in page.locator("#dialog").inner_text()
        assert "$GENAI_TOKEN" in page.locator("#dialog").inner_text()
        page.keyboard.press("Escape")
        revoke_token(tmp_path, "ann")
        page.locator("#shuffle").click()
        page.locator("#token").wait_for()
        page.keyboard.press("Escape")
        page.locator("#problem").get_by_text("Without a token").wait_for()
        assert [problem for problem in found.problems if "401" not in problem] == []
