"""Make the pictures of the page in docs/images: `python -m tests.docs.screenshots WORKSPACE [NAME ...]`.

WORKSPACE: one whose pipeline has run, such as after `make demo`, with a version in production; for "page-redo", one of
colour images, such as after `genai start`. Not a test: the pictures depend on the machine's fonts.
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
DIGITS, COLOUR = ("prod", "gan", "vae"), ("candidate",)


def select_a_picture(page: Page) -> None:
    page.locator(".grid .cell").nth(5).click()
    page.locator("#explain").click()
    page.locator("#explained").wait_for()


def mask_the_top(page: Page) -> None:
    page.locator("[data-tool=mask]").click()
    page.locator("#brush").fill("12")
    page.locator("#strength").fill("0.85")
    box = page.locator(".layer.mask").bounding_box()
    assert box is not None
    across = [(0.05, 0.08), (0.95, 0.08), (0.95, 0.24), (0.05, 0.24)]
    page.mouse.move(box["x"] + across[0][0] * box["width"], box["y"] + across[0][1] * box["height"])
    page.mouse.down()
    for right, below in across[1:]:
        page.mouse.move(box["x"] + right * box["width"], box["y"] + below * box["height"], steps=12)
    page.mouse.up()


def nothing(_page: Page) -> None:
    """The page as it opens."""


# name: models, link, on a phone, dark, what to do first
PICTURES: dict[str, tuple[tuple[str, ...], str, bool, bool, Callable[[Page], None]]] = {
    "page": (DIGITS, "model=prod&class=3&seed=4", False, False, select_a_picture),
    "page-phone": (DIGITS, "model=prod&seed=4&count=9", True, True, nothing),
    "page-directions": (DIGITS, "model=trained/gan&class=3&view=directions", False, False, nothing),
    "page-redo": (COLOUR, "seed=5&view=redo", False, True, mask_the_top),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.docs.screenshots", description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("names", nargs="*", choices=[[], *PICTURES], metavar="NAME", help="default: those of digits")
    arguments = parser.parse_args()
    workspace = arguments.workspace.resolve()
    names = arguments.names or [name for name, (models, *_) in PICTURES.items() if models == DIGITS]
    (models,) = {PICTURES[name][0] for name in names}  # of one workspace
    with serving(*models, workspace=workspace) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        for name in names:
            _, link, phone, dark, act = PICTURES[name]
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
