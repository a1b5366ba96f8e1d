"""Make the pictures of the page in docs/images: `python -m tests.docs.screenshots WORKSPACE [NAME ...]`.

WORKSPACE: one whose pipeline has run, such as after `make demo`, with a version in production. Not a test: the
pictures depend on the machine's fonts.
"""

import argparse
import io
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.flows.serving.browser import CHROMIUM, context_of, shown
from tests.flows.serving.served import serving

FOLDER = Path(__file__).parents[2] / "docs" / "images"
MODELS = ("prod", "gan", "vae")


def select_a_picture(page: Page) -> None:
    page.locator(".grid .cell").nth(5).click()
    page.locator("#explain").click()
    page.locator("#explained").wait_for()


def mask_a_part(page: Page) -> None:
    page.locator("[data-tool=mask]").click()
    page.locator("#brush").fill("5")
    box = page.locator(".layer.mask").bounding_box()
    assert box is not None
    down = [(0.25, 0.7), (0.4, 0.8), (0.6, 0.82), (0.72, 0.7)]
    page.mouse.move(box["x"] + down[0][0] * box["width"], box["y"] + down[0][1] * box["height"])
    page.mouse.down()
    for right, below in down[1:]:
        page.mouse.move(box["x"] + right * box["width"], box["y"] + below * box["height"], steps=5)
    page.mouse.up()


def nothing(_page: Page) -> None:
    """The page as it opens."""


# name: link, on a phone, dark, what to do first
PICTURES: dict[str, tuple[str, bool, bool, Callable[[Page], None]]] = {
    "page": ("model=prod&class=3&seed=4", False, False, select_a_picture),
    "page-phone": ("model=prod&seed=4&count=9", True, True, nothing),
    "page-directions": ("model=trained/gan&class=3&view=directions", False, False, nothing),
    "page-redo": ("model=prod&class=3&seed=4&view=redo", False, True, mask_a_part),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.docs.screenshots", description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("names", nargs="*", choices=[[], *PICTURES], metavar="NAME", help="default: all")
    arguments = parser.parse_args()
    workspace, names = arguments.workspace.resolve(), arguments.names or list(PICTURES)
    with serving(*MODELS, workspace=workspace) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        for name in names:
            link, phone, dark, act = PICTURES[name]
            with context_of(browser, phone=phone, dark=dark) as context:
                found = shown(context, server.address)
                found.open(f"{server.address}/#{link}")
                act(found.page)
                found.page.wait_for_load_state("networkidle")
                found.settle()
                save(found.page.screenshot(), FOLDER / f"{name}.png")
                print(f"{name}: {(FOLDER / f'{name}.png').stat().st_size // 1000} kB", *found.problems)


def save(content: bytes, path: Path) -> None:
    """Write a picture as small as PNG can be without losing colours."""
    with Image.open(io.BytesIO(content)) as image:
        image.convert("RGB").save(path, optimize=True)


if __name__ == "__main__":
    main()
