"""Image files of every kind, valid and damaged, and checks of their decoded pixels."""

import hashlib
import io
import struct
import zlib

import numpy as np
from PIL import Image

from genai_core.data.decoding.image import Decoded, DecodeRule
from genai_core.image_size import ImageSize


def rule(**changes):
    values = {"image_size": 8, "channels": 3, "fit": "crop", "background": (10, 20, 30), "max_megapixels": 1.0}
    values |= changes
    return DecodeRule(**{**values, "image_size": ImageSize.from_json(values["image_size"])})


def pixels(result, channels=3, size=8):
    assert isinstance(result, Decoded), result
    assert result.sha256 == hashlib.sha256(result.pixels).digest()
    return np.frombuffer(result.pixels, dtype=np.uint8).reshape(channels, *ImageSize.from_json(size)).astype(int)


def colours(result):
    """The image's colour by channel; it must be the same everywhere."""
    values = pixels(result)
    assert (np.ptp(values, axis=(1, 2)) == 0).all()
    return tuple(values[:, 0, 0].tolist())


def saved(image, path, **options):
    image.save(path, **options)
    return path


def encoded(image, form="PNG", **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def noise(width=32, height=32, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def png_chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, bits, colour_type, rows, *chunks):
    """A hand-written PNG of a kind that Pillow does not write; `chunks` come before the pixels."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
    end = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + end


def tiff(content, bits, photometric, channels=1):
    """A hand-written TIFF, 8 x 8 pixels, of a kind that Pillow does not write."""
    # Width, height, bits per sample, no compression, photometric interpretation, samples, rows and bytes of the strip.
    values = [(256, 8), (257, 8), (258, bits), (259, 1), (262, photometric), (277, channels), (278, 8)]
    tags = sorted([*values, (273, 8 + 2 + 12 * (len(values) + 2) + 4), (279, len(content))])
    directory = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + directory + bytes(4) + content


def png_with_header(width, height):
    """A PNG whose header has another size than its data."""
    return png(width, height, 8, 2, b"\0" * 100)


def cmyk_profile(lightness):
    """A printer's ICC profile (ICC.1:2001-04) that maps colours to one grey, 0 to 255, and black to black."""
    identity = bytes(range(256))
    matrix = struct.pack(">9I", *[0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x10000])
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + identity * 4
    table += bytes([lightness, 128, 128, 0, 128, 128]) * 2**3 + identity * 3
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    head = struct.pack(">I4sI4s4s4s", 144 + len(table), b"none", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    head += struct.pack(">6H4s", 2000, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + tags + table


def flipped_bits(content, seed):
    changed = bytearray(content)
    for place in np.random.default_rng(seed).integers(8, len(content), 20):
        changed[place] ^= 0x10
    return bytes(changed)


PNG, JPEG = encoded(Image.fromarray(noise())), encoded(Image.fromarray(noise()), "JPEG")
