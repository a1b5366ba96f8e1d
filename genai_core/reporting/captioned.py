"""A sheet of images, each with its caption beside it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from genai_core.reporting.grids import BACKGROUND, CAPTION_MARGIN_PX, CAPTION_PX, INK, caption_font, image_grid

COLUMNS = 2
TEXT_PX = 260
LINE_PX = CAPTION_PX + 3


def captioned_sheet(images: npt.NDArray[np.uint8], captions: Sequence[str], cell_px: int = 64) -> Image.Image:
    """Draw images (N, C, H, W) uint8 in two columns, each with its caption to the right, cut to the cell's height.

    Raises ValueError as image_grid does, and unless each image has a caption.
    """
    if len(images) != len(captions):
        raise ValueError(f"expected one caption per image, got {len(captions)} captions for {len(images)} images")
    cells = [image_grid(image[None], 1, cell_px) for image in images]
    font = caption_font(captions)
    width, height = cells[0].size
    step_x, step_y = width + TEXT_PX + 2 * CAPTION_MARGIN_PX, max(height, LINE_PX) + CAPTION_MARGIN_PX
    rows = -(-len(cells) // COLUMNS)
    sheet = Image.new("RGB", (min(COLUMNS, len(cells)) * step_x, rows * step_y - CAPTION_MARGIN_PX), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for number, (cell, caption) in enumerate(zip(cells, captions, strict=True)):
        row, column = divmod(number, COLUMNS)
        x, y = column * step_x, row * step_y
        sheet.paste(cell.convert("RGB"), (x, y))
        text = "\n".join(wrapped(caption, font, TEXT_PX, max(1, height // LINE_PX)))
        place = (x + width + CAPTION_MARGIN_PX, y + height / 2)
        draw.text(place, text, fill=INK, font=font, anchor="lm", spacing=LINE_PX - CAPTION_PX)
    return sheet


def wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int, most_lines: int) -> list[str]:
    """Break a text into at most `most_lines` lines of at most `width_px`; "…" ends a text that is cut."""
    lines = [""]
    for word in text.split():
        rest = word
        while rest:
            start = f"{lines[-1]} " if lines[-1] else ""
            if font.getlength(start + rest) <= width_px:
                lines[-1] = start + rest
                break
            if lines[-1]:
                lines.append("")
                continue
            # A word that is wider than a line, or a script without spaces.
            end = next(n for n in range(len(rest), 0, -1) if n == 1 or font.getlength(rest[:n]) <= width_px)
            lines[-1], rest = rest[:end], rest[end:]
            lines += [""] if rest else []
        if len(lines) > most_lines:
            break
    if len(lines) <= most_lines:
        return lines
    last = lines[most_lines - 1] + "…"
    while len(last) > 1 and font.getlength(last) > width_px:
        last = last[:-2] + "…"
    return [*lines[: most_lines - 1], last]
