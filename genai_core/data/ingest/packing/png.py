"""PNG encoding of pixels."""

from io import BytesIO

from PIL import Image

from genai_core.data.dataset.facts import Pixels

_LEVEL = 1  # lossless at any level; higher levels take many times longer and save a few percent


def encode_png(pixels: Pixels) -> bytes:
    """Encode uint8 pixels (H, W) or (H, W, C), C of 1, 3 or 4, as PNG; equal pixels give equal bytes."""
    grey = pixels.ndim == 3 and pixels.shape[2] == 1
    buffer = BytesIO()
    Image.fromarray(pixels[..., 0] if grey else pixels).save(buffer, "PNG", compress_level=_LEVEL)
    return buffer.getvalue()
