"""Small trees of images and annotation files, and what is read of them."""

from pathlib import Path

import pandas as pd

from genai_core.data.ingest.choices import Choices
from genai_core.data.ingest.listing import list_folder
from genai_core.data.ingest.readers.image_folder import read_image_folder


def read(root: Path, **choices):
    """Read a tree: the reading, and what is said of each image by its file name."""
    reading = read_image_folder(list_folder(root), Choices(**choices))
    said = {}
    for item in reading.items:
        assert isinstance(item.content, Path)
        said[item.content.name] = (item.label, item.split, item.captions)
    return reading, said


def labels(said):
    return {name: label for name, (label, _, _) in said.items()}


def splits(said):
    return {name: split for name, (_, split, _) in said.items()}


def captions(said):
    return {name: texts for name, (_, _, texts) in said.items()}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_csv(path: Path, **columns) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_csv(path, index=False)


def coco(names, annotations, categories=("cat", "dog")):
    """A document in COCO's form; the pictures' ids begin at 100."""
    return {
        "info": {"year": 2017},
        "images": [{"id": n + 100, "file_name": name, "width": 12, "height": 12} for n, name in enumerate(names)],
        "annotations": [{"id": n, **annotation} for n, annotation in enumerate(annotations)],
        "categories": [{"id": n, "name": name} for n, name in enumerate(categories)],
    }
