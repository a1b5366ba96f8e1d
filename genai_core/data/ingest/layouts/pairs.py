"""Folders that show the same pictures in several ways: rgb/1.png and depth/1.png, HR/0001.png and LR/0001x2.png."""

import re
from collections.abc import Mapping, Sequence
from itertools import combinations

from genai_core.data.ingest.readers.items import WORDS

# What folders of such sets are called. Words such as low and high may be classes too, so the files' names must agree.
_KINDS = {
    *("depth", "disparity", "normal", "normals", "edge", "edges", "sketch", "sketches", "lineart", "flow", "albedo"),
    *("lr", "hr", "sr", "lowres", "highres", "bicubic", "low", "high", "gt", "input", "inputs", "target", "targets"),
    *("noisy", "clean", "blur", "blurred", "sharp", "haze", "hazy", "rain", "rainy", "before", "after"),
    *("rgb", "nir", "ir", "thermal", "infrared", "color", "colour", "gray", "grey", "grayscale", "greyscale"),
    *("segmented", "sentinel1", "sentinel2"),
    *("thumb", "thumbs", "thumbnail", "thumbnails", "preview", "previews", "resized", "original", "originals"),
}
_SUFFIX = re.compile(rf"[ ._-]?(x\d|{'|'.join(sorted(_KINDS, key=len, reverse=True))})$", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")
_LEAST_SHARE = 0.9  # of equal names
_FEWEST = 4  # images of a folder, so that equal names say something
_FEWEST_UNNAMED = 8  # if the folders' names say nothing
_MOST_FOLDERS = 8


def paired_folders(files: Mapping[str, Sequence[str]]) -> tuple[str, str] | None:
    """Return two folders that may hold the same pictures; None if there are none. files: names of images by folder.

    Classes also have equal names if each counts its own files: hat/1.jpg, shoe/1.jpg. So either the folders are called
    rgb, depth, HR ..., or the names are no such count.
    """
    if not 1 < len(files) <= _MOST_FOLDERS:
        return None
    named = {folder: {_stem(name) for name in names} for folder, names in files.items() if _is_kind(folder)}
    others = {folder: set(names) for folder, names in files.items() if len(names) >= _FEWEST_UNNAMED}
    others = {folder: names for folder, names in others.items() if not _is_count(names)} if len(others) > 1 else {}
    for stems in (named, others):
        for one, other in combinations(sorted(stems), 2):
            fewer, more = sorted((len(stems[one]), len(stems[other])))
            if fewer >= _FEWEST and len(stems[one] & stems[other]) >= _LEAST_SHARE * more:
                return one, other
    return None


def _is_kind(folder: str) -> bool:
    words = {word.lower() for word in WORDS.findall(folder)} | {folder.lower()}
    return not words.isdisjoint(_KINDS)


def _stem(name: str) -> str:
    return _SUFFIX.sub("", name.rpartition(".")[0])


def _is_count(names: set[str]) -> bool:
    """Whether the names count something, such as 0001_00 to 0003_19, or have no numbers at all."""
    columns = list(zip(*([*map(int, _NUMBER.findall(name))] for name in names)))  # noqa: B905 - as many as all have
    return all(max(numbers) - min(numbers) < 2 * len(names) for numbers in columns)
