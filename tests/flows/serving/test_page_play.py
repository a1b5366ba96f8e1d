"""What one can do on the page with one picture: mix, branch, walk, draw on it, upload another."""

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.flows.serving.browser import Shown, needs_chromium
from tests.flows.serving.served import Server, pixels
from tests.flows.serving.strokes import stroke

pytestmark = needs_chromium

WALK = 24  # pictures of a line


def drawn(server: Server, **values: Any) -> list[str]:
    """What the API draws."""
    answer = server.draw(**values)
    assert answer.status_code == 200, answer.text
    return [image["b64"] for image in answer.json()["images"]]


@pytest.fixture
def page(shown_page: Shown, server: Server) -> Shown:
    shown_page.open(f"{server.address}/#model=vae&count=4&seed=3&class=b")
    return shown_page


def test_classes_are_mixed_by_weights(page: Shown, server: Server) -> None:
    page.page.get_by_role("button", name="Mix classes").click()
    page.page.get_by_label("Weight of b").wait_for()
    page.settle()
    assert page.pictures() == drawn(server, model="vae", count=4, seed=3, mix={"b": 0.5, "c": 0.5})
    page.page.get_by_label("Add a class to the mix").select_option("a")
    page.slide("[aria-label='Weight of c']", 1.0)
    page.settle()
    assert page.page.locator(".mix output").all_inner_texts() == ["25 %", "50 %", "25 %"]
    assert page.pictures() == drawn(server, model="vae", count=4, seed=3, mix={"b": 0.25, "c": 0.5, "a": 0.25})
    page.page.wait_for_url("**mix=**")
    mixed = page.pictures()
    page.open(page.page.url)
    assert page.pictures() == mixed
    page.page.get_by_label("Remove a from the mix").click()
    page.page.get_by_role("button", name="c", exact=True).click()
    page.settle()
    assert page.page.locator(".mix").is_hidden()
    assert page.pictures() == drawn(server, model="vae", count=4, seed=3, **{"class": "c"})


def test_branching_from_a_picture(page: Shown, server: Server) -> None:
    chosen = page.pictures()[2]
    page.page.locator(".grid .cell").nth(2).click()
    page.page.locator("#branch").click()
    page.settle()
    body = {"model": "vae", "count": 9, "seed": 3, "class": "b", "base": {"seed": 5}}
    assert page.pictures() == drawn(server, **body, reach=0.3)
    page.slide("#reach", 0.8)
    page.settle()
    assert page.pictures() == drawn(server, **body, reach=0.8)
    page.page.locator(".grid .cell").nth(4).click()
    page.page.locator("#link-picture").click()
    page.page.get_by_text("Link copied.").wait_for()
    one = page.pictures()[4]
    page.open(page.page.evaluate("navigator.clipboard.readText()"))
    assert page.pictures() == [one]
    page.slide("#reach", 0)
    page.settle()
    assert np.array_equal(pixels(page.pictures()[0]), pixels(chosen))
    page.page.locator("#leave-branch").click()
    page.settle()
    assert page.page.locator(".branch").is_hidden()


def test_a_walk_between_two_and_four(page: Shown, server: Server) -> None:
    page.page.locator("#tab-walk").click()
    page.settle()
    walk = {"points": [{"seed": 3}, {"seed": 4}], "rows": 1, "columns": WALK}
    expected = drawn(server, model="vae", walk=walk, **{"class": "b"})
    assert page.pictures() == expected
    large = page.page.locator(".stand img")
    page.slide("#place", 7)
    assert large.get_attribute("src") == f"data:image/png;base64,{expected[7]}"
    page.page.locator("#play").click()
    # It goes to and fro; a single picture is shown for less time than lies between two looks.
    expect(page.page.locator("#place")).to_have_value(re.compile("^(9|1[0-9]|2[0-9])$"), timeout=30_000)
    expect(page.page.locator(".grid .cell[aria-pressed=true]")).to_have_count(1)
    page.page.locator("#play").click()
    page.page.locator(".grid .cell").nth(12).click()
    page.page.locator("#link-picture").click()
    page.page.get_by_text("Link copied.").wait_for()
    link = page.page.evaluate("navigator.clipboard.readText()")
    page.page.locator("[data-points='4']").click()
    page.settle()
    assert page.page.locator(".grid .cell").count() == 49
    assert page.page.locator(".slots li").count() == 4
    page.page.get_by_label("Another picture as point 2").click()
    page.settle()
    page.page.locator("#walk-shuffle").click()
    page.settle()
    page.page.wait_for_url("**points=**")
    square = page.pictures()
    page.open(page.page.url)
    assert page.pictures() == square
    page.open(link)
    assert np.array_equal(pixels(page.pictures()[0]), pixels(expected[12]))


def test_a_walk_between_chosen_pictures(page: Shown, server: Server) -> None:
    for index in (1, 3):
        page.page.locator("#tab-grid").click()
        page.settle()
        page.page.locator(".grid .cell").nth(index).click()
        page.page.locator("#add-to-walk").click()
        page.settle()
    walk = {"points": [{"seed": 4}, {"seed": 6}], "rows": 1, "columns": WALK}
    assert page.pictures() == drawn(server, model="vae", walk=walk, **{"class": "b"})


