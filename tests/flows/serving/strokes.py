"""Strokes over the picture of the tab "Draw on it", with a mouse."""

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
