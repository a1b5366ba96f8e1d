"""NumPy's .npy and .npz: images in one array, labels in another of the same .npz or in a second .npy.

Only headers and raw bytes are read, never np.load: an array of Python objects is a pickle, and is refused.
"""

import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from genai_core.data.dataset.dataset import Split
from genai_core.data.decoding.image import MAX_SIDE_RATIO
from genai_core.data.ingest.readers.array_labels import ArrayLabels, labels_of
from genai_core.data.ingest.readers.array_names import no_images, paired, parts_of
from genai_core.data.ingest.readers.arrays import array_items, check_label_count, check_layout, reporting_damage
from genai_core.data.ingest.readers.items import Item, Reading, Understood, join_readings, split_in

NUMPY_EXTENSIONS = (".npy", ".npz")
_MAX_LABEL_BYTES = 1 << 30
_LONGEST_GREY_SIDE = 2048
# By version of the format: NumPy's function, and the bytes that state the length.
_HEADER_READERS = {(1, 0): (np.lib.format.read_array_header_1_0, 2), (2, 0): (np.lib.format.read_array_header_2_0, 4)}
_MAX_HEADER_BYTES = 10_000  # as in NumPy


@dataclass(frozen=True)
class _Array:
    """One array in a file: `member` of an .npz, or a whole .npy (None)."""

    path: Path
    member: str | None

    @property
    def name(self) -> str:
        return self.path.stem if self.member is None else self.member.removesuffix(".npy")

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}[{self.name}]"


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool


def read_numpy(files: Sequence[Path]) -> Reading:
    """Read the image arrays in .npy and .npz files, each with its labels.

    Arrays are found by the words images, x or data and labels, y or targets in their names, with train, test or val for
    the split: x_train, train_images, images, y-test.npy. Raises ValueError, listing the arrays, when none is found.
    """
    readings = []
    for path in files:
        if path.suffix.lower() == ".npz":
            readings += _read_group(_members(path), prefix=path.stem)
    readings += _read_group([_Array(path, None) for path in files if path.suffix.lower() == ".npy"], prefix="")
    return join_readings(readings)


def with_labels_file(path: Path) -> list[Path]:
    """Return an .npy of images and the .npy of its labels, if one next to it has a matching name."""
    kind, rest = parts_of(path.stem)
    if path.suffix.lower() != ".npy" or kind != "images":
        return [path]
    siblings = (other for other in sorted(path.parent.iterdir()) if other.suffix.lower() == ".npy")
    return [path, *[other for other in siblings if parts_of(other.stem) == ("labels", rest)][:1]]


def _read_group(arrays: Sequence[_Array], prefix: str) -> list[Reading]:
    if not arrays:
        return []
    pairs = paired([array.name for array in arrays], [str(array) for array in arrays])
    if not pairs and all(_is_one_image(_header(array).shape) for array in arrays):
        first = f"{arrays[0].path.name} {_header(arrays[0]).shape}"
        raise ValueError(
            f"{arrays[0].path.parent}: each array is one image, such as {first}; save each as PNG in its folder, or "
            "all as one array x (N, H, W, C)"
        )
    if not pairs:
        listed = ", ".join(f"{array.name} {_header(array).shape}" for array in arrays)
        joined = "; if each file is a class, save all as one .npz with x and y" if len(arrays) > 1 else ""
        raise ValueError(f"{arrays[0].path}: {no_images(listed)}{joined}")
    return [
        _read_pair(
            arrays[pair.images],
            arrays[pair.labels] if pair.labels is not None else None,
            "-".join(word for word in (prefix, pair.rest) if word) or arrays[pair.images].name,
            pair.split or split_in(prefix),
        )
        for pair in pairs
    ]


def _is_one_image(shape: tuple[int, ...]) -> bool:
    is_picture = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
    if len(shape) == 2 and max(shape) > _LONGEST_GREY_SIDE:
        return False  # rather features: (5000, 3072)
    return is_picture and max(shape[:2]) <= MAX_SIDE_RATIO * min(shape[:2])  # not (N, 784)