def test_drawing_on_a_picture_and_masking_it(shown_page: Shown, server: Server) -> None:
    page = shown_page
    page.open(f"{server.address}/#model=diffusion&count=4&seed=3&class=b")
    chosen = pixels(page.pictures()[1])
    page.page.locator(".grid .cell").nth(1).click()
    page.page.locator("#redo").click()
    page.settle()
    sent = page.requests[-1]
    assert np.array_equal(pixels(sent["start"])[..., 0], chosen)
    assert (sent["strength"], "mask" in sent) == (0.6, False)
    page.page.locator("#brush").fill("2")
    stroke(page, (0.2, 0.2), (0.8, 0.2))
    page.settle()
    painted = pixels(page.requests[-1]["start"])[..., 0]
    changed = painted != chosen
    assert (painted[changed] == 255).all()
    assert changed[:4].any()
    assert not changed[4:].any()
    page.page.locator("#undo").click()
    page.settle()
    assert np.array_equal(pixels(page.requests[-1]["start"])[..., 0], chosen)
    page.page.locator("[data-tool=mask]").click()
    page.slide("#strength", 1)
    stroke(page, (0.1, 0.9), (0.9, 0.9))
    page.settle()
    mask = pixels(page.requests[-1]["mask"])[..., 0] == 255
    assert mask.any()
    assert not mask[:4].any()
    assert len(page.pictures()) == 9
    for picture in page.pictures():
        assert np.array_equal(pixels(picture)[~mask], chosen[~mask])
    before = page.pictures()
    assert page.change(page.page.locator("#again").click) != before
    page.page.locator("[data-tool=unmask]").click()
    stroke(page, (0.0, 0.9), (1.0, 0.9), (1.0, 0.98), (0.0, 0.98), (0.0, 0.85), (1.0, 0.85))
    page.settle()
    page.page.locator("#clear").click()
    page.settle()
    assert "mask" not in page.requests[-1]
    page.page.locator(".answers .cell").first.click()
    page.page.locator("#link-picture").click()
    page.page.get_by_text("A link cannot hold a picture that you drew on").wait_for()


def test_drawing_on_a_picture_leaves_the_grid_as_it_was(shown_page: Shown, server: Server) -> None:
    page = shown_page
    page.open(f"{server.address}/#model=diffusion&count=4&seed=3")
    before = page.pictures()
    page.page.locator(".grid .cell").nth(1).click()
    page.page.locator("#redo").click()
    page.settle()
    page.asked(**{"class": "b"})
    # Keys go on in the view: the next Tab is at the picture to draw on.
    page.page.keyboard.press("Tab")
    assert page.page.locator(".layer.mask").evaluate("canvas => canvas === document.activeElement")
    page.page.locator("#tab-grid").click()
    page.settle()
    assert page.pictures() == before


def test_drawing_by_keyboard(shown_page: Shown, server: Server) -> None:
    page = shown_page
    page.open(f"{server.address}/#model=diffusion&count=1&seed=3&class=b&view=redo")
    before = pixels(page.requests[-1]["start"])
    page.page.locator(".layer.mask").focus()
    for key in ("ArrowLeft", "ArrowUp", " "):
        page.page.keyboard.press(key)
    page.settle()
    assert not np.array_equal(pixels(page.requests[-1]["start"]), before)


def test_an_uploaded_picture_and_its_nearest_latent(page: Shown, server: Server, tmp_path: Path) -> None:
    path = tmp_path / "mine.png"
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 3).save(path)
    page.page.locator("#tab-upload").click()
    page.page.set_input_files("#file", path)
    page.page.get_by_text("Nearest the model can draw").wait_for()
    with server.client() as client:
        image = base64.b64encode(path.read_bytes()).decode()
        found = client.post("/v1/encode", json={"model": "vae", "image": image, "class": "b"}).json()
    assert page.page.locator(".pair img").nth(1).get_attribute("src") == f"data:image/png;base64,{found['b64']}"
    page.page.locator("#upload-branch").click()
    page.settle()
    page.slide("#reach", 0)
    page.settle()
    assert np.array_equal(pixels(page.pictures()[0]), pixels(found["b64"]))


def test_no_picture_is_uploaded_that_is_too_large_or_none(page: Shown, tmp_path: Path) -> None:
    page.page.locator("#tab-upload").click()
    large, text = tmp_path / "large.png", tmp_path / "text.png"
    large.write_bytes(bytes(6 * 2**20))
    text.write_text("no picture")
    page.page.set_input_files("#file", large)
    page.page.locator("#problem").get_by_text("up to 5 MB").wait_for()
    page.page.set_input_files("#file", text)
    page.page.locator("#problem").get_by_text("not an image").wait_for()
    page.problems.clear()  # Chromium itself notes the answer 415


def test_long_drawings_show_previews(shown_page: Shown, server: Server) -> None:
    link = "#model=diffusion&count=64&seed=3&class=b&sampling=%7B%22steps%22%3A40%7D"
    shown_page.open(f"{server.address}/{link}")
    shown_page.page.evaluate(
        "() => { window.seen = 0; new MutationObserver(() => {"
        " window.seen += document.querySelectorAll('.cell.preview').length; })"
        ".observe(document.body, { subtree: true, attributes: true }); }"
    )
    shown_page.change(shown_page.page.get_by_role("button", name="Later seeds").click)
    shown_page.asked(stream=True)
    assert shown_page.page.evaluate("window.seen") > 0
    assert shown_page.page.locator(".cell.preview").count() == 0
    sampling = {"steps": 40}
    assert shown_page.pictures() == drawn(
        server, model="diffusion", count=64, seed=67, sampling=sampling, **{"class": "b"}
    )
    with Image.open(io.BytesIO(base64.b64decode(shown_page.pictures()[0]))) as image:
        assert "genai" in image.info
