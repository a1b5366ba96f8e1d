"""Strokes over the picture of the tab "Draw on it" with a mouse, and strokes of a finger over anything."""

from itertools import pairwise

from tests.flows.serving.browser import Shown


def stroke(page: Shown, *places: tuple[float, float]) -> None:
    """Draw a line over the picture; places are shares of its width and height."""
    box = page.page.locator(".layer.mask").bounding_box()
    assert box is not None
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.page.mouse.move(*points[0])
    page.page.mouse.down()
    for point in points[1:]:
        page.page.mouse.move(*point, steps=4)
    page.page.mouse.up()


def finger(page: Shown, selector: str, *places: tuple[float, float], steps: int = 6) -> None:
    """Move a finger over an element, from place to place; places are shares of its width and height."""
    box = page.page.locator(selector).bounding_box()
    assert box is not None
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    screen = page.page.context.new_cdp_session(page.page)

    def touch(kind: str, *at: tuple[float, float]) -> None:
        screen.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in at]})

    touch("touchStart", points[0])
    for (left, top), (right, bottom) in pairwise(points):
        for step in range(1, steps + 1):
            share = step / steps
            touch("touchMove", (left + share * (right - left), top + share * (bottom - top)))
            page.page.wait_for_timeout(30)  # a hand is not faster
    touch("touchEnd")
