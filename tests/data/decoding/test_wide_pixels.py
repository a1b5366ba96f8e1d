"""TIFF files of 32 bits per pixel, as scientific programs write them."""

import numpy as np
import pytest
from PIL import Image

from genai_core.data.decoding.image import Decoded, Rejection, decode_file
from tests.data.image_files import pixels, rule, saved

STEPS = np.linspace(0, 1, 64).reshape(8, 8)


@pytest.mark.parametrize(
    ("kind", "white"), [(np.float32, 1), (np.float32, 255), (np.float32, 65535), (np.int32, 65535)]
)
def test_the_range_of_the_values_says_what_is_white(kind, white, tmp_path):
    values = (STEPS * white).astype(kind)
    result = decode_file(saved(Image.fromarray(values), tmp_path / "1.tif"), rule())
    assert isinstance(result, Decoded)
    assert np.abs(pixels(result)[0] - STEPS * 255).max() <= 0.51
    assert result.flags == ("white_by_range",)


def test_integers_of_eight_bits_stay_as_they_are(tmp_path):
    values = np.arange(64, dtype=np.int32).reshape(8, 8)
    result = decode_file(saved(Image.fromarray(values), tmp_path / "1.tif"), rule())
    assert (pixels(result)[0] == values).all()


@pytest.mark.parametrize("value", [-0.5, np.nan, np.inf, 70_000.0])
def test_other_values_are_rejected(value, tmp_path):
    values = STEPS.astype(np.float32)
    values[0, 0] = value
    result = decode_file(saved(Image.fromarray(values), tmp_path / "1.tif"), rule())
    assert isinstance(result, Rejection)
    assert result.reason == "unsupported_pixels"
    assert "0 to 65535" in result.detail
