"""Damaged images and other files: each is rejected with its reason, and none ends the process."""

import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from genai_core.data.decoding.image import Rejection, decode_file
from tests.data.image_files import JPEG, PNG, encoded, flipped_bits, png_chunk, png_with_header, rule

BAD_FILES = {
    "empty_file": {"nothing.png": b""},
    "not_an_image": {
        "page.jpg": b"<!DOCTYPE html><html><body>404</body></html>",
        "drawing.png": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        "._mac.jpg": b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(64),
        "script.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        "photoshop.png": b"8BPS\x00\x01" + bytes(60),
        "zeros.png": bytes(500),
    },
    "corrupt": {
        "half.png": PNG[: len(PNG) // 2],
        "half.jpg": JPEG[: len(JPEG) // 2],
        "tail.jpg": JPEG[:-40],
        "header_only.png": PNG[:20],
        "zero_width.png": png_with_header(0, 9),
        "lying_size.png": png_with_header(64, 64),
        "riff.webp": b"RIFF\x10\x00\x00\x00WEBPVP8 ",
        "gif.gif": b"GIF89a",
        "text_bomb.png": PNG[:33] + png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 27))) + PNG[33:],
    },
    "too_large": {
        "bomb.png": png_with_header(65_000, 65_000),
        "warned_of.png": png_with_header(13_000, 13_000),  # Pillow itself only warns of 169 megapixels
        "large.png": encoded(Image.new("L", (1001, 1000))),
    },
    "too_small": {"dot.png": encoded(Image.new("L", (1, 1))), "thread.png": encoded(Image.new("L", (1, 5000)))},
    "too_narrow": {"line.png": encoded(Image.new("L", (4, 5000)))},
    "unsupported_pixels": {
        "float.tif": encoded(Image.fromarray(np.full((9, 9), np.nan, dtype=np.float32)), "TIFF"),
        "int.tif": encoded(Image.fromarray(np.full((9, 9), 1 << 20, dtype=np.int32)), "TIFF"),
    },
}


@pytest.mark.parametrize(("reason", "name"), [(reason, name) for reason, files in BAD_FILES.items() for name in files])
def test_bad_file_is_rejected_with_its_reason(reason, name, tmp_path):
    path = tmp_path / name
    path.write_bytes(BAD_FILES[reason][name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's on bombs; a worker is silent too
        result = decode_file(path, rule())
    assert isinstance(result, Rejection)
    assert result.reason == reason
    assert result.detail
    assert "\n" not in result.detail
    assert str(tmp_path) not in result.detail
    assert " at 0x" not in result.detail


def test_flipped_bits_are_rejected_or_decoded_but_never_raise(tmp_path):
    path = tmp_path / "flipped.png"
    reasons = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(200):
            path.write_bytes(flipped_bits(PNG if seed % 2 else JPEG, seed))
            result = decode_file(path, rule())
            reasons.add(result.reason if isinstance(result, Rejection) else "decoded")
    assert "corrupt" in reasons
    assert reasons <= {
        "decoded",
        "corrupt",
        "not_an_image",
        "too_large",
        "too_small",
        "too_narrow",
        "unsupported_pixels",
    }


def test_missing_file_and_folder_are_unreadable(tmp_path):
    for path in (tmp_path / "missing.png", tmp_path):
        result = decode_file(path, rule())
        assert isinstance(result, Rejection)
        assert result.reason == "unreadable"
