"""The page in a real Chromium: what it shows is what the API draws, and everything it offers works."""

import base64
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.flows.serving.browser import Shown, needs_chromium
from tests.flows.serving.served import Server

pytestmark = needs_chromium


def drawn(server: Server, **values: Any) -> list[str]:
    """What the API draws."""
    answer = server.draw(**values)
    assert answer.status_code == 200, answer.text
    return [image["b64"] for image in answer.json()["images"]]


@pytest.fixture
def page(shown_page: Shown, server: Server) -> Shown:
    shown_page.open(f"{server.address}/#model=gan&count=9&seed=3")
    return shown_page


def test_the_grid_shows_what_the_api_draws(page: Shown, server: Server) -> None:
    assert page.pictures() == drawn(server, model="gan", count=9, seed=3)
    first = page.page.locator(".grid .cell").first
    assert first.get_attribute("aria-label") == "class a, seed 3"


def test_every_setting_redraws(page: Shown, server: Server) -> None:
    press = page.page.get_by_role
    assert page.change(press("button", name="b", exact=True).click) == drawn(
        server, model="gan", count=9, seed=3, **{"class": "b"}
    )
    assert page.change(press("button", name="4", exact=True).click) == drawn(
        server, model="gan", count=4, seed=3, **{"class": "b"}
    )
    assert page.change(press("button", name="Later seeds").click) == drawn(
        server, model="gan", count=4, seed=7, **{"class": "b"}
    )
    expected = drawn(server, model="gan", count=4, seed=7, sampling={"truncation": 0.5}, **{"class": "b"})
    assert page.change(lambda: page.slide("#option-truncation", 0.5)) == expected
    expected = drawn(server, model="gan", count=4, seed=7, **{"class": "b"})
    assert page.change(press("button", name="Back to the model's own").click) == expected
    expected = drawn(server, model="gan", count=4, seed=99, **{"class": "b"})
    assert page.change(lambda: page.page.fill("#seed", "99")) == expected
    assert page.change(press("button", name="each", exact=True).click) == drawn(server, model="gan", count=4, seed=99)
    page.change(page.page.locator("#shuffle").click)
    assert page.requests[-1]["seed"] != 99


def test_options_of_every_kind(shown_page: Shown, server: Server) -> None:
    shown_page.open(f"{server.address}/#model=diffusion&count=1")
    page = shown_page.page
    shown_page.slide("#option-steps", 3)
    page.select_option("#option-sampler", "euler")
    page.get_by_text("More options").click()
    page.fill("#option-noise_levels", "9 3, 0.5")
    shown_page.settle()  # pictures that come meanwhile leave what somebody types
    page.locator("#option-noise_levels").press("Tab")
    shown_page.settle()
    sampling = {"steps": 3, "sampler": "euler", "noise_levels": [9, 3, 0.5]}
    shown_page.asked(sampling=sampling)
    shown_page.settle()
    assert shown_page.pictures() == drawn(server, model="diffusion", count=1, seed=0, sampling=sampling)
    assert re.fullmatch(r"[\d.]+ m?s for 1 picture", page.locator("#cost").inner_text())
    page.fill("#option-noise_levels", "many")
    page.locator("#option-noise_levels").press("Tab")
    assert page.locator("#option-noise_levels").get_attribute("aria-invalid") == "true"


def test_the_latest_of_many_changes_wins(page: Shown, server: Server) -> None:
    page.page.locator("#option-truncation").evaluate(
        "(slider) => { for (let at = 100; at >= 20; at -= 1) { slider.value = at / 100;"
        " slider.dispatchEvent(new Event('input', { bubbles: true })); } }"
    )
    page.settle()
    page.asked(sampling={"truncation": 0.2})
    page.settle()
    assert page.pictures() == drawn(server, model="gan", count=9, seed=3, sampling={"truncation": 0.2})
    # While one drags, one request is on its way and the newest state waits for it: not one for each of 81 values.
    assert len(page.requests) <= 4


