"""Decode one image file to uint8 pixels of a given size, or return why not. Runs in worker processes (worker.py).

Files are untrusted, so formats outside raw/formats.py are not tried: Pillow would pass an EPS file named .jpg to
Ghostscript. torchvision's decoders cannot be used: flipped bits in a PNG crash the whole process.
"""

import hashlib
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, NamedTuple

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from genai_core.data.decoding.wide_pixels import from_32_bits
from genai_core.data.raw.formats import FORMATS, Reason
from genai_core.image_size import ImageSize

_FORMAT_NAMES = list(FORMATS)
# Orientations that swap width and height.
_ON_THE_SIDE = (5, 6, 7, 8)
_PLAIN_WITHOUT_INFO = ("PNG", "BMP", "PPM")

# First bytes that tell a damaged image from a file that never was one.
_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")

_BITS_PER_SAMPLE, _PHOTOMETRIC_INTERPRETATION, _WHITE_IS_ZERO = 258, 262, 0  # tags of TIFF, and a value of the second

MIN_SIDE_PX = 4
# Large images are first reduced by powers of two, which is fast, then resized with the filter. The first step stops
# when the image is this many times larger than the result. A JPEG's own decoder reduces less accurately than the mean
# of 2 x 2 pixels, so it stops earlier. PSNR against the filter alone, on whole photographs of 400 pixels: 38 dB at
# 32 x 32 (40 without the means), 42 at 64 (44), 46 at 128, in half the time.
DECODING_GAP, REDUCING_GAP = 3, 1.5
MAX_SIDE_RATIO = 20  # a strip of 1 x 5000 pixels shows nothing once it is nearly a square

# Named tuples, not dataclasses: importing dataclasses takes as long as the rest of the standard library used here.


class DecodeRule(NamedTuple):
    """How files become pixels: the decoding part of the `data` section of params.yaml."""

    image_size: ImageSize
    channels: int
    fit: str  # "crop", "pad" or "stretch"
    background: tuple[int, int, int]
    max_megapixels: float


class Decoded(NamedTuple):
    """pixels: (C, H, W) uint8 in C order; width and height: of the upright file."""

    pixels: bytes
    sha256: bytes
    width: int
    height: int
    flags: tuple[str, ...] = ()


class Rejection(NamedTuple):
    """Why a file cannot be decoded."""

    reason: Reason
    detail: str


