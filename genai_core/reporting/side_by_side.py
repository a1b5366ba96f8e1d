"""Put pictures next to each other under their titles: images of two models from the same seeds."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from genai_core.reporting.grids import BACKGROUND, CAPTION_MARGIN_PX, CAPTION_PX, INK, caption_font

GAP_PX = 24


def side_by_side(pictures: Sequence[Image.Image], titles: Sequence[str]) -> Image.Image:
    """Join pictures from left to right, each below its title. Raises ValueError unless each has a title."""
    if not pictures or len(pictures) != len(titles):
        raise ValueError(f"expected one title per picture, got {len(pictures)} pictures and {len(titles)} titles")
    top = CAPTION_PX + 2 * CAPTION_MARGIN_PX
    width = sum(picture.width for picture in pictures) + GAP_PX * (len(pictures) - 1)
    whole = Image.new("RGB", (width, top + max(picture.height for picture in pictures)), BACKGROUND)
    draw, font, left = ImageDraw.Draw(whole), caption_font(titles), 0
    for picture, title in zip(pictures, titles, strict=True):
        draw.text((left + picture.width / 2, top / 2), title, INK, font, anchor="mm")
        whole.paste(picture.convert("RGB"), (left, top))
        left += picture.width + GAP_PX
    return whole
