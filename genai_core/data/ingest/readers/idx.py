"""IDX files, the format of MNIST and similar datasets: train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz.

http://yann.lecun.com/exdb/mnist: two zero bytes, a type (8: unsigned byte), the number of dimensions, the dimensions as
big-endian 32-bit numbers, the values.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from genai_core.data.ingest.readers.arrays import array_items, check_label_count, check_layout, opened, reporting_damage
from genai_core.data.ingest.readers.items import Item, Reading, Understood, join_readings, split_in

_UNSIGNED_BYTE = 8
_MAX_LABELS = 1 << 30
# "train-images-idx3-ubyte" and "train-images.idx3-ubyte" are both in use, compressed or not.
_NAME = re.compile(r"(?P<stem>.*?)[-._]?(?P<kind>images|labels)[-.]idx[1-4]-ubyte(\.gz)?", re.IGNORECASE)


def is_idx_name(name: str) -> bool:
    return bool(_NAME.fullmatch(name))


def read_idx(files: Sequence[Path]) -> Reading:
    """Read every images file among `files`, each with the labels file next to it, if any.

    Pairs named train- and t10k- (or test-) are the two splits. Raises ValueError: immediately for a bad header, while
    the items are read for a truncated body.
    """
    images = [path for path in files if _kind(path) == "images"]
    if not images:
        raise ValueError(
            f"{files[0]}: labels without images; expected {files[0].name.replace('labels', 'images')} next to it "
            "(with idx3 for idx1)"
        )
    return join_readings([_read_pair(path, _labels_file(path)) for path in images])


def _read_pair(images: Path, labels: Path | None) -> Reading:
    with opened(images) as file:
        shape = _shape(file, images)
    check_layout(shape, str(images))
    names = None
    if labels is not None:
        names = _read_labels(labels)
        check_label_count(shape[0], len(names), str(images), labels.name)
    match = _NAME.fullmatch(images.name)
    assert match is not None
    stem = match["stem"] or "image"

    split = split_in(stem)

    def items() -> Iterator[Item]:
        with opened(images) as file:
            yield from array_items(file, _shape(file, images), names, source=str(images), stem=stem, split=split)
            _check_end(file, images)

    notes = [] if labels else [f"{images.name}: no labels file next to it, its images have no class"]
    understood = Understood(
        layout="IDX files", labels=labels.name if labels else "", split="names of the files" if split else ""
    )
    return Reading(items(), shape[0], notes=notes, understood=understood, splits=frozenset({split}))


def _read_labels(path: Path) -> list[str]:
    with opened(path) as file:
        shape = _shape(file, path)
        if len(shape) != 1 or shape[0] > _MAX_LABELS:
            raise ValueError(f"{path}: expected labels in one dimension, got shape {shape}")
        with reporting_damage(str(path)):
            content = file.read(shape[0])
        if len(content) < shape[0]:
            raise ValueError(f"{path}: truncated: expected {shape[0]:,} labels, found {len(content):,}")
        _check_end(file, path)
    return [str(label) for label in np.frombuffer(content, dtype=np.uint8).tolist()]


def _shape(file: IO[bytes], path: Path) -> tuple[int, ...]:
    with reporting_damage(str(path)):
        magic = file.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0":
            raise ValueError(f"{path}: not an IDX file: it starts with {magic!r}, expected two zero bytes and a type")
        if magic[2] != _UNSIGNED_BYTE:
            raise ValueError(f"{path}: expected values of type 8 (unsigned byte), got type {magic[2]}")
        sizes = file.read(4 * magic[3])
    if magic[3] == 0 or len(sizes) < 4 * magic[3]:
        raise ValueError(f"{path}: truncated in its header")
    return struct.unpack(f">{magic[3]}I", sizes)


def _check_end(file: IO[bytes], path: Path) -> None:
    with reporting_damage(str(path)):  # gzip checks its checksum here
        if file.read(1):
            raise ValueError(f"{path}: longer than its header says; it is damaged or not an IDX file")


def _kind(path: Path) -> str | None:
    match = _NAME.fullmatch(path.name)
    return match["kind"].lower() if match else None


def _labels_file(images: Path) -> Path | None:
    """Return the labels file of an images file, even if only one of them is compressed."""
    match = _NAME.fullmatch(images.name)
    assert match is not None
    for path in sorted(images.parent.iterdir()):
        other = _NAME.fullmatch(path.name)
        if other and other["kind"].lower() == "labels" and other["stem"] == match["stem"]:
            return path
    return None
