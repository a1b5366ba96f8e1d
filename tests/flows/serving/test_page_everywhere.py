"""The page on a desktop and a phone, dark and light, by keyboard and for a screen reader; and by its headers."""

from collections.abc import Iterator

import pytest
from hatchling.builders.wheel import WheelBuilder

from flows.serving.page_routes import PAGE
from tests.flows.serving.browser import Shown, context_of, faults, needs_chromium, shown
from tests.flows.serving.served import Server, pixels
from tests.flows.serving.strokes import finger
from tests.test_rooms import ROOT

pytestmark = needs_chromium

SCREENS = {
    "desktop": (False, False),
    "desktop, dark": (False, True),
    "phone": (True, False),
    "phone, dark": (True, True),
}


@pytest.fixture(params=SCREENS)
def screen(request: pytest.FixtureRequest, browser, server: Server) -> Iterator[Shown]:
    phone, dark = SCREENS[request.param]
    with context_of(browser, phone=phone, dark=dark) as context:
        found = shown(context, server.address)
        found.open(f"{server.address}/#count=4&model=gan&other=vae")
        yield found
        assert found.problems == []


@pytest.fixture
def phone(browser, server: Server) -> Iterator[Shown]:
    with context_of(browser, phone=True) as context:
        found = shown(context, server.address)
        found.open(f"{server.address}/#count=4&model=gan")
        yield found
        assert found.problems == []


def test_no_accessibility_fault_and_nothing_beside_the_screen(screen: Shown) -> None:
    page = screen.page
    page.locator(".grid .cell").first.click()
    for view in page.locator("[role=tab]").all():
        view.evaluate("tab => tab.click()")
        screen.settle()
        assert faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.locator("#copy-as").click()
    assert faults(page) == []


def test_all_can_be_touched(phone: Shown) -> None:
    page = phone.page
    page.get_by_text("Settings").tap()
    page.get_by_role("button", name="Shuffle").tap()
    phone.settle()
    page.locator(".grid .cell").nth(1).tap()
    sizes = page.locator("button:visible:not(.cell), select:visible").evaluate_all(
        "all => all.map(one => [one.textContent, one.getBoundingClientRect().height])"
    )
    assert [size for size in sizes if size[1] < 24] == []  # WCAG 2.2, target size
    page.locator("#keep").tap()
    page.locator("#close-detail").tap()
    assert page.locator("#kept .cell").count() == 1
    # The pictures stay in sight while somebody drags a setting.
    page.locator("#option-truncation").scroll_into_view_if_needed()
    assert page.locator(".grid .cell").first.is_visible()
    box = page.locator(".grid").first.bounding_box()
    assert box is not None
    assert box["y"] >= 0


def test_a_finger_drags_a_slider_and_the_pictures_follow(phone: Shown) -> None:
    page = phone.page
    page.get_by_text("Settings").tap()
    page.locator("#option-truncation").scroll_into_view_if_needed()
    before, scrolled = len(phone.requests), page.evaluate("scrollY")
    finger(phone, "#option-truncation", (0.9, 0.5), (0.2, 0.5), steps=10)
    phone.settle()
    asked = [request["sampling"]["truncation"] for request in phone.requests[before:]]
    assert len(asked) >= 3  # while the finger moved, not only at its end
    assert asked == sorted(asked, reverse=True)
    assert asked[-1] == float(page.locator("#option-truncation").input_value())
    assert page.evaluate("scrollY") == scrolled


def test_a_finger_paints(phone: Shown, server: Server) -> None:
    phone.open(f"{server.address}/#count=4&model=diffusion&view=redo&class=b")
    phone.page.locator(".layer.mask").scroll_into_view_if_needed()
    before, scrolled = pixels(phone.requests[-1]["start"]), phone.page.evaluate("scrollY")
    finger(phone, ".layer.mask", (0.5, 0.05), (0.5, 0.95))
    phone.settle()
    column = pixels(phone.requests[-1]["start"])[:, 4, :3]
    assert (column == 255).all()
    assert not (before[:, 4, :3] == 255).all()
    assert phone.page.evaluate("scrollY") == scrolled


