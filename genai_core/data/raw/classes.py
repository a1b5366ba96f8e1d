"""Classes of raw images, from the folders they are in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genai_core.data.dataset.facts import Indices
from genai_core.data.raw.rules import class_of, sorted_runs


@dataclass(frozen=True)
class Classes:
    """Class of each file, from its path: codes (N,) are indices into names, -1 without a class."""

    codes: Indices
    names: tuple[str, ...]

    def of(self, row: int) -> str:
        return self.names[int(self.codes[row])]


def classes_of(names: Sequence[str]) -> Classes:
    """Return the classes of sorted file names."""
    codes = np.full(len(names), -1, dtype=np.int64)
    known: dict[str, int] = {}
    for begin, end in sorted_runs(names, 2):
        if (name := class_of(names[begin])) is not None:
            codes[begin:end] = known.setdefault(name, len(known))
    return Classes(codes, tuple(known))


def check_all_or_none_labelled(raw: Path, files: Sequence[str], classes: Classes) -> None:
    without = np.flatnonzero(classes.codes < 0)
    if 0 < len(without) < len(files):
        raise ValueError(
            f"{raw}: {len(files) - len(without):,} images are in class folders (NAME/CLASS/file), {len(without):,} "
            f"are not, first {files[without[0]]}; put all of them into class folders, or none"
        )
