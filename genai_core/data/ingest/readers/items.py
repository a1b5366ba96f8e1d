"""What every kind of source is read as: a stream of images, each with its label and its side of the separation."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from genai_core.data.dataset.dataset import Split
from genai_core.data.dataset.facts import Pixels

FaultReason = Literal["missing_file", "no_label", "two_labels", "bad_label", "no_image", "several_images"]

# The names that parts of a dataset go by, and the side they stand on: what is held out for whatever purpose is not
# trained on.
SIDES: dict[str, Split] = {
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


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a source.

    path: its file below the class's folder, relative, with "/". content: a file to copy, the bytes of an image file,
    or uint8 pixels, (H, W) or (H, W, C) with C of 1, 3 or 4.
    """

    path: str
    label: str | None
    split: Split | None
    content: Path | bytes | Pixels


@dataclass(frozen=True)
class Fault:
    """An image or a label that is left out, and why. `source` names it: a file, a row, a key."""

    source: str
    reason: FaultReason
    detail: str


@dataclass
class Reading:
    """A source that is being read. `faults` is complete once `items` has been read to its end."""

    items: Iterable[Item]
    total_images: int  # that `items` gives, at most: those at fault are left out
    faults: list[Fault] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)  # files that are no images, links, hidden files
    bad_names: tuple[str, ...] = ()
    wrapper: str | None = None  # the folder around everything, which is left out of the names
    notes: list[str] = field(default_factory=list)  # what a person should know about how it was read


def side_of(name: str) -> Split | None:
    """The side that the name of a folder, a file's part or a column's value stands for, or None."""
    return SIDES.get(name.strip().lower())


def join_readings(readings: list[Reading]) -> Reading:
    """Several parts of one source as one; their faults are gathered in one list."""
    joined = Reading(items=(), total_images=sum(reading.total_images for reading in readings))

    def items() -> Iterable[Item]:
        for reading in readings:
            yield from reading.items
            joined.faults += reading.faults

    joined.items = items()
    for reading in readings:
        joined.notes += [note for note in reading.notes if note not in joined.notes]
        joined.bad_names += reading.bad_names
        for kind, count in reading.skipped.items():
            joined.skipped[kind] = joined.skipped.get(kind, 0) + count
    return joined