def test_a_click_aborts_what_is_on_its_way(page: Shown) -> None:
    page.page.evaluate(
        "() => { const later = document.querySelector('[aria-label=\"Later seeds\"]');"
        " for (let time = 0; time < 4; time += 1) later.click(); }"
    )
    page.settle()
    page.asked(seed=39)
    assert [body["seed"] for body in page.requests[-4:]] == [12, 21, 30, 39]
    assert [body["seed"] for body in page.aborted] == [12, 21, 30]
    assert page.page.locator(".grid .cell").first.get_attribute("aria-label") == "class a, seed 39"


def test_what_is_typed_wrongly_is_said_and_not_sent(page: Shown) -> None:
    before = len(page.requests)
    page.page.fill("#seed", "-1")
    assert page.page.locator("#seed").get_attribute("aria-invalid") == "true"
    assert "whole number" in page.page.locator("#seed-note").inner_text()
    assert len(page.requests) == before


def test_the_selected_picture_has_its_facts_and_its_file(page: Shown, server: Server, tmp_path: Path) -> None:
    page.page.locator(".grid .cell").nth(4).click()
    assert page.page.locator("#detail h2").inner_text() == "class b, seed 7"
    page.page.get_by_text("Provenance").click()
    provenance = json.loads(page.page.locator("#detail pre").inner_text())
    assert provenance["seed"] == 7
    with page.page.expect_download() as waiting:
        page.page.locator("#download").click()
    path = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(path)
    assert path.name == "gan-b-7.png"
    with Image.open(path) as image:
        assert json.loads(image.info["genai"]) == provenance
    page.page.locator("#close-detail").click()
    assert page.page.locator("#detail").is_hidden()


def test_a_link_gives_exactly_this_picture(page: Shown, server: Server) -> None:
    page.slide("#option-truncation", 0.6)
    page.settle()
    chosen = page.pictures()[4]
    page.page.locator(".grid .cell").nth(4).click()
    page.page.locator("#link-picture").click()
    page.page.get_by_text("Link copied.").wait_for()
    link = page.page.evaluate("navigator.clipboard.readText()")
    page.open(link)
    assert page.pictures() == [chosen]
    assert page.page.locator("#problem").is_hidden()
    # The address bar's link is that of all pictures, once nothing changes any more.
    page.change(page.page.get_by_role("button", name="16", exact=True).click)
    page.page.wait_for_url("**count=16**")
    all_pictures = page.pictures()
    page.open(page.page.url)
    assert page.pictures() == all_pictures


def test_a_link_to_other_weights_says_so(page: Shown, server: Server) -> None:
    page.open(f"{server.address}/#model=gan&made=0123456789ab&count=1")
    page.page.locator("#problem").get_by_text("other weights (0123456789ab, gan)").wait_for()
    page.open(f"{server.address}/#model=gone&count=1")
    page.page.locator("#problem").get_by_text("does not hold the model gone").wait_for()
    page.change(page.page.locator("#shuffle").click)
    assert page.page.locator("#problem").is_hidden()
    # Weights of another name here: those are drawn.
    with server.client() as client:
        (weights,) = (one["genai"]["sha256"] for one in client.get("/v1/models").json()["data"] if one["id"] == "vae")
    page.open(f"{server.address}/#model=prod&version=v0.0.1&made={weights[:12]}&count=1&seed=2")
    assert page.pictures() == drawn(server, model="vae", count=1, seed=2)
    assert page.page.locator("#problem").is_hidden()


def test_a_link_with_nonsense_shows_the_usual(page: Shown, server: Server) -> None:
    page.open(f"{server.address}/#view=x&seed=-4&count=10000&sampling=%7B&mix=3&points=7&from=no&reach=2")
    assert page.pictures() == drawn(server, count=16, seed=0)


