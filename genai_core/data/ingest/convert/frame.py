"""Common form of what a converter makes: pixels, and what is wrong with a file."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from genai_core.data.dataset.facts import Pixels
from genai_core.data.raw.formats import Reason

MAX_PIXELS = 178_956_970  # per frame, Pillow's own limit: an array of RGBA of 700 MB


@dataclass(frozen=True)
class Frame:
    """One image of a file. number: of the frame, None if the file has only one. pixels: uint8 (H, W) or (H, W, C)."""

    number: int | None
    pixels: Pixels

    def name(self, path: str) -> str:
        """Return the image's name: a/clip-000012.png for frame 12 of a/clip.mp4, a/photo.png for a/photo.heic."""
        stem = path.rpartition(".")[0] or path
        return f"{stem}.png" if self.number is None else f"{stem}-{self.number:06d}.png"


class NotConvertedError(ValueError):
    """A file that cannot be converted, and why."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason


def check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise NotConvertedError("too_large", f"{width} x {height} pixels; the limit is {MAX_PIXELS:,} in total")


def pixels_of(image: Image.Image) -> Pixels:
    """Return the pixels of an image as they are if PNG can hold them so, else in RGB or RGBA."""
    if image.mode not in ("L", "RGB", "RGBA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return np.asarray(image)
