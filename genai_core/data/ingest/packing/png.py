"""Pixels as PNG files."""

from io import BytesIO

from PIL import Image

from genai_core.data.dataset.facts import Pixels

_LEVEL = 1  # lossless at any level; higher ones take many times as long and save a few per cent


def encode_png(pixels: Pixels) -> bytes:
    """A PNG file of uint8 pixels, (H, W) or (H, W, C) with C of 1, 3 or 4; equal pixels give equal bytes."""
    grey = pixels.ndim == 3 and pixels.shape[2] == 1
    buffer = BytesIO()
    Image.fromarray(pixels[..., 0] if grey else pixels).save(buffer, "PNG", compress_level=_LEVEL)
    return buffer.getvalue()
