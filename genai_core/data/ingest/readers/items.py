"""Common form of all sources: a stream of images, each with its label and its split."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path

from genai_core.data.dataset.dataset import Split
from genai_core.data.dataset.facts import Pixels
from genai_core.data.raw.formats import RejectedFile

# Common names of parts of a dataset. Whatever is held out, for any purpose, is not trained on.
SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "t10k": "test",
    "val": "test",
    "valid": "test",
    "validation": "test",
    "dev": "test",
    "eval": "test",
}

WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_]+")  # of a name: train, A in trainA; test, 1 in test1
_SEPARATORS = re.compile(r"[-._/\s]+")


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a source.

    path: its file below the class's folder, relative, with "/". content: a file to copy, the bytes of an image file,
    or uint8 pixels, (H, W) or (H, W, C) with C of 1, 3 or 4. captions: texts that describe it, never its class.
    """

    path: str
    label: str | None
    split: Split | None
    content: Path | bytes | Pixels
    captions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Understood:
    """What a reader took a source for, each a short phrase to show: `layout` "class folders", `labels` "the folders".

    Empty: there are none.
    """

    layout: str = ""
    labels: str = ""
    split: str = ""
    captions: str = ""


@dataclass
class Reading:
    """A source being read. `rejected` is complete once `items` has been read to its end."""

    items: Iterable[Item]
    total_images: int  # upper limit for `items`, which skips rejected images
    rejected: list[RejectedFile] = field(default_factory=list)  # images and rows of a table
    skipped: dict[str, int] = field(default_factory=dict)  # other files, links, hidden files
    bad_names: tuple[str, ...] = ()
    wrapper: str | None = None  # the folder around everything, removed from the names
    notes: list[str] = field(default_factory=list)  # messages for the user about how the source was read
    understood: Understood = Understood()
    follows_choices: bool = False  # whether the reader knows --layout and the columns
    # The splits of its images, None for an image without one; None as a whole: known only after all are read.
    splits: frozenset[Split | None] | None = None


def split_of(name: str) -> Split | None:
    """Return the split that a folder name, part of a file name or column value stands for, or None."""
    return SPLIT_NAMES.get(name.strip().lower())


def split_in(name: str) -> Split | None:
    """Return the split that the words of a name state: train_images, trainLabels, test1, seg_val, mnist-train.

    None if they state none, or both.
    """
    found = set(map(split_of, split_words(name)))
    return found.pop() if len(found) == 1 else None


def split_words(name: str) -> list[str]:
    """Return the words of a name that stand for a split: t10k of t10k-images, train of trainLabels."""
    pieces = _SEPARATORS.split(name)
    words = [word for piece in pieces for word in ([piece] if split_of(piece) else WORDS.findall(piece))]
    return [word for word in words if split_of(word)]


def split_in_path(path: Path, root: Path) -> Split | None:
    """Return the split that a file's name states, else the nearest folder above it; root: the source."""
    parts = (*path.relative_to(root).parts[:-1], path.stem) if path != root else (path.stem,)
    return next(filter(None, map(split_in, reversed(parts))), None)


def join_readings(readings: list[Reading]) -> Reading:
    """Join several parts of one source, with one list of rejected files."""
    joined = Reading(items=(), total_images=sum(reading.total_images for reading in readings))

    def items() -> Iterable[Item]:
        for reading in readings:
            yield from reading.items
            joined.rejected += reading.rejected

    joined.items = items()
    joined.understood = _joined([reading.understood for reading in readings])
    known = [reading.splits for reading in readings]
    joined.splits = None if None in known else frozenset().union(*filter(None, known))
    for reading in readings:
        joined.notes += [note for note in reading.notes if note not in joined.notes]
        joined.bad_names += reading.bad_names
        for kind, count in reading.skipped.items():
            joined.skipped[kind] = joined.skipped.get(kind, 0) + count
    return joined


def _joined(parts: list[Understood]) -> Understood:
    """Join what the parts of a source were taken for, without repeating it."""
    phrases = {each.name: [str(getattr(part, each.name)) for part in parts] for each in fields(Understood)}
    return Understood(**{name: " and ".join(dict.fromkeys(filter(None, said))) for name, said in phrases.items()})
