"""Questions about a picture on the page: what it is near to, what drives its class, what its noise controls."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from genai_core.data.dataset.dataset import load_dataset
from tests.flows.serving.browser import Shown, context_of, faults, needs_chromium, shown
from tests.flows.serving.explored_home import Home
from tests.flows.serving.served import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = needs_chromium


@pytest.fixture
def page(browser: "Browser", explored: Server) -> Iterator[Shown]:
    with context_of(browser) as context:
        found = shown(context, explored.address)
        found.open(f"{explored.address}/#model=gan&count=4")
        yield found
        assert found.problems == []


def test_what_drives_a_picture_is_shown_over_it(page: Shown) -> None:
    page.page.locator(".grid .cell").nth(1).click()
    large = page.page.locator("#detail .large")
    plain = large.get_attribute("src")
    page.page.locator("#explain").click()
    assert "Warm: what speaks for class" in page.page.locator("#explained").inner_text()
    assert large.get_attribute("src") != plain
    assert faults(page.page) == []
    page.page.keyboard.press("x")
    page.page.locator("#explained").wait_for(state="detached")
    assert large.get_attribute("src") == plain


def test_the_nearest_training_images_of_a_drawn_picture(page: Shown) -> None:
    page.page.locator(".grid .cell").nth(1).click()
    page.page.locator("#nearest").click()
    page.page.locator(".neighbours li").nth(5).wait_for()
    assert "240 training images were searched" in page.page.locator(".verdict").inner_text()
    assert faults(page.page) == []


def test_an_uploaded_training_image_is_a_copy(page: Shown, home: Home, tmp_path: Path) -> None:
    path = tmp_path / "known.png"
    Image.fromarray(load_dataset(home.folder / "data/prepared").images("train")[7][0]).save(path)
    page.page.locator("#tab-upload").click()
    page.page.set_input_files("#file", path)
    page.page.locator(".verdict.warn").get_by_text("Nearly a copy").wait_for()
    assert page.page.locator(".neighbours span").first.inner_text().startswith("equal")


def test_only_what_a_model_can_is_offered(page: Shown, explored: Server) -> None:
    page.open(f"{explored.address}/#model=stranger&count=4")
    page.page.locator(".grid .cell").first.click()
    assert page.page.locator("#nearest").count() == 0
    assert page.page.locator("#explain").count() == 0
    assert page.page.locator("#keep").count() == 1


def test_directions_are_strips_and_move_the_grid(page: Shown) -> None:
    plain = page.pictures()
    page.page.locator("#tab-directions").click()
    last = page.page.locator(".strip .cell").nth(6)
    last.wait_for(timeout=60_000)  # the first time, they have to be found
    page.page.locator(".strip").first.locator(".cell:not([aria-label='not drawn yet'])").nth(6).wait_for()
    assert faults(page.page) == []
    last.click()
    page.settle()
    assert page.pictures() != plain
    (moved,) = page.requests[-1]["directions"]
    page.slide(f"#direction-{moved['name']}", 0)
    page.settle()
    assert page.pictures() == plain


def test_the_command_line_of_a_model_in_models(page: Shown) -> None:
    page.page.locator("#copy-as").click()
    page.page.get_by_role("button", name="Copy Command line").click()
    page.page.get_by_text("Command line copied.").wait_for(state="attached")
    text = page.page.evaluate("navigator.clipboard.readText()")
    assert text == "genai generate --model gan --count 4 --seed 0 --out pictures"
