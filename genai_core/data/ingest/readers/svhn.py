"""MATLAB files of SVHN (http://ufldl.stanford.edu/housenumbers): train_32x32.mat with X (H, W, C, N) and y (N, 1).

The digit 0 has the label 10 there, and is 0 here.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genai_core.data.dataset.dataset import Split
from genai_core.data.ingest.readers.array_labels import labels_of
from genai_core.data.ingest.readers.arrays import check_label_count, check_layout, indexed_name
from genai_core.data.ingest.readers.items import Item, Reading, Understood, join_readings, split_in

MATLAB_EXTENSIONS = (".mat",)
# Of the images of one file, which MATLAB's format makes one read at once. SVHN's largest has 1.6 GB.
_MAX_BYTES = 8 << 30


def read_svhn(files: Sequence[Path]) -> Reading:
    """Read the images of all files, named <file>-<index>.png. Raises ValueError when one has no X of images."""
    return join_readings([_read_file(path) for path in files])


def _read_file(path: Path) -> Reading:
    shapes = _shapes(path)
    if len(shapes.get("X", ())) != 4:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "none"
        raise ValueError(
            f"{path}: expected the images as X (height, width, channels, N), as in SVHN, and labels as y; the file's "
            f"variables: {listed}; save other data as .npz"
        )
    shape = (shapes["X"][3], *shapes["X"][:3])
    check_layout(shape, str(path))
    if int(np.prod(shape, dtype=object)) > _MAX_BYTES:
        raise ValueError(f"{path}: declares more than {_MAX_BYTES:,} bytes of images")
    labels = _labels(path, shape[0]) if "y" in shapes else None
    # The third file, extra_32x32.mat, is for training too.
    split: Split | None = "train" if path.stem.startswith("extra") else split_in(path.stem)

    def items() -> Iterator[Item]:
        images = _load(path, "X")  # in Fortran order: each image is one piece
        if images.dtype != np.uint8:
            raise ValueError(f"{path}: expected uint8 pixels from 0 to 255, got {images.dtype}")
        for index in range(shape[0]):
            label = labels[index] if labels else None
            yield Item(indexed_name(path.stem, index), label, split, np.ascontiguousarray(images[..., index]))

    understood = Understood(
        layout="SVHN (MATLAB)",
        labels="y, where 10 is the digit 0" if labels else "",
        split="names of the files" if split else "",
    )
    notes = [] if labels else [f"{path.name}: no labels y; its images have no class"]
    return Reading(items(), shape[0], notes=notes, understood=understood, splits=frozenset({split}))


def _labels(path: Path, images: int) -> list[str]:
    values = _load(path, "y").reshape(-1)
    check_label_count(images, len(values), str(path), "y")
    if values.min() == 1 and values.max() == 10:
        values = values % 10
    found = labels_of(values, f"{path}[y]").classes
    assert found is not None  # one dimension
    return found


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the variables, without reading them."""
    from scipy.io import whosmat  # takes 0.2 s to import

    try:
        return {name: tuple(shape) for name, shape, _ in whosmat(str(path))}
    except NotImplementedError:
        raise ValueError(f"{path}: MATLAB 7.3's format is not read; save it with -v7, or as .npz or .h5") from None
    except Exception as error:  # SciPy's own, and what hostile headers cause: TypeError, struct.error, MemoryError ...
        raise ValueError(f"{path}: damaged, or not a MATLAB file ({error}); download it again") from None


def _load(path: Path, variable: str) -> Any:
    from scipy.io import loadmat

    try:
        return loadmat(str(path), variable_names=[variable])[variable]
    except Exception as error:  # SciPy's own, and what hostile headers cause: TypeError, struct.error, MemoryError ...
        raise ValueError(f"{path}: damaged ({error}); download it again") from None
