"""CIFAR-10 and CIFAR-100 as published: pickled batches, read without unpickling (pickled_data.py).

https://www.cs.toronto.edu/~kriz/cifar.html: data is uint8 (N, 3072), the red, green and blue planes of 32 x 32 images.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genai_core.data.dataset.dataset import Split
from genai_core.data.dataset.facts import Pixels
from genai_core.data.ingest.names import MAX_NAME_BYTES
from genai_core.data.ingest.readers.arrays import check_label_count, indexed_name
from genai_core.data.ingest.readers.items import Item, Reading, Understood
from genai_core.data.ingest.readers.pickled_data import read_pickled_data

# (key of the labels, file with the class names, key of the names), for CIFAR-10 and CIFAR-100
_FORMS = (
    ("labels", "batches.meta", "label_names"),
    ("fine_labels", "meta", "fine_label_names"),
)
_BATCH = re.compile(r"data_batch_\d+|test_batch")
_SIDE_PX = 32
_SHOWN_KEYS = 10


def is_cifar_name(name: str) -> bool:
    """Whether an archive member may belong to CIFAR; the names train and test are from CIFAR-100."""
    return bool(_BATCH.fullmatch(name)) or name in ("train", "test", "meta", "batches.meta")


def cifar_batches(files: Sequence[Path]) -> list[Path]:
    """Return the batches among the files of a folder; empty unless it looks like CIFAR."""
    by_name = {path.name: path for path in files}
    batches = [path for name, path in sorted(by_name.items()) if _BATCH.fullmatch(name)]
    if not batches and "meta" in by_name:
        batches = [by_name[name] for name in ("train", "test") if name in by_name]
    return batches


def read_cifar(batches: Sequence[Path]) -> Reading:
    """Read the images of all batches, named <batch>-<index>.png. Raises ValueError at the first invalid batch."""
    headers = [_read_batch(path) for path in batches]
    total = sum(len(pixels) for pixels, _ in headers)
    del headers
    splits: dict[Path, Split] = {path: "test" if path.name.startswith("test") else "train" for path in batches}
    named = next((file for _, file, _ in _FORMS if batches[0].with_name(file).is_file()), None)

    def items() -> Iterator[Item]:
        for path in batches:  # read again: only one is in memory at a time, and all were checked before any is written
            pixels, labels = _read_batch(path)
            for index, (image, label) in enumerate(zip(pixels, labels, strict=True)):
                yield Item(indexed_name(path.name, index), label, splits[path], image)

    labels = f"the batches, names from {named}" if named else "the batches, as numbers"
    understood = Understood(layout="CIFAR batches", labels=labels, split="names of the batches")
    return Reading(items(), total, understood=understood, splits=frozenset(splits.values()))


def _read_batch(path: Path) -> tuple[Pixels, list[str]]:
    """Return pixels (N, 32, 32, 3) and class names (N,)."""
    batch = _by_text(path, read_pickled_data(path))
    data = batch.get("data")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * _SIDE_PX**2:
        raise ValueError(f"{path}: expected `data` as uint8 (N, 3072), got {getattr(data, 'shape', type(data))}")
    forms = [form for form in _FORMS if form[0] in batch]
    if not forms:
        raise ValueError(f"{path}: expected labels or fine_labels, got {', '.join([*batch][:_SHOWN_KEYS])}")
    key, names_file, names_key = forms[0]
    labels = batch[key]
    if not isinstance(labels, list) or not all(isinstance(label, int) for label in labels):
        raise ValueError(f"{path}: expected `{key}` as a list of integers")
    check_label_count(len(data), len(labels), str(path), key)
    names = _class_names(path.with_name(names_file), names_key)
    if names and labels and not 0 <= min(labels) <= max(labels) < len(names):
        raise ValueError(f"{path}: labels from {min(labels)} to {max(labels)}, but {names_file} has {len(names)} names")
    pixels: Pixels = data.reshape(-1, 3, _SIDE_PX, _SIDE_PX).transpose(0, 2, 3, 1)
    return pixels, [names[label] if names else str(label) for label in labels]


def _class_names(path: Path, key: str) -> list[str]:
    if not path.is_file():
        return []
    names = _by_text(path, read_pickled_data(path)).get(key)
    # Check before copying: each name may refer to the same text of many megabytes.
    if not isinstance(names, list) or not names or not all(map(_is_name, names)):
        raise ValueError(f"{path}: expected class names under {key}, as texts of up to {MAX_NAME_BYTES} bytes")
    return [_text(name) for name in names]


def _is_name(value: Any) -> bool:
    return isinstance(value, str | bytes) and len(value) <= MAX_NAME_BYTES


def _by_text(path: Path, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected a dict with data and labels, got a {type(value).__name__}")
    return {_text(key): item for key, item in value.items()}


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
