"""Pixels to files: PNG, JPEG or WebP, enlarged by whole multiples, with their provenance inside."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image
from PIL.ExifTags import Base
from PIL.PngImagePlugin import PngInfo

from flows.lineage.drawn_picture import PNG_KEY
from flows.serving.errors import ApiError

MIME = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
LARGEST_SIDE = 4096
# Of all images of an answer, such as 64 of 1024x1024. A PNG of 16 megapixels takes one core 0.2 to 1.7 s.
MAX_ANSWER_PIXELS = 2**26
MAX_JPEG_TEXT = 65_000  # a segment has at most 65,533 bytes, a few of them for EXIF itself


def multiple_of(size: str, image_size: list[int]) -> int:
    """Return the factor from `image_size` (height, width) to a size "WIDTHxHEIGHT"; 1 for "auto". Raises ApiError."""
    if size == "auto":
        return 1
    height, width = image_size
    wide, high = (int(side) for side in size.split("x"))
    factor = wide // width
    if not factor or (wide, high) != (width * factor, height * factor) or max(wide, high) > LARGEST_SIDE:
        message = (
            f"size: got {size}; the model draws {width}x{height}, and whole multiples up to {LARGEST_SIDE} pixels are "
            f"possible, such as {width * 4}x{height * 4}"
        )
        raise ApiError(422, message, param="size", code="invalid_size")
    return factor


def check_pixels(images: int, image_size: list[int], factor: int) -> None:
    """Raise ApiError if so many images of `image_size` (height, width), enlarged by `factor`, are too many pixels."""
    height, width = (side * factor for side in image_size)
    if images * height * width > MAX_ANSWER_PIXELS:
        message = (
            f"size: {images} images of {width}x{height} are {images * height * width / 1e6:.0f} megapixels; at most "
            f"{MAX_ANSWER_PIXELS / 1e6:.0f} in one answer; ask for fewer images or a smaller size"
        )
        raise ApiError(422, message, param="size", code="answer_too_large")


def check_provenance(form: str, provenance: Mapping[str, Any]) -> None:
    """Raise ApiError if a file of a form cannot hold the provenance: EXIF has one segment in a JPEG file."""
    size = len(json.dumps(provenance))
    if form == "jpeg" and size > MAX_JPEG_TEXT:
        message = (
            f"format: a JPEG file holds {MAX_JPEG_TEXT:,} bytes of provenance, and this request has {size:,}; use png "
            "or webp, or mix fewer classes"
        )
        raise ApiError(422, message, param="format", code="provenance_too_large")


def encoded(pixels: bytes, shape: Sequence[int], form: str, factor: int, provenance: Mapping[str, Any] | None) -> bytes:
    """Return one image (C, H, W) uint8 as a file. Enlarging repeats pixels, so nothing is invented."""
    image = _image(pixels, shape)
    if factor > 1:
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    out = io.BytesIO()
    text = None if provenance is None else json.dumps(provenance)
    if form == "png":
        info = PngInfo()
        if text is not None:
            info.add_text(PNG_KEY, text)
        image.save(out, "PNG", pnginfo=info)
        return out.getvalue()
    exif = Image.Exif()
    if text is not None:
        exif[Base.ImageDescription] = text
    if form == "jpeg":
        image.save(out, "JPEG", quality=95, exif=exif)
    else:
        image.save(out, "WEBP", lossless=True, exif=exif)
    return out.getvalue()


def _image(pixels: bytes, shape: Sequence[int]) -> Image.Image:
    channels, height, width = shape
    size, plane = (width, height), height * width
    planes = [Image.frombytes("L", size, pixels[index * plane : (index + 1) * plane]) for index in range(channels)]
    return planes[0] if channels == 1 else Image.merge("RGB", planes)
