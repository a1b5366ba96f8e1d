"""Pictures in requests: what is refused before it is decoded."""

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from flows.serving.errors import ApiError
from flows.serving.uploads import mask_of, uploaded
from tests.flows.serving.served import Server


def file(image: Image.Image, form: str = "PNG") -> bytes:
    out = io.BytesIO()
    image.save(out, form)
    return out.getvalue()


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def png_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


SMALL = file(Image.new("L", (8, 8), 200))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_files_with_and_without_a_data_address(form: str) -> None:
    content = file(Image.new("RGB", (8, 8)), form)
    assert uploaded(text(content)) == content
    assert uploaded(f"data:image/{form.lower()};base64,{text(content)}") == content


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 415),
        (b"Hello", 415),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        (b"%PDF-1.7 " + SMALL, 415),  # two formats in one file: what is not an image from its first byte is none
        (b"PK\x03\x04" + SMALL, 415),
        (png_header(10_000, 10_000), 413),  # 100 megapixels
        (png_header(2**31 - 1, 2**31 - 1), 413),
        (png_header(0, 5), 415),
        (file(Image.new("L", (8, 8)), "TIFF"), 415),
    ],
)
def test_what_is_no_picture_or_too_large(content: bytes, status: int) -> None:
    with pytest.raises(ApiError) as error:
        uploaded(text(content))
    assert error.value.status == status


@pytest.mark.parametrize("given", ["not base64!", "data:image/png;base64,???", "é"])
def test_what_is_no_base64(given: str) -> None:
    with pytest.raises(ApiError, match="not base64"):
        uploaded(given)


def test_a_mask_is_white_where_to_draw() -> None:
    pixels = np.zeros((8, 8), np.uint8)
    pixels[2:4, 1] = 255
    mask = np.frombuffer(mask_of(text(file(Image.fromarray(pixels))), [8, 8]), np.uint8).reshape(8, 8)
    assert np.array_equal(mask, pixels // 255)


def test_a_mask_of_another_size_or_damaged() -> None:
    with pytest.raises(ApiError, match=r"mask: got 8x8 pixels; the model's images have 16x4, and so must the mask"):
        mask_of(text(SMALL), [4, 16])
    with pytest.raises(ApiError, match="mask: the file is damaged"):
        mask_of(text(SMALL[:45]), [8, 8])


def test_over_http(server: Server) -> None:
    answer = server.draw(model="diffusion", start=text(png_header(10_000, 10_000)))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "image_too_large")


def test_a_photograph_in_a_phones_own_form_is_named() -> None:
    with pytest.raises(ApiError, match="image: a HEIC or AVIF file, which is not read; expected one of PNG") as found:
        uploaded(text(b"\0\0\0\x18ftypheic" + bytes(64)))
    assert found.value.status == 415
