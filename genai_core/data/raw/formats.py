"""Supported image formats, and the reasons for which a file is rejected."""

from typing import Literal

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
]
