"""Files with their provenance inside."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import Base

from flows.serving.errors import ApiError
from flows.serving.pictures import MAX_JPEG_TEXT, check_pixels, check_provenance, encoded, multiple_of


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_provenance_is_inside_each_format(form: str, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (channels, 8, 6), np.uint8)
    origin = {"seed": 3, "class": "ü"}
    image = Image.open(io.BytesIO(encoded(pixels.tobytes(), pixels.shape, form, 2, origin)))
    assert image.size == (12, 16)
    found = image.info["genai"] if form == "png" else image.getexif()[Base.ImageDescription]
    assert json.loads(found) == origin
    if form != "jpeg":
        expected = np.kron(pixels, np.ones((1, 2, 2), np.uint8)).transpose(1, 2, 0)
        assert np.array_equal(np.asarray(image.convert("RGB"))[..., :channels], expected)


def test_sizes_are_whole_multiples_of_both_sides() -> None:
    assert multiple_of("auto", [8, 6]) == 1
    assert multiple_of("18x24", [8, 6]) == 3
    for size in ("24x18", "17x24", "0x0", "3x4", "60000x80000"):
        with pytest.raises(ApiError, match="the model draws 6x8, and whole multiples up to 4096 pixels"):
            multiple_of(size, [8, 6])


def test_a_jpeg_file_holds_a_limited_provenance() -> None:
    overhead = len(json.dumps({"mix": ""}))
    largest = {"mix": "x" * (MAX_JPEG_TEXT - overhead)}
    check_provenance("jpeg", largest)
    assert encoded(bytes(64), [1, 8, 8], "jpeg", 1, largest)
    larger = {"mix": "x" * 70_000}
    with pytest.raises(ApiError, match="format: a JPEG file holds 65,000 bytes of provenance"):
        check_provenance("jpeg", larger)
    for form in ("png", "webp"):
        check_provenance(form, larger)
        assert encoded(bytes(64), [1, 8, 8], form, 1, larger)


def test_all_images_of_an_answer_have_a_limit_together() -> None:
    check_pixels(64, [1024, 1024], 1)
    check_pixels(4, [8, 8], 512)
    with pytest.raises(ApiError, match="size: 64 images of 3072x4096 are 805 megapixels; at most 67 in one answer"):
        check_pixels(64, [8, 6], 512)
