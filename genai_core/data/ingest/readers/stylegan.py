"""Datasets of StyleGAN2-ADA, StyleGAN3 and EDM: a folder or zip of images with a dataset.json.

    {"labels": [["00000/img00000000.png", 3], ...]}    a number, a vector for each image, or null for no labels

Their `dataset_tool.py` puts a thousand images into each of the folders 00000, 00001 ... They are no classes.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from genai_core.data.ingest.convert.kinds import is_source_image
from genai_core.data.ingest.readers.array_labels import labels_of
from genai_core.data.ingest.readers.items import Item, Reading, Understood
from genai_core.data.raw.formats import RejectedFile
from genai_core.data.raw.rules import is_bad_name, printable

LABELS_FILE = "dataset.json"
_MAX_LABELS_BYTES = 1 << 30


def stylegan_root(folder: Path, files: Sequence[str]) -> str | None:
    """Return the folder of such a dataset, relative to `folder` ("" for itself); None if there is none.

    files: all files below `folder`, relative, with "/". The dataset may be in a folder around everything.
    """
    images = [path for path in files if is_source_image(path)]
    tables = [path for path in files if PurePosixPath(path).name == LABELS_FILE]
    if len(tables) == 1:
        root = tables[0].removesuffix(LABELS_FILE)
        if all(path.startswith(root) for path in images) and is_labels_file(folder / tables[0]):
            return root
    return None


def is_labels_file(path: Path) -> bool:
    """Whether a dataset.json is of this kind; a prepared dataset of this project has one with other keys."""
    try:
        content = _content(path)
    except ValueError:
        return True  # read_stylegan says what is wrong with it
    return isinstance(content, dict) and "labels" in content


def read_stylegan(folder: Path, files: Sequence[str], root: str) -> Reading:
    """Read the images below folder/root. Raises ValueError when dataset.json is damaged or names none of them."""
    found = [path for path in files if is_source_image(path) and path.startswith(root)]
    images = [path for path in found if not is_bad_name(path)]
    names = _without_shards([path.removeprefix(root) for path in images])
    table = folder / root / LABELS_FILE
    labels = _read_labels(table)
    rejected = [
        RejectedFile(printable(path), "missing_file", f"{LABELS_FILE} names it, and there is no such image")
        for path in sorted(labels.of_image.keys() - {path.removeprefix(root) for path in images})
    ]
    if labels.of_image and len(rejected) == len(labels.of_image):
        raise ValueError(
            f"{table}: none of its {len(rejected):,} labels names an image; the first: {rejected[0].source}"
        )
    reading = Reading(
        (),
        len(images),
        rejected,
        splits=frozenset({None}),
        bad_names=tuple(printable(path) for path in found if is_bad_name(path)),
    )

    def items() -> Iterator[Item]:
        for path, name in zip(images, names, strict=True):
            label = labels.of_image.get(path.removeprefix(root))
            if labels.of_image and label is None:
                rejected.append(RejectedFile(path, "no_label", f"{LABELS_FILE} does not name it"))
            else:
                yield Item(name, label, None, folder / path)

    reading.items = items()
    reading.wrapper = root.removesuffix("/") or None
    reading.understood = Understood(layout="StyleGAN or EDM dataset", labels=labels.what)
    return reading


@dataclass(frozen=True)
class _Labels:
    of_image: dict[str, str]
    what: str


def _read_labels(path: Path) -> _Labels:
    rows = _content(path)["labels"]
    if not rows:
        return _Labels({}, "")
    if not isinstance(rows, list) or not all(_is_row(row) for row in rows):
        raise ValueError(f'{path}: expected "labels" as a list of [file, label]')
    files = [str(file).replace("\\", "/") for file, _ in rows]
    values = [value for _, value in rows]
    try:
        found = labels_of(np.array(values), str(path))
    except ValueError:  # a mixture, texts of words, vectors of different lengths
        raise ValueError(
            f"{path}: expected labels that are all integers, all vectors of one length, or null; got {values[0]!r}, ..."
        ) from None
    return _Labels(dict(zip(files, found.classes, strict=True)) if found.classes else {}, f"{path.name}, {found.what}")


def _is_row(row: Any) -> bool:
    return isinstance(row, list) and len(row) == 2 and isinstance(row[0], str)


def _content(path: Path) -> Any:
    if path.stat().st_size > _MAX_LABELS_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size:,} bytes; the limit is {_MAX_LABELS_BYTES:,}")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged, or not JSON ({error})") from None


def _without_shards(paths: Sequence[str]) -> list[str]:
    """Return file names without their folders, which would be classes; with them, as dashes, if some are equal."""
    names = [path.rsplit("/", 1)[-1] for path in paths]
    return names if len(set(names)) == len(names) else [path.replace("/", "-") for path in paths]
