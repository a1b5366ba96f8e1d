"""Pictures in requests: refused by their first bytes if they are none, or too large to be decoded."""

import base64
import binascii
import io

from PIL import Image, UnidentifiedImageError

from flows.serving.errors import ApiError

MAX_MEGAPIXELS = 16
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
_ISO_MEDIA = b"ftyp"  # bytes 4 to 7 of HEIC and AVIF, which phones write
_WHITE = 128


def uploaded(text: str, param: str = "image") -> bytes:
    """Return the file in a base64 text, with or without "data:image/png;base64," before it.

    Reads the header only: the process that holds models decodes it. Raises ApiError 422 if it is no base64, 415 if it
    is no image of a known format, 413 if it has too many pixels.
    """
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(422, f"{param}: not base64", param=param, code="invalid_base64") from None
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        raise _too_large(param, "too many") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        found = "a HEIC or AVIF file, which is not read" if content[4:8] == _ISO_MEDIA else "not an image"
        message = f"{param}: {found}; expected one of {', '.join(_FORMATS)}"
        raise ApiError(415, message, param=param, code="unsupported_image") from None
    if width * height > MAX_MEGAPIXELS * 1e6:
        raise _too_large(param, f"{width}x{height}")
    return content


def _too_large(param: str, size: str) -> ApiError:
    message = f"{param}: got {size} pixels; at most {MAX_MEGAPIXELS} megapixels"
    return ApiError(413, message, param=param, code="image_too_large")


def mask_of(text: str, image_size: list[int], param: str = "mask") -> bytes:
    """Return a mask (H, W) as bytes, 1 where lighter than mid-grey, from a file of that size (height, width).

    Raises ApiError as `uploaded` does, and 422 for another size.
    """
    content = uploaded(text, param)
    height, width = image_size
    with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
        if image.size != (width, height):
            found = f"{image.width}x{image.height}"
            message = f"{param}: got {found} pixels; the model's images have {width}x{height}, and so must the mask"
            raise ApiError(422, message, param=param, code="invalid_size")
        try:
            levels = image.convert("L").tobytes()
        except (OSError, ValueError, SyntaxError):
            message = f"{param}: the file is damaged"
            raise ApiError(415, message, param=param, code="unsupported_image") from None
    return bytes(level >= _WHITE for level in levels)