def test_on_a_phone_the_panel_makes_way_for_what_it_opened(phone: Shown) -> None:
    page = phone.page
    for button, place in (("#redo", ".paint"), ("#add-to-walk", ".stand"), ("#branch", "#reach")):
        page.locator("#tab-grid").evaluate("tab => tab.click()")
        phone.settle()
        page.locator(".grid .cell").first.tap()
        page.locator(button).tap()
        assert page.locator("#detail").is_hidden()
        assert page.locator(place).is_visible()


def test_pictures_are_large_enough_beside_the_selected_one(shown_page: Shown, server: Server) -> None:
    shown_page.open(f"{server.address}/#count=4&model=gan")
    page = shown_page.page
    page.locator(".grid .cell").first.click()
    for tab, least in (("walk", 30), ("redo", 60)):
        page.locator(f"#tab-{tab}").click()
        shown_page.settle()
        box = page.locator(".grid .cell").first.bounding_box()
        assert box is not None
        assert box["width"] >= least


def test_by_keyboard_alone(shown_page: Shown, server: Server) -> None:
    shown_page.open(f"{server.address}/#count=9&model=gan&seed=2")
    page, press = shown_page.page, shown_page.page.keyboard.press
    page.locator(".grid .cell").first.focus()
    for key in ("ArrowRight", "ArrowDown", "Enter"):
        press(key)
    assert page.locator("#detail h2").inner_text() == "class b, seed 6"
    press("End")
    press(" ")
    assert page.locator("#detail h2").inner_text() == "class c, seed 10"
    press("k")
    assert page.locator("#kept .cell").count() == 1
    press("Escape")
    assert page.locator("#detail").is_hidden()
    press("]")
    shown_page.asked(seed=11)
    press("[")
    shown_page.asked(seed=2)
    press("r")
    shown_page.settle()
    assert shown_page.requests[-1]["seed"] != 2
    press("?")
    assert page.locator("#dialog").is_visible()
    press("Escape")
    press("l")
    page.get_by_text("Link copied.").wait_for()
    page.locator("#seed").focus()
    page.keyboard.type("5")  # letters and digits in a field are no shortcuts
    assert page.locator("#tab-grid").get_attribute("aria-selected") == "true"
    # One Tab stop for the whole grid.
    assert page.locator(".grid .cell[tabindex='0']").count() == 1


def test_the_theme_is_chosen_and_stays(shown_page: Shown, server: Server) -> None:
    shown_page.open(server.address)
    page = shown_page.page

    def ground() -> str:
        return page.evaluate("getComputedStyle(document.documentElement).backgroundColor")

    light = ground()
    page.locator("#theme").click()
    assert (page.locator("#theme").get_attribute("aria-label"), ground()) == ("Theme: light", light)
    page.locator("#theme").click()
    assert ground() != light
    page.reload()
    assert page.locator("#theme").get_attribute("aria-label") == "Theme: dark"
    assert ground() != light


def test_pixels_stay_sharp(shown_page: Shown, server: Server) -> None:
    shown_page.open(f"{server.address}/#count=1")
    image = shown_page.page.locator(".grid img").first
    assert image.evaluate("image => getComputedStyle(image).imageRendering") == "pixelated"
    assert image.bounding_box()["width"] > 100


def test_a_browser_may_only_run_our_own_files(server: Server) -> None:
    with server.client() as client:
        for path in ("/", "/static/main.js", "/static/theme.css"):
            answer = client.get(path)
            assert answer.status_code == 200
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert client.get("/static/../app.py").status_code == 404
        assert client.get("/static/%2e%2e/app.py").status_code == 404


def test_an_installed_package_contains_the_page() -> None:
    included = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    files = [path.relative_to(ROOT).as_posix() for path in PAGE.iterdir()]
    assert "flows/serving/page/index.html" in files
    assert set(files) <= included