class _RejectedError(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.rejection = Rejection(reason, detail)


@contextmanager
def without_pillows_limit() -> Iterator[None]:
    """Let Pillow open images of any size, for a caller that checks the size itself before decoding."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def decode_file(path: str, rule: DecodeRule, content: bytes | None = None) -> Decoded | Rejection:
    """Decode the first frame: upright, on the background colour, fitted to the size, resized with antialias.

    content: the file's bytes if already read. Never raises because of the file's content.
    """
    try:
        with open(path, "rb") if content is None else io.BytesIO(content) as file:  # noqa: PTH123 - faster than Path.open
            try:
                return _decode(file, os.path.splitext(path)[1].lower(), rule)  # noqa: PTH122
            except UnidentifiedImageError:
                return _unidentified(file)
    except _RejectedError as error:
        return error.rejection
    except Image.DecompressionBombError:
        # Pillow's own limit. Callers disable it, because max_megapixels is the limit.
        return Rejection("too_large", "more pixels than Pillow opens")
    except OSError as error:
        # An error with errno comes from the operating system, one without from a decoder.
        return Rejection("corrupt" if error.errno is None else "unreadable", _one_line(error))
    except Exception as error:  # whatever Pillow raises on hostile bytes: SyntaxError, struct.error, MemoryError ...
        return Rejection("corrupt", _one_line(error))


def _unidentified(file: IO[bytes]) -> Rejection:
    file.seek(0)
    head = file.read(16)
    if not head:
        return Rejection("empty_file", "0 bytes")
    if head.startswith((b"II*\0", b"MM\0*")):
        return Rejection(
            "corrupt", "the header is damaged, or a TIFF of pixels that are not read, such as float colours"
        )
    if head.startswith(_SIGNATURES):
        return Rejection("corrupt", "the header is damaged")
    return Rejection("not_an_image", f"none of {', '.join(FORMATS)}")


def _decode(file: IO[bytes], extension: str, rule: DecodeRule) -> Decoded:
    with Image.open(file, formats=_FORMAT_NAMES) as image:
        _check_size(image.size, rule.max_megapixels)
        flags = _flags(image, extension)
        width, height = image.size
        # A JPEG decoder can reduce by 2, 4 or 8 while it decodes; it still reads the whole file.
        # By the longer side, because an orientation may swap the two.
        image.draft(None, (DECODING_GAP * max(rule.image_size),) * 2)
        # load() decodes everything; verify() accepts half a JPEG.
        image.load()
        # Most PNG files carry only pixels. Searching them for an orientation costs as much as decoding.
        if image.info or image.format not in _PLAIN_WITHOUT_INFO:
            # Damaged EXIF data is no reason to reject the image.
            with suppress(Exception):
                if image.getexif().get(ExifTags.Base.Orientation) in _ON_THE_SIDE:
                    width, height = height, width
                ImageOps.exif_transpose(image, in_place=True)
        fitted = _fitted(_opaque(image, rule), rule)
    pixels = fitted.tobytes() if rule.channels == 1 else b"".join(fitted.tobytes("raw", band) for band in "RGB")
    return Decoded(pixels, hashlib.sha256(pixels).digest(), width, height, flags)


def _check_size(size: tuple[int, int], max_megapixels: float) -> None:
    short, long = sorted(size)
    actual = f"{size[0]} x {size[1]} pixels"
    if short * long > max_megapixels * 1e6:
        raise _RejectedError("too_large", f"{actual}; data.max_megapixels is {max_megapixels:g}")
    if short < MIN_SIDE_PX:
        raise _RejectedError("too_small", f"{actual}; each side needs at least {MIN_SIDE_PX}")
    if long > MAX_SIDE_RATIO * short:
        raise _RejectedError("too_narrow", f"{actual}; the aspect ratio may be at most {MAX_SIDE_RATIO} to 1")


def _flags(image: Image.Image, extension: str) -> tuple[str, ...]:
    flags = []
    # MPO: a JPEG followed by more pictures, written by some cameras and phones.
    form = "JPEG" if image.format == "MPO" else image.format
    if extension not in FORMATS[form or ""]:
        flags.append("wrong_extension")
    if image.format != "MPO" and getattr(image, "is_animated", False):
        flags.append("first_frame")
    if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
        flags.append("white_by_range")
    return tuple(flags)


def _opaque(image: Image.Image, rule: DecodeRule) -> Image.Image:
    """Return the image in mode L or RGB, with transparent parts showing the background."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        image = _from_16_bit_grey(image)
    elif image.mode in ("I", "F"):
        grey = from_32_bits(image)
        if grey is None:
            raise _RejectedError(
                "unsupported_pixels", f"mode {image.mode}: 32-bit values outside 0 to 1, 0 to 255 and 0 to 65535"
            )
        image = grey
    elif image.mode == "CMYK":
        image = _from_cmyk(image)
    if image.has_transparency_data:
        clear = image.info.get("transparency")
        if image.mode == "RGB" and isinstance(clear, tuple) and max(clear) > 255:
            # The transparent colour has 16 bits per channel; Pillow keeps the upper 8 bits of the pixels.
            image.info["transparency"] = tuple(value >> 8 for value in clear)
        image = image.convert("RGBA")
        canvas = Image.new("RGBA", image.size, (*rule.background, 255))
        image = Image.alpha_composite(canvas, image).convert("RGB")
    mode = "L" if rule.channels == 1 else "RGB"
    try:
        return image if image.mode == mode else image.convert(mode)
    except ValueError:
        raise _RejectedError("unsupported_pixels", f"mode {image.mode}") from None


def _from_16_bit_grey(image: Image.Image) -> Image.Image:
    clear = image.info.pop("transparency", None)
    wide = image.convert("I")
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    # Pillow leaves the values of 12 bits as they are.
    white = 4095 if tags.get(_BITS_PER_SAMPLE) == (12,) else 65535
    # convert("L") would clip at 255 instead of scaling. The 0.5 rounds, because point() truncates.
    grey = wide.point(lambda value: value * (255 / white) + 0.5).convert("L")
    if tags.get(_PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO:
        # Pillow inverts these pixels itself if they have 8 bits or fewer.
        grey = ImageOps.invert(grey)
    if clear is not None:
        from PIL import ImageMath  # rarely needed

        # The transparent value has 16 bits too.
        grey.putalpha(ImageMath.lambda_eval(lambda bands: (bands["wide"] != clear) * 255, wide=wide).convert("L"))
    return grey


def _from_cmyk(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if profile:
        from PIL import ImageCms  # rarely needed

        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


def _fitted(image: Image.Image, rule: DecodeRule) -> Image.Image:
    """Resize to the rule's size: crop to the centre, pad with background, or stretch."""
    (to_height, to_width), (width, height) = rule.image_size, image.size
    to = (to_width, to_height)
    if image.size == to:
        return image
    # Bicubic for enlarging and reducing. Pillow widens the filter when it reduces, which prevents aliasing.
    bicubic = Image.Resampling.BICUBIC
    if rule.fit == "crop":
        # The largest part of the right aspect ratio; products first, because whole numbers are exact.
        inside = (min(width, height * to_width / to_height), min(height, width * to_height / to_width))
        left, top = (width - inside[0]) / 2, (height - inside[1]) / 2
        box = (left, top, left + inside[0], top + inside[1])
        return image.resize(to, bicubic, box, reducing_gap=_reducing_gap(inside[0] / to_width))
    if rule.fit == "stretch":
        factors = (_halvings(width / to_width), _halvings(height / to_height))
        box = (0, 0, width / factors[0], height / factors[1])
        return (image.reduce(factors) if max(factors) > 1 else image).resize(to, bicubic, box)
    scale = min(to_width / width, to_height / height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = Image.new("RGB", to, rule.background).convert(image.mode)
    resized = image.resize(inner, bicubic, reducing_gap=_reducing_gap(1 / scale))
    canvas.paste(resized, ((to_width - inner[0]) // 2, (to_height - inner[1]) // 2))
    return canvas


def _reducing_gap(scale: float) -> float | None:
    """Return the reducing_gap that makes Pillow first average 2 x 2, 4 x 4, ... pixels.

    The result of that step stays at least REDUCING_GAP times larger than the target. Never 3 x 3 or 5 x 5: an odd
    number leaves a residue of fine stripes, which the filter would turn into coarse ones.
    """
    factor = _halvings(scale)
    # Pillow reduces by the integer part of scale / gap.
    return scale / (factor + 0.5) if factor > 1 else None


def _halvings(scale: float) -> int:
    """Return the power of two to reduce by first, when pixels are reduced by `scale` in all."""
    factor = 1
    while 2 * factor * REDUCING_GAP <= scale:
        factor *= 2
    return factor


def _one_line(error: BaseException) -> str:
    # Drop object addresses and absolute paths: they differ from run to run.
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = " ".join(re.sub(r"<[^<>]* at 0x[0-9a-f]+>", "the file", reason).split())
    return f"{type(error).__name__}: {text}"[:200]
