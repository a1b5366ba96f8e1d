import numpy as np
import pytest
from PIL import ImageFont

from genai_core.reporting.captioned import captioned_sheet, wrapped
from genai_core.reporting.grids import caption_font, png_bytes

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 3, 12, 20), dtype=np.uint8)


def test_each_image_is_drawn_beside_its_caption():
    plain = captioned_sheet(IMAGES, ["", "", ""])
    sheet = captioned_sheet(IMAGES, ["a cat", "", "a long caption of many words, which does not fit into a line " * 9])
    assert sheet.size == plain.size
    changed = np.argwhere((np.asarray(sheet) != np.asarray(plain)).any(axis=2))
    (top, left), (bottom, right) = changed.min(axis=0), changed.max(axis=0)
    half = sheet.width // 2
    assert 0 < top < bottom < sheet.height
    assert 80 < left < right < half
    assert png_bytes(captioned_sheet(IMAGES, ["a", "b", "c"])) == png_bytes(captioned_sheet(IMAGES, ["a", "b", "c"]))
    with pytest.raises(ValueError, match="one caption per image, got 1 captions for 3 images"):
        captioned_sheet(IMAGES, ["a cat"])


@pytest.mark.parametrize("text", ["one two three four five", "x" * 90, "\u3042" * 40, "a " + "y" * 60 + " b"])
def test_lines_fit_and_nothing_is_lost(text):
    font = caption_font([text])
    assert isinstance(font, ImageFont.FreeTypeFont)
    lines = wrapped(text, font, 100, 50)
    assert all(font.getlength(line) <= 100 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    (cut,) = wrapped(text, font, 100, 1)
    assert cut.endswith("…")
    assert font.getlength(cut) <= 100
    assert wrapped("short", font, 100, 1) == ["short"]
