"""A picture that a server drew, and what the file itself says of how."""

import io
import json
import re
from typing import Any

PNG_KEY = "genai"  # of the text chunk
_FORMATS = ("PNG", "JPEG", "WEBP")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DEEPEST = 8  # levels; a server writes four: {"walk": {"points": [{"seed": 1}]}}


def provenance_in(content: bytes) -> dict[str, Any] | None:
    """Return the provenance inside a file that the page or the API made (flows/serving/pictures.py), or None.

    Anybody can write such a text into a file, so it is a statement, not a proof. `model_sha256` has the form of a hash,
    and no value is nested deeper than 8 levels; nothing else is checked.
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
    except (ValueError, RecursionError):
        return None
    is_ours = isinstance(found, dict) and _SHA256.fullmatch(str(found.get("model_sha256"))) and _is_shallow(found)
    return found if is_ours else None


def _is_shallow(value: dict[str, Any]) -> bool:
    """Whether no value is nested too deep for those that print it, which call themselves for each level."""
    level: list[Any] = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return not any(isinstance(inner, (dict, list)) for inner in level)