def test_what_is_copied_draws_the_same(page: Shown, server: Server, tmp_path: Path) -> None:
    expected = page.pictures()
    page.page.locator("#copy-as").click()
    for name in ("Python", "curl"):
        page.page.get_by_role("button", name=f"Copy {name}").click()
        page.page.get_by_text(f"{name} copied.").wait_for(state="attached")
        text = page.page.evaluate("navigator.clipboard.readText()")
        if name == "Python":
            subprocess.run([sys.executable, "-c", text], cwd=tmp_path, check=True)
            files = sorted(tmp_path.glob("*.png"))
            assert [base64.b64encode(file.read_bytes()).decode() for file in files] == expected
        else:
            found = subprocess.run(["sh", "-c", text], capture_output=True, check=True)
            assert [image["b64"] for image in json.loads(found.stdout)["images"]] == expected
    # The server's folders are outside of models/, where only a path names them.
    page.page.get_by_text("Only its path names this model on the command line").wait_for()
    assert page.page.get_by_role("button", name="Copy Command line").count() == 0
    page.page.keyboard.press("Escape")
    assert not page.page.locator("#dialog").is_visible()


def test_keep_and_history(page: Shown) -> None:
    first = page.pictures()
    page.page.locator("#history .cell").wait_for()
    page.page.locator(".grid .cell").nth(2).click()
    page.page.locator("#keep").click()
    assert page.pictures("#kept") == [first[2]]
    page.change(page.page.locator("#shuffle").click)
    page.page.locator("#history .cell").nth(1).wait_for()
    assert page.change(page.page.locator("#history .cell").nth(1).click) == first
    page.page.locator("#kept .cell").click()
    assert page.page.locator("#detail h2").inner_text() == "class c, seed 5"
    page.page.locator("#keep").click()
    assert page.page.locator("#kept .cell").count() == 0


def test_two_models_side_by_side_from_the_same_seeds(page: Shown, server: Server) -> None:
    page.page.select_option("#other", "vae")
    page.settle()
    one, other = page.page.locator(".grid").all()
    assert page.page.locator(".side-title").all_inner_texts() == ["gan", "vae"]
    assert page.pictures(".side:nth-child(1) .grid") == drawn(server, model="gan", count=9, seed=3)
    assert page.pictures(".side:nth-child(2) .grid") == drawn(server, model="vae", count=9, seed=3)
    other.locator(".cell").nth(1).click()
    assert "vae" in page.page.locator("#detail .facts").inner_text()
    assert one.locator("[aria-pressed=true]").count() == 0


def test_another_model_has_its_own_settings(page: Shown) -> None:
    page.page.select_option("#model", "vqvae")
    page.settle()
    assert page.page.locator("#option-truncation").count() == 0
    assert page.page.locator("#option-temperature").count() == 1
    page.page.select_option(
        "#model", next(iter(page.page.locator("#model option", has_text="plain").all_inner_texts()))
    )
    page.settle()
    assert page.page.get_by_text("Class", exact=True).count() == 0


def test_the_servers_message_is_shown(page: Shown, server: Server) -> None:
    page.page.get_by_role("button", name="1", exact=True).click()
    page.settle()
    page.page.evaluate("location.hash = 'model=gan&count=1&sampling={\"truncation\":-5}'")
    page.page.locator("#problem").get_by_text("sampling.truncation").wait_for()
    page.problems.clear()  # Chromium itself notes the answer 422
    page.change(page.page.locator("#shuffle").click)
    page.page.get_by_role("button", name="Back to the model's own").click()
    page.page.locator("#problem").wait_for(state="hidden")
    # What is wrong with one of two models stays, although the other one has drawn.
    page.open(f'{server.address}/#model=gan&other=diffusion&count=1&sampling={{"truncation":-5}}')
    assert all(page.pictures(".side:nth-child(2) .grid"))
    page.page.locator("#problem").get_by_text("sampling.truncation").wait_for()
    page.problems.clear()


def test_previews_are_pictures(page: Shown) -> None:
    for picture in page.pictures():
        with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
            assert image.size == (8, 8)