def _read_pair(images: _Array, labels: _Array | None, stem: str, split: Split | None) -> Reading:
    header = _header(images)
    if header.dtype != np.uint8:
        raise ValueError(
            f"{images}: expected uint8 pixels from 0 to 255, got {header.dtype}; convert them, for example "
            "(x * 255).round().astype('uint8') for values from 0 to 1"
        )
    check_layout(header.shape, str(images))
    if header.fortran_order:
        raise ValueError(f"{images}: stored in Fortran order; save it again with np.ascontiguousarray")
    found = _read_labels(labels, header.shape[0], images) if labels else None
    names = found.classes if found else None

    def items() -> Iterator[Item]:
        with _opened(images) as file:
            _read_header(file, images)
            yield from array_items(file, header.shape, names, source=str(images), stem=stem, split=split)

    notes = [] if labels else [f"{images}: no array of labels next to it, its images have no class"]
    understood = Understood(
        layout="NumPy arrays",
        labels=f"array {labels.name}, {found.what}" if labels and found else "",
        split=f"names of the {'arrays' if split_in(images.name) else 'files'}" if split else "",
    )
    return Reading(items(), header.shape[0], notes=notes, understood=understood, splits=frozenset({split}))


def _read_labels(array: _Array, count: int, images: _Array) -> ArrayLabels:
    header = _header(array)
    if not header.shape or not all(header.shape) or header.dtype.kind not in "iuUbSf":
        raise ValueError(
            f"{array}: expected one integer or text per image, an array (N,), got {header.dtype} {header.shape}"
        )
    check_label_count(count, header.shape[0], str(images), array.name)
    size = int(np.prod(header.shape, dtype=object)) * header.dtype.itemsize
    if size > _MAX_LABEL_BYTES:
        raise ValueError(f"{array}: declares {size:,} bytes of labels; the limit is {_MAX_LABEL_BYTES:,}")
    with _opened(array) as file, reporting_damage(str(array)):
        _read_header(file, array)
        content = file.read(size)
    if len(content) < size:
        raise ValueError(f"{array}: truncated: expected {header.shape[0]:,} labels")
    try:
        values = np.frombuffer(content, dtype=header.dtype).reshape(
            header.shape, order="F" if header.fortran_order else "C"
        )
        return labels_of(values, str(array))
    except (ValueError, SystemError) as error:  # texts of length 0, or numbers that are no characters
        raise ValueError(f"{array}: labels that cannot be read ({error})") from None


def _header(array: _Array) -> _Header:
    with _opened(array) as file:
        return _read_header(file, array)


def _read_header(file: IO[bytes], array: _Array) -> _Header:
    with reporting_damage(str(array)):
        try:
            version = np.lib.format.read_magic(file)
            read, length_bytes = _HEADER_READERS[version]
            length = file.read(length_bytes)
            size = int.from_bytes(length, "little")
        except (ValueError, KeyError) as error:
            raise ValueError(f"{array}: not a readable NumPy file ({error})") from None
        # NumPy would read a header of 4 GB before it checks the length; one deflated in an .npz takes 4 MB.
        if size > _MAX_HEADER_BYTES:
            raise ValueError(f"{array}: declares a header of {size:,} bytes; the limit is {_MAX_HEADER_BYTES:,}")
        content = file.read(size)
    try:
        shape, fortran_order, dtype = read(io.BytesIO(length + content))
    except Exception as error:  # the header is a Python expression: TokenError, TypeError, MemoryError ...
        raise ValueError(f"{array}: not a readable NumPy file ({error})") from None
    if dtype.hasobject:
        raise ValueError(f"{array}: holds Python objects; such pickles can run code and are never read")
    return _Header(tuple(shape), dtype, fortran_order and len(shape) > 1)


@contextmanager
def _opened(array: _Array) -> Iterator[IO[bytes]]:
    if array.member is None:
        with array.path.open("rb") as file:
            yield file
        return
    with reporting_damage(str(array.path)), zipfile.ZipFile(array.path) as npz, npz.open(array.member) as member:
        yield member


def _members(path: Path) -> list[_Array]:
    with reporting_damage(str(path)), zipfile.ZipFile(path) as archive:
        if any(item.flag_bits & 1 for item in archive.infolist()):
            raise ValueError(f"{path}: encrypted; unpack it yourself")
        names = [item.filename for item in archive.infolist() if item.filename.endswith(".npy")]
    if not names:
        raise ValueError(f"{path}: contains no arrays")
    return [_Array(path, name) for name in sorted(names)]
