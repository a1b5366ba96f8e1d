"""A picture that a server drew, and what the file itself says of how."""

import io
import json
import re
from typing import Any

PNG_KEY = "genai"  # of the text chunk
_FORMATS = ("PNG", "JPEG", "WEBP")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def provenance_in(content: bytes) -> dict[str, Any] | None:
    """Return the provenance inside a file that the page or the API made (flows/serving/pictures.py), or None.

    Anybody can write such a text into a file, so it is a statement, not a proof. `model_sha256` has the form of a hash;
    nothing else is checked.
    """
    from PIL import Image, UnidentifiedImageError
    from PIL.ExifTags import Base

    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            text = image.info.get(PNG_KEY) if image.format == "PNG" else image.getexif().get(Base.ImageDescription)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        return None
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None
    is_ours = isinstance(found, dict) and _SHA256.fullmatch(str(found.get("model_sha256")))
    return found if is_ours else None
