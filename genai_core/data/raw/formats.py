"""Supported image formats, and rejected files with the reasons."""

from typing import Literal, NamedTuple

# Pillow formats that are read, with their usual extensions.
FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WEBP": (".webp",),
    "AVIF": (".avif",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
IMAGE_EXTENSIONS = frozenset(extension for extensions in FORMATS.values() for extension in extensions)

Reason = Literal[
    "bad_name",
    "link",
    "special_file",
    "unreadable",
    "empty_file",
    "not_an_image",
    "corrupt",
    "too_large",
    "too_small",
    "too_narrow",
    "unsupported_pixels",
    "decoder_died",
    "duplicate",
    "in_test",
    "near_duplicate",
    "two_labels",
    "same_name",
    "bad_pack",
    "bad_caption",
    # While a source is added:
    "missing_file",
    "no_label",
    "bad_label",
    "no_image",
    "several_images",
]

# Named tuples, because decoding processes import this module and start faster without dataclasses.


class RejectedFile(NamedTuple):
    """A file that is not used, and why. source: its printable name; for a row of a table, the file or key in it."""

    source: str
    reason: Reason
    detail: str
