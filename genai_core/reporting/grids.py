"""Grids of images with captions, whose PNG bytes depend only on the images."""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

BACKGROUND = (255, 255, 255)
INK = (72, 72, 76)
CAPTION_PX = 13
CAPTION_MARGIN_PX = 6
MAX_COLUMNS, MAX_ROWS = 10, 20
# A longer name would push the images off the page, so it is truncated.
CAPTION_LETTERS = 18


def image_grid(
    images: npt.NDArray[np.uint8],
    columns: int,
    cell_px: int = 64,
    gap_px: int = 2,
    row_captions: Sequence[str] = (),
    column_captions: Sequence[str] = (),
    clear_gaps: bool = False,
) -> Image.Image:
    """Arrange images (N, C, H, W) uint8, C 1 or 3, row by row in `columns` columns; the last row may be short.

    Small images are enlarged by integer factors to at least `cell_px`, so that pixels stay square; larger ones are
    reduced to it. The grid is grey ("L") if the images are. With `clear_gaps` the gaps between the images are
    transparent. Raises ValueError for another shape or type.
    """
    _check(images, columns)
    cells = [_cell(image, cell_px) for image in images]
    width, height = cells[0].size
    rows = -(-len(cells) // columns)
    grey = images.shape[1] == 1
    font = caption_font([*row_captions, *column_captions])
    captions = [_shortened(text) for text in row_captions]
    left = _captions_width(captions, font)
    top = CAPTION_PX + 2 * CAPTION_MARGIN_PX if column_captions else 0
    size = (left + columns * (width + gap_px) - gap_px, top + rows * (height + gap_px) - gap_px)
    grid = Image.new("L" if grey else "RGB", size, 255 if grey else BACKGROUND)
    for index, cell in enumerate(cells):
        row, column = divmod(index, columns)
        grid.paste(cell, (left + column * (width + gap_px), top + row * (height + gap_px)))

    draw = ImageDraw.Draw(grid)
    ink = INK[0] if grey else INK
    for row, text in enumerate(captions[:rows]):
        middle = top + row * (height + gap_px) + height / 2
        draw.text((left - CAPTION_MARGIN_PX, middle), text, fill=ink, font=font, anchor="rm")
    for column, text in enumerate(column_captions[:columns]):
        middle = left + column * (width + gap_px) + width / 2
        draw.text((middle, top / 2), _fitted(text, width, font), fill=ink, font=font, anchor="mm")
    if clear_gaps:
        grid.putalpha(_opaque(grid.size, cells, columns, gap_px, left, top))
    return grid


@dataclass(frozen=True)
class GridChoice:
    """Images of a grid: `index` into them, row by row, -1 for an empty cell; one caption per row."""

    index: npt.NDArray[np.int64]
    columns: int
    row_captions: tuple[str, ...]


def choose_by_class(
    labels: npt.NDArray[np.int64] | None, total: int, classes: Sequence[str], max_images: int = 100
) -> GridChoice:
    """Choose one row per class with its first images; without labels (None), full rows of the first images.

    labels: (total,) indices into `classes`. At most MAX_COLUMNS columns and the first MAX_ROWS classes.
    """
    if labels is None or not classes:
        count = min(total, max_images)
        columns = min(MAX_COLUMNS, count)
        return GridChoice(np.arange(count - count % columns), columns, ())
    shown = [label for label in range(len(classes)) if (labels == label).any()][: min(MAX_ROWS, max_images)]
    most = max(int((labels == label).sum()) for label in shown)
    columns = min(MAX_COLUMNS, max_images // len(shown), most)  # no column that is empty in all rows
    index = np.full((len(shown), columns), -1)
    for row, label in enumerate(shown):
        found = np.flatnonzero(labels == label)[:columns]
        index[row, : len(found)] = found
    return GridChoice(index.ravel(), columns, tuple(classes[label] for label in shown))


def class_grid(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64] | None,
    classes: Sequence[str],
    max_images: int = 100,
    cell_px: int = 64,
) -> Image.Image:
    """Draw the grid of choose_by_class, with the class names.

    images: (N, C, H, W) uint8, labels: (N,) indices into `classes`, or None. Raises ValueError as image_grid does.
    """
    choice = choose_by_class(labels, len(images), classes, max_images)
    return image_grid(take(images, choice), choice.columns, cell_px, row_captions=choice.row_captions)


def take(images: npt.NDArray[np.uint8], choice: GridChoice) -> npt.NDArray[np.uint8]:
    """Return the chosen images (N, C, H, W), white for empty cells."""
    chosen = images[choice.index]
    chosen[choice.index < 0] = 255
    return chosen


def png_bytes(picture: Image.Image) -> bytes:
    """Encode the picture as PNG: equal pixels give equal bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def save_png(path: Path, picture: Image.Image) -> None:
    """Write the picture as PNG atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(png_bytes(picture))
    os.replace(new, path)


def _opaque(
    size: tuple[int, int], cells: Sequence[Image.Image], columns: int, gap_px: int, left: int, top: int
) -> Image.Image:
    """Return the alpha channel: 255 on images and captions, 0 between the images."""
    width, height = cells[0].size
    alpha = Image.new("L", size, 255)
    alpha.paste(0, (left, top, *size))
    for index in range(len(cells)):
        row, column = divmod(index, columns)
        x, y = left + column * (width + gap_px), top + row * (height + gap_px)
        alpha.paste(255, (x, y, x + width, y + height))
    return alpha


def _check(images: npt.NDArray[np.uint8], columns: int) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            f"a grid needs uint8 images (N, C, H, W) with C 1 or 3, got {images.dtype} of shape {images.shape}"
        )
    if len(images) == 0:
        raise ValueError("a grid needs at least one image, got none")
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")


def _cell(image: npt.NDArray[np.uint8], cell_px: int) -> Image.Image:
    picture = Image.fromarray(image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0))
    longest = max(picture.size)
    if longest > cell_px:
        scale = cell_px / longest
        return picture.resize([max(1, round(side * scale)) for side in picture.size], Image.Resampling.LANCZOS)
    factor = -(-cell_px // longest)
    return picture.resize([side * factor for side in picture.size], Image.Resampling.NEAREST)


def caption_font(texts: Sequence[str]) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return a font for the texts: Pillow's for ASCII; else matplotlib's, with Latin, Greek, Cyrillic and more."""
    if all(text.isascii() for text in texts):
        return ImageFont.load_default(size=CAPTION_PX)
    from matplotlib import get_data_path  # the import takes half a second, and most grids do not need it

    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size=CAPTION_PX)


def _captions_width(captions: Sequence[str], font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    if not captions:
        return 0
    return int(max(font.getlength(text) for text in captions)) + 2 * CAPTION_MARGIN_PX


def _shortened(text: str) -> str:
    return text if len(text) <= CAPTION_LETTERS else text[: CAPTION_LETTERS - 1] + "…"


def _fitted(text: str, width_px: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return the longest prefix of `text` that fits into a column."""
    fitted = text
    while len(fitted) > 1 and font.getlength(fitted) > width_px:
        fitted = fitted[:-2] + "…" if fitted.endswith("…") else fitted[:-1] + "…"
    return fitted
