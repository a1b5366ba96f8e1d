"""The page with models of colour images: drawing and masking in colour, photographs, and links of two models."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.flows.serving.browser import Shown, context_of, needs_chromium, shown
from tests.flows.serving.served import Server, pixels, save_tiny_model, serving
from tests.flows.serving.strokes import stroke

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def colour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two models of colour images; one has no classes."""
    folder = tmp_path_factory.mktemp("colour")
    paths = [
        save_tiny_model(folder / "diffusion", "diffusion", channels=3),
        save_tiny_model(folder / "plain", "diffusion", channels=3, classes=(), seed=1),
    ]
    with serving(*map(str, paths), workspace=folder) as found:
        yield found


@pytest.fixture
def page(browser: "Browser", colour: Server) -> Iterator[Shown]:
    with context_of(browser) as context:
        found = shown(context, colour.address)
        found.open(f"{colour.address}/#count=4&seed=3&class=b")
        yield found
        assert found.problems == []


def test_colours_are_drawn_and_painted(page: Shown) -> None:
    assert [pixels(picture).shape for picture in page.pictures()] == [(8, 8, 3)] * 4
    chosen = pixels(page.pictures()[0])
    page.page.locator(".grid .cell").first.click()
    page.page.locator("#redo").click()
    page.settle()
    assert page.page.locator("#colour").is_visible()
    assert page.page.locator("#grey").is_hidden()
    page.page.locator("#colour").fill("#ff0000")
    stroke(page, (0.0, 0.9), (1.0, 0.9))
    page.settle()
    start = pixels(page.requests[-1]["start"])[..., :3]
    assert (start[7] == (255, 0, 0)).all()
    assert np.array_equal(start[:5], chosen[:5])
    page.page.locator("[data-tool=mask]").click()
    stroke(page, (0.0, 0.1), (1.0, 0.1))
    page.settle()
    mask = pixels(page.requests[-1]["mask"])[..., 0] == 255
    answers = [pixels(picture) for picture in page.pictures()]
    for answer in answers:
        assert np.array_equal(answer[~mask], start[~mask])
    # The picture's own seed would draw the masked part as it was.
    assert page.requests[-1]["seed"] > 3
    assert len({answer.tobytes() for answer in answers}) == 9


def test_a_photograph_is_turned_as_its_camera_says(page: Shown, colour: Server, tmp_path: Path) -> None:
    upright = np.zeros((16, 16, 3), np.uint8)
    upright[:8] = (250, 30, 30)
    path, exif = tmp_path / "phone.jpg", Image.Exif()
    exif[0x0112] = 6  # turned by a quarter to the right, it is upright
    Image.fromarray(np.rot90(upright)).save(path, exif=exif, quality=98)
    page.page.locator("#tab-upload").click()
    page.page.set_input_files("#file", path)
    page.page.get_by_text("Nearest the model can draw").wait_for()
    page.page.locator("#upload-redo").click()
    page.settle()
    shown_upright = pixels(page.requests[-1]["start"])[..., :3]
    assert shown_upright[0, :, 0].min() > 200
    assert shown_upright[7, :, 0].max() < 60
    with colour.client() as client:
        image = base64.b64encode(path.read_bytes()).decode()
        found = client.post("/v1/encode", json={"image": image, "class": "b"}).json()
    assert np.array_equal(shown_upright, pixels(found["prepared_b64"]))
    plain = io.BytesIO()
    Image.fromarray(upright).save(plain, "PNG")
    with colour.client() as client:
        errors = [
            client.post("/v1/encode", json={"image": base64.b64encode(content).decode(), "class": "b"}).json()["error"]
            for content in (path.read_bytes(), plain.getvalue())
        ]
    assert errors[0] == pytest.approx(errors[1], abs=3.0)


def test_what_cannot_be_read_is_named_and_leaves_no_broken_picture(page: Shown, tmp_path: Path) -> None:
    path = tmp_path / "phone.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    page.page.locator("#tab-upload").click()
    page.page.set_input_files("#file", path)
    page.page.locator("#problem").get_by_text("HEIC or AVIF").wait_for()
    assert page.page.locator(".upload img").count() == 0
    page.problems.clear()  # Chromium itself notes the answer 415


def test_no_control_is_without_effect(page: Shown, colour: Server) -> None:
    assert page.page.locator("#option-guidance_scale").count() == 1
    page.open(f"{colour.address}/#count=1&model=plain")
    assert page.page.locator("#option-steps").count() == 1
    assert page.page.locator("#option-guidance_scale").count() == 0  # towards a class, and there is none


def test_a_link_draws_the_same_after_a_reload_and_elsewhere(page: Shown, browser: "Browser", colour: Server) -> None:
    page.slide("#option-steps", 3)
    page.settle()
    page.page.select_option("#other", "plain")
    page.settle()
    page.page.wait_for_url("**other=plain**")
    both = [page.pictures(f".side:nth-child({side}) .grid") for side in (1, 2)]
    link = page.page.url
    page.page.reload()
    page.settle()
    assert [page.pictures(f".side:nth-child({side}) .grid") for side in (1, 2)] == both
    with context_of(browser, phone=True) as context:
        other = shown(context, colour.address)
        other.open(link)
        assert [other.pictures(f".side:nth-child({side}) .grid") for side in (1, 2)] == both
        made = link.partition("made=")[2].partition("&")[0]
        other.open(link.replace(made, f"{made.partition('-')[0]}-0123456789ab"))
        other.page.locator("#problem").get_by_text("(0123456789ab, plain)").wait_for()
