"""Read images one by one from an array in a file, so that memory does not depend on their number."""

import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import numpy as np

from genai_core.data.dataset.dataset import Split
from genai_core.data.dataset.facts import Pixels
from genai_core.data.ingest.readers.items import Item

CHANNELS = (1, 3, 4)
MAX_IMAGE_BYTES = 512 << 20  # a header that asks for more does not describe an image
DAMAGED = (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)


def array_items(
    file: IO[bytes], shape: Sequence[int], labels: Sequence[str] | None, *, source: str, stem: str, split: Split | None
) -> Iterator[Item]:
    """Yield the images of an array whose bytes come next in `file`, named <stem>-<index>.png.

    shape: (N, H, W), (N, H, W, C) or (N, C, H, W) with C of 1, 3 or 4. Raises ValueError when the file ends early.
    """
    check_layout(shape, source)
    channels_first = is_channels_first(shape)
    size = int(np.prod(shape[1:], dtype=np.int64))
    for index in range(shape[0]):
        with reporting_damage(source):
            content = file.read(size)
        if len(content) < size:
            raise ValueError(f"{source}: truncated: expected {shape[0]:,} images, the file ends in number {index:,}")
        pixels: Pixels = np.frombuffer(content, dtype=np.uint8).reshape(shape[1:])
        if channels_first:
            pixels = pixels.transpose(1, 2, 0)
        yield Item(indexed_name(stem, index), labels[index] if labels is not None else None, split, pixels)


def check_layout(shape: Sequence[int], source: str) -> None:
    """Raise ValueError unless `shape` describes an array of images."""
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in CHANNELS and shape[1] not in CHANNELS):
        raise ValueError(
            f"{source}: expected images as an array (N, H, W), (N, H, W, C) or (N, C, H, W) with C of 1, 3 or 4, "
            f"got shape {tuple(shape)}"
        )
    if not all(side > 0 for side in shape):
        raise ValueError(f"{source}: contains no images: its shape is {tuple(shape)}")
    if int(np.prod([int(side) for side in shape[1:]], dtype=object)) > MAX_IMAGE_BYTES:
        raise ValueError(f"{source}: declares images of {tuple(shape[1:])}, more than {MAX_IMAGE_BYTES:,} bytes each")


def is_channels_first(shape: Sequence[int]) -> bool:
    """Whether channels come first. Most files are (N, H, W, C), which is assumed when both are possible."""
    return len(shape) == 4 and shape[3] not in CHANNELS


def check_label_count(images: int, labels: int, source: str, labels_source: str) -> None:
    if images != labels:
        raise ValueError(f"{source} has {images:,} images, {labels_source} has {labels:,} labels; expected as many")


def indexed_name(stem: str, index: int) -> str:
    return f"{stem}-{index:06d}.png"


@contextmanager
def reporting_damage(source: str) -> Iterator[None]:
    """Turn decompression errors into a ValueError that names the file."""
    try:
        yield
    except DAMAGED as error:
        raise ValueError(f"{source}: damaged ({error}); download it again") from None


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that may be gzipped."""
    with path.open("rb") as file:
        if file.read(2) == b"\x1f\x8b":  # check the content: a file named .gz is often already decompressed
            file.seek(0)
            with gzip.open(file) as unpacked:
                yield cast(IO[bytes], unpacked)
        else:
            file.seek(0)
            yield file
