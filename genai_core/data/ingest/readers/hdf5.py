"""HDF5 files with an array of images and one of labels: PCam, Galaxy10 and others; needs the extra `hdf5`.

Files can name other files that HDF5 would open (external links and storage, virtual datasets). Those are not followed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genai_core.data.dataset.dataset import Split
from genai_core.data.ingest.extras import import_extra
from genai_core.data.ingest.readers.array_labels import ArrayLabels, labels_of
from genai_core.data.ingest.readers.array_names import no_images, paired, parts_of
from genai_core.data.ingest.readers.arrays import check_label_count, check_layout, indexed_name, is_channels_first
from genai_core.data.ingest.readers.items import Item, Reading, Understood, join_readings, split_in, split_words

HDF5_EXTENSIONS = (".h5", ".hdf5", ".he5")
_MAX_LABELS = 1 << 28
_BLOCK_BYTES = 32 << 20  # read at once; a chunk of the file often holds many images
_NUMBERS = "iuUbSf"


@dataclass(frozen=True)
class _Array:
    """A dataset in a file. name: how images and labels are paired; path: in the file."""

    file: Path
    path: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        return f"{self.file}[{self.path}]"


def read_hdf5(files: Sequence[Path]) -> Reading:
    """Read the image arrays in all files, each with its labels, named <file>-<index>.png.

    Arrays are paired as in NumPy files (array_names.py), within a file and, as PCam has them, across files:
    train_x.h5 with x and train_y.h5 with y. Raises ValueError, listing the arrays, when none holds images.
    """
    by_file = {path: _arrays(path) for path in files}
    complete = {
        path: {parts_of(array.name)[0] for array in found} >= {"images", "labels"} for path, found in by_file.items()
    }
    groups = [found for path, found in by_file.items() if complete[path]]
    groups.append([array for path, found in by_file.items() if not complete[path] for array in found])
    readings = [reading for arrays in groups if arrays for reading in _read_group(arrays)]
    if not readings:
        listed = ", ".join(f"{array.path} {array.shape}" for found in by_file.values() for array in found)
        raise ValueError(f"{files[0]}: {no_images(listed or 'no arrays')}")
    return join_readings(readings)


def with_pcams_labels(path: Path) -> list[Path]:
    """Return a file of images and the file of its labels, if it is beside it: ..._train_x.h5 and ..._train_y.h5."""
    other = path.with_name(f"{path.stem.removesuffix('_x')}_y{path.suffix}")
    return [path, other] if path.stem.endswith("_x") and other.is_file() else [path]


def _arrays(path: Path) -> list[_Array]:
    """List the datasets of a file that have values of their own, and numbers or texts in them."""
    h5py = import_extra("h5py", "hdf5", "HDF5 files")
    found = []
    seen = set()  # links may form a loop
    with _opened(path) as file:
        groups = [("", file)]
        for above, group in groups:
            for key in group:
                if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                    continue
                item, name = group[key], f"{above}{key}"
                address = h5py.h5o.get_info(item.id).addr
                if address in seen:
                    continue
                seen.add(address)
                if isinstance(item, h5py.Group):
                    groups.append((f"{name}/", item))
                elif isinstance(item, h5py.Dataset) and item.shape and not item.is_virtual and not item.external:
                    dtype = np.dtype("S1") if h5py.check_string_dtype(item.dtype) else item.dtype
                    found.append(_Array(path, name, _name(path, name), tuple(item.shape), dtype))
    return [array for array in found if array.dtype.kind in _NUMBERS]


def _name(path: Path, name: str) -> str:
    # PCam: the key is x or y in every file, and the file's name says the split. The word stays as it is: valid and test
    # are one split, but two pairs of files.
    words = split_words(path.stem) if split_in(path.stem) and not split_in(name) else []
    return f"{words[0].lower()}/{name}" if words else name


def _read_group(arrays: Sequence[_Array]) -> list[Reading]:
    pairs = paired([array.name for array in arrays], [str(array) for array in arrays])
    return [_read_pair(arrays[pair.images], arrays[pair.labels] if pair.labels is not None else None) for pair in pairs]


def _read_pair(images: _Array, labels: _Array | None) -> Reading:
    if images.dtype != np.uint8:
        raise ValueError(
            f"{images}: expected uint8 pixels from 0 to 255, got {images.dtype}; convert them, for example "
            "(x * 255).round().astype('uint8') for values from 0 to 1"
        )
    check_layout(images.shape, str(images))
    count = images.shape[0]
    found = _read_labels(images, labels) if labels else None
    split = split_in(images.name)
    channels_first = is_channels_first(images.shape)

    def items() -> Iterator[Item]:
        block = max(1, _BLOCK_BYTES // int(np.prod(images.shape[1:])))
        with _opened(images.file) as file:
            for begin in range(0, count, block):
                for index, pixels in enumerate(file[images.path][begin : begin + block], start=begin):
                    label = found.classes[index] if found and found.classes else None
                    image = np.ascontiguousarray(pixels.transpose(1, 2, 0) if channels_first else pixels)
                    yield Item(indexed_name(_stem(images), index), label, split, image)

    return Reading(
        items(),
        count,
        notes=_notes(images, labels),
        understood=_understood(labels, found, split),
        splits=frozenset({split}),
    )


def _stem(images: _Array) -> str:
    """Return the file's name, with the array's own words if the file has several arrays of images."""
    words = [word for word in images.path.split("/") if split_in(word)]
    return "-".join([images.file.stem, *words])


def _notes(images: _Array, labels: _Array | None) -> list[str]:
    return [] if labels else [f"{images}: no array of labels next to it, its images have no class"]


def _understood(labels: _Array | None, found: ArrayLabels | None, split: Split | None) -> Understood:
    return Understood(
        layout="HDF5 arrays",
        labels=f"array {labels.path}, {found.what}" if labels and found else "",
        split="names of the files or arrays" if split else "",
    )


def _read_labels(images: _Array, labels: _Array) -> ArrayLabels:
    check_label_count(images.shape[0], labels.shape[0], str(images), str(labels))
    if int(np.prod(labels.shape, dtype=object)) > _MAX_LABELS:
        raise ValueError(f"{labels}: declares labels of shape {labels.shape}")
    with _opened(labels.file) as file:
        values = np.asarray(file[labels.path][()])
    if values.dtype.kind == "O":  # texts of any length
        values = np.array([value.decode("utf-8", "replace") for value in values.reshape(-1)])
    return labels_of(values, str(labels))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    h5py = import_extra("h5py", "hdf5", "HDF5 files")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: damaged, or not an HDF5 file ({error}); download it again") from None
