"""Frames of animated GIF, WebP, PNG and AVIF files."""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from genai_core.data.decoding.image import without_pillows_limit
from genai_core.data.ingest.convert.frame import Frame, check_size, pixels_of
from genai_core.data.raw.formats import FORMATS

ANIMATION_EXTENSIONS = (".gif", ".webp", ".png", ".apng", ".avif")


def animation_frames(path: Path, every: int) -> Iterator[Frame]:
    """Yield each `every`-th frame as it is shown, from the first; nothing for a still or damaged image.

    Frames before a damaged one are kept. Raises NotConvertedError when they are too large.
    """
    try:
        with without_pillows_limit(), Image.open(path, formats=list(FORMATS)) as image:
            frames = getattr(image, "n_frames", 1)
            if frames < 2:
                return
            check_size(*image.size)
            for number in range(0, frames, every):
                image.seek(number)
                yield Frame(number, pixels_of(image))
    except (UnidentifiedImageError, OSError, EOFError, SyntaxError):
        return  # preparing the data says what is wrong with a damaged image
