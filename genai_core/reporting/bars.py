"""Bar charts for dataset cards, whose PNG bytes depend only on the values."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from genai_core.reporting.grids import BACKGROUND, CAPTION_PX, INK, caption_font

COLOURS = ((58, 108, 176), (233, 146, 60))
PALE = (150, 150, 154)
BAR_PX, GAP_PX, NAME_PX, LENGTH_PX, MARGIN_PX = 16, 6, 150, 420, 14
NAME_LETTERS = 20
# More rows would be unreadable; the others are added up in one row.
MAX_ROWS = 30


@dataclass(frozen=True)
class Bar:
    """One row: its name and the lengths of its segments."""

    name: str
    values: tuple[int, ...]


def bar_chart(title: str, bars: Sequence[Bar], parts: Sequence[str]) -> Image.Image:
    """Draw horizontal stacked bars, one colour for each of `parts`, followed by their sum."""
    if len(bars) > MAX_ROWS:
        rest = bars[MAX_ROWS - 1 :]
        sums = tuple(sum(bar.values[part] for bar in rest) for part in range(len(parts)))
        bars = [*bars[: MAX_ROWS - 1], Bar(f"{len(rest):,} others", sums)]
    font = caption_font([title, *parts, *(bar.name for bar in bars)])
    top = MARGIN_PX + 2 * CAPTION_PX + GAP_PX
    height = top + len(bars) * (BAR_PX + GAP_PX) + MARGIN_PX
    chart = Image.new("RGB", (NAME_PX + LENGTH_PX + 110, height), BACKGROUND)
    draw = ImageDraw.Draw(chart)
    draw.text((MARGIN_PX, MARGIN_PX), title, INK, font)
    right = float(chart.width - MARGIN_PX)
    for part, colour in reversed(list(zip(parts, COLOURS, strict=False))) if len(parts) > 1 else ():
        right -= font.getlength(part)
        draw.text((right, MARGIN_PX), part, INK, font)
        right -= CAPTION_PX + 4
        draw.rectangle((right, MARGIN_PX + 3, right + CAPTION_PX - 3, MARGIN_PX + CAPTION_PX), colour)
        right -= MARGIN_PX
    longest = max([sum(bar.values) for bar in bars] + [1])
    for row, bar in enumerate(bars):
        at = top + row * (BAR_PX + GAP_PX)
        name = bar.name if len(bar.name) <= NAME_LETTERS else bar.name[: NAME_LETTERS - 1] + "…"
        draw.text((NAME_PX - 8 - font.getlength(name), at), name, INK, font)
        begin = 0
        for value, colour in zip(bar.values, COLOURS, strict=False):
            left, end = (NAME_PX + round(LENGTH_PX * place / longest) for place in (begin, begin + value))
            if value:
                draw.rectangle((left, at, max(left, end - 1), at + BAR_PX - 1), colour)
            begin += value
        end = NAME_PX + round(LENGTH_PX * begin / longest)
        draw.text((end + 8, at), f"{begin:,}", PALE, font)
    return chart
