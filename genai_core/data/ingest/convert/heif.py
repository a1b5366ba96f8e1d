"""HEIC and HEIF photographs of phones; needs the extra `heif`."""

from collections.abc import Iterator
from pathlib import Path

from genai_core.data.ingest.convert.frame import Frame, NotConvertedError, check_size, pixels_of
from genai_core.data.ingest.extras import import_extra

HEIF_EXTENSIONS = (".heic", ".heif", ".hif")


def heif_frames(path: Path) -> Iterator[Frame]:
    """Yield the main picture of a file, upright, 8 bits per channel. Raises NotConvertedError."""
    pillow_heif = import_extra("pillow_heif", "heif", "HEIC and HEIF files")
    try:
        found = pillow_heif.open_heif(path, convert_hdr_to_8bit=True)
        check_size(*found.size)
        # libheif applies the rotation that the file states, and to_pillow() drops the one in its EXIF data.
        image = found.to_pillow()
    except NotConvertedError:
        raise
    except (ValueError, OSError, RuntimeError, EOFError, SyntaxError, MemoryError) as error:
        raise NotConvertedError("corrupt", f"not a readable HEIC file ({error})") from None
    yield Frame(None, pixels_of(image))
